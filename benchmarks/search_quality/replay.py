"""Running a strategy of this project on a table, where a test run is a look-up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bayestuner.errors import SpaceExhausted
from benchmarks.search_quality.figures import Run
from benchmarks.search_quality.problems import Problem

Maker = Callable[[Problem, int, int], Any]  # problem, seed, budget -> Strategy


def replay(name: str, make: Maker, problem: Problem, seed: int, budget: int) -> Run:
    """Let the strategy try up to `budget` rows of the problem's table."""
    rows: list[int] = []
    seconds: list[float] = []
    started = time.perf_counter()
    strategy = make(problem, seed, budget)
    for _ in range(min(budget, len(problem.configs))):
        try:
            trial = strategy.ask()
        except SpaceExhausted:  # a strategy may come to an end of its own
            break
        seconds.append(time.perf_counter() - started)
        rows.append(trial.row)
        started = time.perf_counter()
        if problem.ok[trial.row]:
            strategy.tell(trial, objective=problem.objective[trial.row], constraint=problem.constraint[trial.row])
        else:
            strategy.tell_failed(trial, "error")
    return Run(name, problem.name, seed, tuple(rows), tuple(round(s, 6) for s in seconds))
