"""Searches of the simulated jobs by every strategy, from the same start: no strategy is told more than the goal and the space."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

import bayestuner as bt
from bayestuner.errors import SpaceExhausted
from bayestuner.search.strategies.aimd import AIMD
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.search.strategies.batch_sizer import BatchSizer
from bayestuner.search.strategies.cherry_pick import CherryPick
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategies.spearmint import Spearmint
from bayestuner.simulate.platform import SimulatedJob, large_space, small_space
from bayestuner.simulate.profiles import PROFILES
from bayestuner.simulate.runs import SimulatedRuns

FloatArray = npt.NDArray[np.float64]

JOBS = tuple(PROFILES)
BUDGET = 20
SPACES = {"small": small_space, "large": large_space}

T = TypeVar("T")
MIN_PARALLEL = 8  # seeds, below which a worker's start costs more than it saves

Maker = Callable[[bt.Space, bt.Goal, int], Any]

STRATEGIES: dict[str, Maker] = {
    "BayesTuner": lambda space, goal, seed: bt.Tuner(space, goal, seed=seed, budget=BUDGET),
    "Spearmint": lambda space, goal, seed: Spearmint(space, goal, seed=seed),
    "CherryPick": lambda space, goal, seed: CherryPick(space, goal, seed=seed),
    "annealing": lambda space, goal, seed: Annealing(space, goal, seed=seed, budget=BUDGET),
    "random": lambda space, goal, seed: RandomSearch(space, goal, seed=seed),
    "BatchSizer": lambda space, goal, seed: BatchSizer(space, goal),
    "AIMD": lambda space, goal, seed: AIMD(space, goal),
}
DETERMINISTIC = {"BatchSizer", "AIMD"}  # the seed changes nothing


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes
    ----------
    rows : list of int
        In the order tried.
    gap : ndarray, (BUDGET,)
        After each run, how much more than the optimum the best tried that truly meets the goal draws, as a share; while there is none, the
        worst that meets it. A strategy that ended keeps its last.
    elapsed_s : float
        Simulated time of all its runs.
    """

    rows: list[int]
    gap: FloatArray
    elapsed_s: float


@functools.cache
def job_of(name: str, space: str) -> SimulatedJob:
    """The job without noise: what is true."""
    return SimulatedJob(name, SPACES[space]())


def search(strategy: str, name: str, space: str, noise: float, seed: int) -> Search:
    """Let a strategy make BUDGET runs."""
    truth = job_of(name, space)
    job = SimulatedJob(name, truth.space, noise=noise, seed=seed)
    tuner = STRATEGIES[strategy](job.space, job.goal, seed)
    rows = rows_of(tuner, job, BUDGET)
    power_w, feasible = truth.table.metrics["power_w"], truth.feasible
    best = np.minimum.accumulate(np.where(feasible[rows], power_w[rows], np.inf))
    best = np.where(np.isfinite(best), best, power_w[feasible].max())
    gap = np.pad(best / power_w[truth.optimum] - 1.0, (0, BUDGET - len(rows)), mode="edge")
    return Search(rows, gap, job.elapsed_s)


def rows_of(tuner: Any, job: SimulatedRuns, budget: int) -> list[int]:
    """The rows that a strategy runs, in order; fewer than `budget` where it comes to an end of its own."""
    rows: list[int] = []
    for _ in range(budget):
        try:
            trial = tuner.ask()
        except SpaceExhausted:
            break
        rows.append(trial.row)
        tuner.tell_outcome(trial, job.run(trial.config))
    return rows


@functools.cache
def workers() -> ProcessPoolExecutor:
    """One for each CPU, kept from exhibit to exhibit (`over_processes` starts anew each time); the results do not depend on them."""
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("spawn"))


def end_workers() -> None:
    """End them; they would else live as long as this process."""
    if workers.cache_info().currsize:
        workers().shutdown(cancel_futures=True)
        workers.cache_clear()


def each_seed(run: Callable[..., T], *arguments: Any, seeds: int) -> list[T]:
    """``run(*arguments, seed)`` for every seed, on all CPUs where there are enough of them to be worth it."""
    calls = [functools.partial(run, *arguments, seed) for seed in range(seeds)]
    if seeds < MIN_PARALLEL:
        return [call() for call in calls]
    return [future.result() for future in [workers().submit(call) for call in calls]]


@functools.cache
def searches(strategy: str, name: str, space: str, seeds: int, noise: float = 0.0) -> list[Search]:
    """One search for each seed."""
    count = 1 if strategy in DETERMINISTIC and not noise else seeds
    return each_seed(search, strategy, name, space, noise, seeds=count)


def interval(values: FloatArray, draws: int = 2000) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by the bootstrap."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (draws, values.size)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(high - low) / 2.0


def mean_over_jobs(strategy: str, space: str, seeds: int, at: int, noise: float = 0.0) -> tuple[float, float]:
    """The gap after `at` runs, averaged over the jobs: mean and half its 95 % interval over seeds."""
    gaps = np.array([[s.gap[at - 1] for s in searches(strategy, name, space, seeds, noise)] for name in JOBS])
    return interval(gaps.mean(axis=0))


def each_job(strategy: str, space: str, seeds: int, noise: float = 0.0) -> Iterator[tuple[str, list[Search]]]:
    """Every job and its searches."""
    for name in JOBS:
        yield name, searches(strategy, name, space, seeds, noise)
