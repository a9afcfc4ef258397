"""Final figures: launches of the recommended and the default configuration in alternation, until one candidate holds its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bayestuner.errors import NoRecommendation
from bayestuner.goal import Goal
from bayestuner.study.summary import judging_goal, ranked_rows, side_of
from bayestuner.trial import Config, Failed, Measured, Outcome
from bayestuner.tune.rules import HOPELESS_RUNS
from bayestuner.tune.trial_runner import TrialRunner

MAX_CANDIDATES = 3
_SURE_ENOUGH = 0.5


@dataclass(slots=True)
class Confirmed:
    """What the repeats came to; `recommended` is None where no candidate held the goal."""

    recommended: Config | None = None
    rejected: list[Config] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Confirmation:
    """The final phase of a study."""

    def __init__(self, launcher: TrialRunner) -> None:
        self.launcher = launcher
        self.job = launcher.job
        self.study = launcher.study

    def run(self) -> Confirmed:
        """Launch candidates and the default configuration in alternation until one candidate holds its bounds."""
        found = Confirmed()
        rejected: list[int] = []
        goal = self.study.resolved_goal
        if goal is None:
            return found
        for attempt in range(MAX_CANDIDATES):
            row = self._candidate(goal, rejected)
            if row is None:
                break
            self._repeat(row, attempt)
            records = self.study.records()
            config = self.study.space.config(row)
            if side_of(self.study, records, row, judging_goal(self.study, records)).meets_goal:
                found.recommended = config
                break
            rejected.append(row)
            found.rejected.append(config)
            found.notes.append(f"{_config_text(config)} was promising in the search but did not hold the goal in the repeats")
            self.launcher.progress.note(found.notes[-1])
        return found

    def _candidate(self, goal: Goal, rejected: Sequence[int]) -> int | None:
        records = self.study.records()
        feasible = [row for row in ranked_rows(self.study, records, goal) if row not in rejected]
        try:
            advice = self.study.recommend()
        except NoRecommendation:
            return None
        if advice.row not in rejected and (advice.row in feasible or advice.p_feasible >= _SURE_ENOUGH):
            return advice.row
        return feasible[0] if feasible else None

    def _repeat(self, row: int, attempt: int) -> None:
        repeats = self.job.measure.repeats
        first = next((r for r in self.study.records() if r.role == "baseline"), None)
        against = first.trial.row if first is not None and isinstance(first.trial.outcome, Measured) and first.trial.row != row else None
        rows = [row] if against is None else [row, against]
        for k in range(repeats):
            for which in rows if k % 2 == 0 else reversed(rows):
                wanted = k + 1 + (attempt * repeats if which == against else 0)
                while self._launches(which) < wanted:
                    trial = self.study.adopt(self.study.space.config(which), "repeat")
                    done = sum(min(max(self._launches(r) - (attempt * repeats if r == against else 0), 0), repeats) for r in rows)
                    self.launcher.run(trial, "repeat", (done + 1, repeats * len(rows)))
                    if self._transients() >= HOPELESS_RUNS:
                        return

    def _launches(self, row: int) -> int:
        told = (r for r in self.study.records() if r.role == "repeat" and r.trial.row == row and r.trial.outcome is not None)
        return sum(not _is_transient(r.trial.outcome) for r in told)

    def _transients(self) -> int:
        return sum(_is_transient(r.trial.outcome) for r in self.study.records() if r.role == "repeat")


def _is_transient(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Failed) and outcome.kind == "transient"


def _config_text(config: Config) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items())
