"""Several strategies on one job, with the same number of runs: what each had found after every run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bayestuner.errors import SpaceExhausted, StoreError
from bayestuner.goal import Goal
from bayestuner.measure.job import Job
from bayestuner.space import Space
from bayestuner.study.registry import make_strategy
from bayestuner.study.study import Study
from bayestuner.trial import Config, Outcome, Trial
from bayestuner.tune.entry import tune
from bayestuner.tune.news import Progress

CURVES = "curves.jsonl"


class Evaluator(Protocol):
    """Makes test runs; a simulated job is one.

    Attributes
    ----------
    space : Space
    goal : Goal
    elapsed_s : float
        What the runs made so far took.
    """

    space: Space
    goal: Goal
    elapsed_s: float

    def run(self, config: Config) -> Outcome:
        """Make one test run."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One search.

    Attributes
    ----------
    strategy, seed
        Whose it is.
    best : tuple of float or None
        After each run, the objective of the best measured so far that meets the goal; None while none does.
    elapsed_s : tuple of float
        Search time after each run.
    failed : int
        Runs that failed.
    """

    strategy: str
    seed: int
    best: tuple[float | None, ...]
    elapsed_s: tuple[float, ...]
    failed: int

    @classmethod
    def of(cls, strategy: str, seed: int, goal: Goal, trials: Iterable[tuple[Mapping[str, float], float]]) -> Curve:
        """From each run's metrics (empty where it failed) and duration, in order."""
        best: list[float | None] = []
        elapsed: list[float] = []
        leader: Mapping[str, float] | None = None
        failed = 0
        for values, duration_s in trials:
            failed += not values
            if values and goal.feasible(values) and (leader is None or goal.better(values, leader)):
                leader = values
            best.append(None if leader is None else leader[goal.objective])
            elapsed.append(duration_s + (elapsed[-1] if elapsed else 0.0))
        return cls(strategy, seed, tuple(best), tuple(elapsed), failed)


def compare(
    evaluator: Callable[[int], Evaluator],
    strategies: Sequence[str],
    *,
    seeds: Sequence[int],
    budget: int,
    folder: Path,
    what: Mapping[str, Any],
    tell: Callable[[Curve], None] = lambda curve: None,
) -> list[Curve]:
    """Let every strategy search once for each seed; curves that are in `folder` from an earlier call are taken from there.

    Parameters
    ----------
    evaluator : callable
        ``evaluator(seed)`` makes the job anew, so that every search meets the same noise and failures.
    what : dict
        What is compared on, JSON-able: a folder takes curves of one thing only.
    tell : callable
        Called with every curve, as it is there.

    Raises
    ------
    StoreError
        The folder holds a comparison of something else, or can't be written.
    """
    kept = _Kept(folder, what)
    curves = []
    for seed in seeds:
        for strategy in strategies:
            curve = kept.find(strategy, seed)
            if curve is None:
                curve = _search(strategy, seed, evaluator(seed), budget)
                kept.add(curve)
            tell(curve)
            curves.append(curve)
    return curves


def compare_job(
    job: Job,
    strategies: Sequence[str],
    *,
    seeds: Sequence[int],
    budget: int,
    folder: Path,
    progress: Progress | None = None,
    tell: Callable[[Curve], None] = lambda curve: None,
) -> list[Curve]:
    """The same with real test runs: each search is a study of its own in `folder`, without the repeats at the end.

    Strategies take turns, so that a slow change of the machine favours none. Raises what `tune` raises.
    """
    job = replace(job, measure=replace(job.measure, repeats=0))
    curves = []
    for seed in seeds:
        for strategy in strategies:
            path = folder / f"{strategy}-{seed}"
            tune(job, study_path=path, progress=progress, budget=budget, seed=seed, strategy=strategy)
            with Study.open(path, read_only=True) as study:
                curve = _curve_of_study(strategy, seed, study)
            tell(curve)
            curves.append(curve)
    return curves


def _search(strategy: str, seed: int, job: Evaluator, budget: int) -> Curve:
    searcher = make_strategy(strategy, job.space, job.goal, seed=seed, budget=budget)
    told: list[tuple[Trial, float]] = []
    for _ in range(budget):
        before_s = job.elapsed_s
        try:
            trial = searcher.ask()
        except SpaceExhausted:  # it has come to an end of its own
            break
        told.append((searcher.tell_outcome(trial, job.run(trial.config)), job.elapsed_s - before_s))
    return Curve.of(strategy, seed, job.goal, [(searcher.values_of(trial), duration_s) for trial, duration_s in told])


def _curve_of_study(strategy: str, seed: int, study: Study) -> Curve:
    goal = study.resolved_goal or study.goal
    records = [r for r in study.records() if r.tell_seq is not None]
    runs = [(study.values_of(r.trial), float((r.details or {}).get("duration_s") or 0.0)) for r in records]
    return Curve.of(strategy, seed, goal, runs)


class _Kept:
    """Curves on disk, one JSON line each, after a line that says what they are of."""

    def __init__(self, folder: Path, what: Mapping[str, Any]) -> None:
        self.path = folder / CURVES
        self._curves: dict[tuple[str, int], Curve] = {}
        try:
            if self.path.exists():
                self._read(what)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(dict(what)) + "\n")
        except OSError as error:
            raise StoreError(f"the comparison can't be kept in {folder}: {error.strerror}; name another folder with --out") from error

    def find(self, strategy: str, seed: int) -> Curve | None:
        """The curve of a search made before."""
        return self._curves.get((strategy, seed))

    def add(self, curve: Curve) -> None:
        """Append a curve."""
        with self.path.open("a") as stream:
            stream.write(json.dumps(asdict(curve)) + "\n")

    def _read(self, what: Mapping[str, Any]) -> None:
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a line that a kill cut short is dropped
        found, *lines = (json.loads(line) for line in whole.splitlines()) if whole else ({},)
        if found != dict(what):
            raise StoreError(
                f"{self.path.parent} holds a comparison of something else ({found}, not {dict(what)}); name another with --out"
            )
        if whole != text:
            self.path.write_text(whole)
        for line in lines:
            curve = Curve(line["strategy"], line["seed"], tuple(line["best"]), tuple(line["elapsed_s"]), line["failed"])
            self._curves[curve.strategy, curve.seed] = curve
