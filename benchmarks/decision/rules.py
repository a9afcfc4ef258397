"""Rules that end a search: what each would deploy, and the launches it takes for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bayestuner.goal import Goal
from bayestuner.study.nomination import nominate
from bayestuner.study.race import Contest, RaceRules, Round, judge
from benchmarks.decision.machine import Machine

Readings = Mapping[int, Mapping[str, float]]
REPEATS = 3
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    Attributes
    ----------
    readings : dict
        Row -> what it measured.
    advice : int or None
        The strategy's own choice.
    p_feasible : float
        Its chance to hold the bound, by the strategy.
    """

    readings: Readings
    advice: int | None
    p_feasible: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """The row that a rule deploys, or None; and whether it claims that the default is beaten."""

    row: int | None
    claimed: bool


Rule = Callable[[Machine, Goal, Goal, Found], Deployment]


def best_of_search(machine: Machine, given: Goal, goal: Goal, found: Found) -> Deployment:
    """Deploy the best reading of the search; launch nothing more."""
    feasible = [row for row, values in found.readings.items() if goal.feasible(values)]
    row = min(feasible, key=lambda row: found.readings[row]["objective"], default=None)
    return Deployment(row, row is not None and row != machine.default)


def bounds_only(machine: Machine, given: Goal, goal: Goal, found: Found) -> Deployment:
    """Deploy the first of three candidates whose mean over three launches is within the bounds (what BayesTuner did before it raced)."""
    rejected: list[int] = []
    base: list[Mapping[str, float]] = []
    ranked = sorted((r for r, v in found.readings.items() if goal.feasible(v)), key=lambda r: found.readings[r]["objective"])
    for _ in range(ATTEMPTS):
        left = [row for row in ranked if row not in rejected]
        likely = found.advice is not None and found.advice not in rejected and (found.advice in left or found.p_feasible >= 0.5)
        row = found.advice if likely else left[0] if left else None
        if row is None:
            break
        own: list[Mapping[str, float] | None] = []
        for k in range(REPEATS):
            for which in ([row, machine.default] if k % 2 == 0 else [machine.default, row]) if row != machine.default else [row]:
                values = machine.launch(which)
                own += [values] if which == row else []
                base += [values] if which == machine.default and values is not None else []
        judged = given.resolve(_means(base)) if given.relative and base else goal
        if None not in own and judged.feasible(_means([v for v in own if v is not None])):
            return Deployment(row, row != machine.default)
        rejected.append(row)
    return Deployment(None, False)


def race(rules: RaceRules, *, frugal: bool = False) -> Rule:
    """The race of `bayestuner.study.race` with these rules; `frugal`: lower values of the knobs, the first before the others, take less."""

    def run(machine: Machine, given: Goal, goal: Goal, found: Found) -> Deployment:
        default = machine.default if machine.default in found.readings else None

        def frugality(row: int) -> tuple[float, ...]:
            return tuple(machine.problem.space.codes(np.array([row]))[0].tolist()) if frugal else ()

        advice = found.advice if found.p_feasible >= 0.5 else None
        candidates = nominate(goal, found.readings, advice=advice, default=default, frugality=frugality)
        contest = Contest(given, goal, default, lambda row: {}, frugality, rules, readings=found.readings)
        rounds: list[Round] = []
        while True:
            now = judge(contest, candidates, rounds)
            if not now.wanted:
                return Deployment(now.recommended, now.verdict == "better")
            rounds.append({row: machine.launch(row) for row in now.wanted})

    return run


def _means(launches: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {m: sum(v[m] for v in launches) / len(launches) for m in ("objective", "constraint")}
