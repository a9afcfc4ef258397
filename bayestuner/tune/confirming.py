"""The final launches: candidates and the default configuration race each other, in rounds that go on where an earlier call was stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bayestuner.goal import Goal
from bayestuner.study.decision import decide
from bayestuner.study.finals import candidates_of, contest_of, rules_of_settings
from bayestuner.study.race import Contest, judge
from bayestuner.study.rounds import DETAIL, rounds_of
from bayestuner.study.sides import judging_goal, ranked_rows
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed
from bayestuner.tune.rules import HOPELESS_RUNS
from bayestuner.tune.trial_runner import TrialRunner

RACE_KEYS = ("candidates", "searched", "launched_before", "rules")
"""What of a stored result a later call needs to go on with its race."""


@dataclass(slots=True)
class Confirmed:
    """What the final launches came to, as stored; `recommended` is None where no configuration was shown to meet the goal."""

    recommended: Config | None = None
    verdict: str | None = None
    nearest: Config | None = None
    rejected: list[Config] = field(default_factory=list)
    candidates: list[Config] = field(default_factory=list)
    searched: int = 0
    launched_before: int = 0
    rules: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Confirmation:
    """The final phase of a study.

    Parameters
    ----------
    trial_runner : TrialRunner
    stored : dict
        What an earlier call stored as the study's result: its candidates are raced on where nothing was searched since.
    goal : Goal, optional
        Another goal than the study's.
    """

    def __init__(self, trial_runner: TrialRunner, stored: Mapping[str, Any] | None = None, goal: Goal | None = None) -> None:
        self.trial_runner = trial_runner
        self.study = trial_runner.study
        self.goal = goal
        self._stored = stored or {}
        self._transients = 0

    def run(self) -> Confirmed:
        """Launch until the race is decided, or `measure.launches` are made; `measure.repeats = 0` leaves it out."""
        records = self.study.records()
        contest = contest_of(self.study, records, self.goal)
        if contest is None:
            return Confirmed()
        found = Confirmed(searched=sum(map(costs_budget, records)), launched_before=_n_launches(records))
        going_on = self._stored.get("searched") == found.searched and self.goal is None
        if going_on:
            found.candidates, found.launched_before = self._stored["candidates"], self._stored["launched_before"]
        else:
            rows = candidates_of(self.study, records, contest, self._advice)
            found.candidates = [self.study.space.config(row) for row in rows]
        candidates = [self.study.space.row(config) for config in found.candidates]
        rules = rules_of_settings(asdict(self.trial_runner.job.measure), found.launched_before)
        found.rules = asdict(rules)
        if self.trial_runner.job.measure.repeats == 0:
            return self._without_launches(found, candidates, contest)
        if self.goal is None:  # so that a later call races the same ones
            kept = {name: getattr(found, name) for name in RACE_KEYS}
            self.study.set_result({**(self.study.info.result or {}), **kept})
        self._race(replace(contest, rules=rules), candidates, found.launched_before, going_on=going_on)
        return confirmed(self.study, found, candidates, self.goal)

    def _advice(self) -> tuple[int, float]:
        advice = self.study.recommend()
        return advice.row, advice.p_feasible

    def _without_launches(self, found: Confirmed, candidates: Sequence[int], contest: Contest) -> Confirmed:
        """The search's own choice, where that met the goal."""
        feasible = ranked_rows(self.study, self.study.records(), contest.resolved)
        row = next((row for row in [*candidates, *feasible] if row in feasible), None)
        found.recommended = None if row is None else self.study.space.config(row)
        return found

    def _race(self, contest: Contest, candidates: Sequence[int], launched_before: int, *, going_on: bool) -> None:
        launched = False
        while self._transients < HOPELESS_RUNS:
            rounds = rounds_of(self.study.records())
            number = max(rounds, default=0)
            before = [r for k, r in rounds.items() if k != number]
            begun = judge(contest, candidates, before).wanted if going_on and rounds else ()
            wanted = [row for row in begun if row not in rounds[number]] if rounds and set(rounds[number]) <= set(begun) else []
            if not wanted:
                wanted, number = list(judge(contest, candidates, list(rounds.values())).wanted), number + 1
            if not wanted:
                if self.goal is not None and not launched:
                    self.trial_runner.progress.note("nothing had to be launched: the launches that the study holds decide it")
                return
            launched = True
            going_on = False
            self._launch(wanted, number, launched_before)

    def _launch(self, rows: Sequence[int], number: int, before: int) -> None:
        """Make the launches of one round; one that the machine made fail is made again."""
        made = _n_launches(self.study.records()) - before
        for k, row in enumerate(rows):
            while row not in rounds_of(self.study.records()).get(number, {}):
                trial = self.study.adopt(self.study.space.config(row), "repeat")
                least = self.trial_runner.job.measure.repeats * len(rows)
                told = self.trial_runner.run(trial, "repeat", (made + k + 1, max(least, made + len(rows))), {DETAIL: number})
                if isinstance(told, Failed) and told.kind == "transient":
                    self._transients += 1
                    if self._transients >= HOPELESS_RUNS:
                        return


def confirmed(study: Study, found: Confirmed, candidates: Sequence[int], goal: Goal | None = None) -> Confirmed:
    """Fill in what the launches made so far come to."""
    records = study.records()
    decided = decide(study, records, candidates, judging_goal(study, records, goal), goal)
    if decided is None:
        return found
    decision, judgement = decided
    found.verdict = decision.verdict
    found.recommended = _config(study, judgement.recommended)
    found.nearest = _config(study, judgement.nearest)
    found.rejected = [c.side.config for c in decision.contenders if not c.is_default and c.side.meets_goal is False]
    return found


def _n_launches(records: Sequence[Record]) -> int:
    return sum(len(r) for r in rounds_of(records).values())


def _config(study: Study, row: int | None) -> Config | None:
    return None if row is None else study.space.config(row)
