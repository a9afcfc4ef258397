"""BatchSizer: the batch size alone, by binary search, with all cores and all memory.

Nabavinejad, Reda and Ebrahimi, "BatchSizer: Power-performance trade-off for DNN inference", ASP-DAC 2021, as BayesTuner's paper compares
itself to it (section 3.1): a larger batch raises throughput and power, so the smallest batch that still meets the goal draws the least.
"""

from __future__ import annotations

from bayestuner.goal import Goal
from bayestuner.search.strategies.batching import BATCH_KNOB, BatchStrategy
from bayestuner.space import Space
from bayestuner.trial import Trial


class BatchSizer(BatchStrategy):
    """Binary search for the smallest batch size that meets the goal; it ends after log2 of their number of runs.

    A bound ``metric >= limit`` that is missed asks for a larger batch; anything else that is wrong (a missed ``<=`` bound, a failed
    run) for a smaller one; and so does a batch that meets the goal.
    """

    name = "batch_sizer"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, knob: str = BATCH_KNOB) -> None:
        super().__init__(space, goal, seed=seed, knob=knob)
        self._low, self._high = 0, len(self.ladder) - 1

    def _choose(self) -> int:
        middle = (self._low + self._high) // 2
        return min(self._untried, key=lambda row: (abs(self.ladder.index(row) - middle), row))

    def _learn(self, trial: Trial) -> None:
        if trial.row not in self.ladder:
            return
        at = self.ladder.index(trial.row)
        if wants_more(self.goal, self.values_of(trial)):
            self._low = max(self._low, at + 1)
        else:
            self._high = min(self._high, at - 1)

    def _done(self) -> bool:
        return self._low > self._high


def wants_more(goal: Goal, values: dict[str, float]) -> bool:
    """True where the only bounds missed are those that a larger batch helps; `values` is empty for a run that failed."""
    missed = [b for b in goal.bounds if values and b.violation(values[b.metric]) > 0.0]
    return bool(missed) and all(b.sense == ">=" for b in missed)
