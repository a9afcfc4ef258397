"""AIMD batching, as in Clipper: the batch size alone, with all cores and all memory.

Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System", NSDI 2017, section 4.3: the batch size grows by a fixed
amount until the latency objective is exceeded, and is then cut back by a tenth.
"""

from __future__ import annotations

from bayestuner.goal import Goal
from bayestuner.search.strategies.batching import BATCH_KNOB, BatchStrategy
from bayestuner.space import Space
from bayestuner.trial import Trial

BACK_OFF = 0.9
STEPS = 10  # additive increases from the smallest to the largest batch


class AIMD(BatchStrategy):
    """Additive increase, multiplicative decrease of the batch size.

    It grows while no ``<=`` bound (latency, memory) is missed and no run fails. A batch size that was run is not run again: the nearest
    one in the direction of the step takes its place, and where there is none the search ends.

    Parameters
    ----------
    space, goal, seed, knob
        As of `BatchStrategy`.
    increase : float, optional
        The fixed amount; by default a tenth of the range.
    """

    name = "aimd"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, knob: str = BATCH_KNOB, increase: float | None = None) -> None:
        super().__init__(space, goal, seed=seed, knob=knob)
        smallest, largest = self._value(self.ladder[0]), self._value(self.ladder[-1])
        self.increase = (largest - smallest) / STEPS if increase is None else float(increase)
        self._wanted = smallest
        self._growing = True

    def _choose(self) -> int:
        row = self._nearest()
        assert row is not None  # noqa: S101 - _done has just said so
        return row

    def _learn(self, trial: Trial) -> None:
        if trial.row not in self.ladder:
            return
        values, batch = self.values_of(trial), self._value(trial.row)
        exceeded = any(b.sense == "<=" and b.violation(values[b.metric]) > 0.0 for b in self.goal.bounds) if values else True
        self._growing = not exceeded
        self._wanted = batch * BACK_OFF if exceeded else batch + self.increase

    def _done(self) -> bool:
        return self._nearest() is None

    def _nearest(self) -> int | None:
        """The untried row nearest to the batch wanted, at or beyond it in the direction of the step; None where there is none."""
        ahead = [r for r in self._untried if (self._value(r) >= self._wanted) == self._growing or self._value(r) == self._wanted]
        return min(ahead, key=lambda row: abs(self._value(row) - self._wanted), default=None)
