"""One trial of the benchmark: a search on a noisy machine, then every rule from the same search; and what the truth says of each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import bayestuner as bt
from bayestuner.errors import NoRecommendation, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.trial import Measured, Reading
from benchmarks.decision.machine import Machine, Scenario
from benchmarks.decision.rules import Found, Rule
from benchmarks.search_quality.problems import Problem

BUDGET = 20
WITHIN_RUN = 0.01
"""Standard deviation that a run tells of itself: it knows the spread inside its window, not that from launch to launch."""

EQUAL, MISS = 0.01, 0.02
"""Worse than the default by more than the first, a bound missed by more than the second, counts as a wrong deployment."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule deployed, held against the truth.

    Attributes
    ----------
    rule, problem, family, scenario : str
    nothing : bool
        Nothing was recommended: the default stays.
    claimed : bool
        It was said to be better than the default.
    worse : bool
        Worse than the default by more than `EQUAL`, which holds the bound.
    misses : bool
        The bound is missed by more than `MISS`.
    regret : float
        How much worse than the best of what the search measured and that holds the bound, as a share; nan where that can't be said.
    launches : int
    """

    rule: str
    problem: str
    family: str
    scenario: str
    nothing: bool
    claimed: bool
    worse: bool
    misses: bool
    regret: float
    launches: int


def default_row(problem: Problem) -> int:
    """The largest configuration of a table, whose run went well: ordered knobs high, others at their first value."""
    codes = problem.space.codes(np.arange(problem.space.n_rows)).astype(float)
    levels = np.maximum(codes.max(axis=0), 1.0)
    ordered = np.array([not isinstance(knob, bt.Categorical) for knob in problem.space.knobs])
    height = np.where(ordered, codes / levels, 1.0 - codes / levels).sum(axis=1)
    return int(np.where(problem.ok, height, -np.inf).argmax())


def good_row(problem: Problem) -> int:
    """A default that is hard to beat: of the feasible rows one in fifty is better."""
    order = np.argsort(np.where(problem.feasible, problem.objective, np.inf), kind="stable")
    return int(order[int(problem.feasible.sum()) // 50])


def trial(problem: Problem, scenario: Scenario, rules: Mapping[str, Rule], seed: int, strategy: str) -> list[Outcome]:
    """Search once, end the search by each rule.

    Every second seed states the bound as a share of the default's; two of four have a default that is hard to beat.
    """
    key = [seed, zlib.crc32(problem.name.encode()), zlib.crc32(scenario.name.encode())]
    seeds = np.random.SeedSequence(key).generate_state(2 + len(rules))
    default = default_row(problem) if seed % 4 < 2 else good_row(problem)
    machine = Machine(problem, scenario, default, int(seeds[0]))
    share = problem.threshold / float(problem.constraint[default])
    relative = bool(seed % 2) and share <= 1.0
    given = Goal(
        minimize="objective", subject_to=[f"constraint >= {100.0 * share!r}%" if relative else bt.AtLeast("constraint", problem.threshold)]
    )
    first = machine.launch(default)
    assert first is not None  # the table's run went well
    goal = given.resolve(first)
    found = _search(problem, machine, goal, first, int(seeds[1]) % 2**31, strategy)
    out = []
    for (name, rule), rule_seed in zip(rules.items(), seeds[2:], strict=True):
        twin = machine.fork(int(rule_seed))
        deployed = rule(twin, given, goal, found)
        limit = share * problem.constraint[default] * (twin.drifted if relative else 1.0)
        out.append(
            _held_against_the_truth(problem, scenario, name, default, deployed.row, deployed.claimed, found, twin, limit, machine.made)
        )
    return out


def _held_against_the_truth(
    problem: Problem, scenario: Scenario, name: str, default: int, row: int | None, claimed: bool, found: Found, machine: Machine,
    limit: float, before: int,
) -> Outcome:  # fmt: skip
    objective, constraint = problem.objective, problem.constraint * machine.drifted
    holds = constraint >= (1.0 - MISS) * limit
    kept = default if row is None else row
    truly = [r for r in found.readings if constraint[r] >= limit]
    best = min((float(objective[r]) for r in truly), default=np.nan)
    worse = bool(holds[default] and objective[kept] > (1.0 + EQUAL) * objective[default])
    misses = row is not None and not holds[row]
    regret = max(float(objective[kept]) / best - 1.0, 0.0) if holds[kept] else np.nan
    return Outcome(name, problem.name, problem.family, scenario.name, row is None, claimed, worse, misses, regret, machine.made - before)


def _search(problem: Problem, machine: Machine, goal: Goal, first: Mapping[str, float], seed: int, strategy: str) -> Found:
    searcher = (
        RandomSearch(problem.space, goal, seed=seed) if strategy == "random" else bt.Tuner(problem.space, goal, seed=seed, budget=BUDGET)
    )
    run = searcher.adopt(problem.space.config(machine.default))
    values: Mapping[str, float] | None = first
    for _ in range(BUDGET):
        if values is None:
            searcher.tell_failed(run, "error")
        else:
            searcher.tell_outcome(run, Measured({m: Reading(v, WITHIN_RUN * v) for m, v in values.items()}))
        if len(searcher.trials) >= BUDGET:
            break
        try:
            run = searcher.ask()
        except SpaceExhausted:
            break
        values = machine.launch(run.row)
    readings: dict[int, list[dict[str, float]]] = {}
    for told in searcher.trials:
        if told.metrics:
            readings.setdefault(told.row, []).append(told.metrics)
    means = {row: {m: float(np.mean([v[m] for v in runs])) for m in goal.metrics} for row, runs in readings.items()}
    try:
        advice = searcher.recommend()
    except NoRecommendation:
        return Found(means, None, 0.0)
    return Found(means, advice.row, advice.p_feasible)
