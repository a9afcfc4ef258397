"""Several strategies on the same job with the same number of runs: the best that each had found after every run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bayestuner.errors import NotPrivate, SpaceExhausted, StoreError
from bayestuner.files.outputs import open_output
from bayestuner.files.private import PrivateFolder
from bayestuner.goal import Goal
from bayestuner.measure.job.job import Job
from bayestuner.space import Space
from bayestuner.study.registry import make_strategy
from bayestuner.study.study import Study
from bayestuner.trial import Config, Outcome, Trial
from bayestuner.tune.entry import tune
from bayestuner.tune.processes import over_processes
from bayestuner.tune.progress import Progress

CURVES = "curves.jsonl"
REFERENCE_STRATEGIES = frozenset({"exhaustive"})
"""Strategies that search the whole space, and only once, where runs are simulated or replayed: the reference for the others."""

WORTH_PROCESSES_S = 5.0
"""With less work than this left, starting processes (a second or so each) takes longer than it saves."""

Task = tuple[str, int]
"""Strategy and seed of one search."""


class Evaluator(Protocol):
    """Something that makes test runs, such as a simulated job.

    Attributes
    ----------
    space : Space
    goal : Goal
    elapsed_s : float
        Time that the runs made so far took.
    """

    space: Space
    goal: Goal
    elapsed_s: float

    def run(self, config: Config) -> Outcome:
        """Make one test run."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The course of one search.

    Attributes
    ----------
    strategy : str
    seed : int
    best : tuple of float or None
        After each run, the objective of the best configuration measured so far that meets the goal; None while none does.
    elapsed_s : tuple of float
        Time of all runs so far, after each run.
    failed : int
        Number of runs that failed.
    """

    strategy: str
    seed: int
    best: tuple[float | None, ...]
    elapsed_s: tuple[float, ...]
    failed: int

    @classmethod
    def of(cls, strategy: str, seed: int, goal: Goal, trials: Iterable[tuple[Mapping[str, float], float]]) -> Curve:
        """Make the curve of runs given in order as metrics (empty where a run failed) and duration in seconds."""
        best: list[float | None] = []
        elapsed: list[float] = []
        best_values: Mapping[str, float] | None = None
        failed = 0
        for values, duration_s in trials:
            failed += not values
            # the goal is still relative where the default configuration failed
            meets = bool(values) and not goal.relative and goal.feasible(values)
            if meets and (best_values is None or goal.better(values, best_values)):
                best_values = values
            best.append(None if best_values is None else best_values[goal.objective])
            elapsed.append(duration_s + (elapsed[-1] if elapsed else 0.0))
        return cls(strategy, seed, tuple(best), tuple(elapsed), failed)


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """Search k of n is done.

    Attributes
    ----------
    k, n : int
    curve : Curve
    kept : bool
        True where an earlier call made it.
    seconds_left : float or None
        Estimated for the searches that are still to be made; None while there is nothing to estimate it from.
    """

    k: int
    n: int
    curve: Curve
    kept: bool
    seconds_left: float | None


Tell = Callable[[SearchProgress], None]


def compare(
    evaluator: Callable[..., Evaluator],
    strategies: Sequence[str],
    *,
    seeds: Sequence[int],
    budget: int,
    folder: Path,
    what: Mapping[str, Any],
    tell: Tell = lambda search: None,
    parallel: int = 1,
) -> list[Curve]:
    """Let every strategy search once for each seed; curves that an earlier call stored in `folder` are taken from there.

    An exhaustive search runs the whole space, whatever the budget, and only once: it is the reference for the others.

    Parameters
    ----------
    evaluator : callable
        ``evaluator(seed=seed)`` makes the job anew, so that every search meets the same noise and failures. For more than one process
        it must be picklable, such as a `functools.partial` of a class.
    what : dict
        Describes the job and everything else that must be the same for curves to be comparable; JSON-able. A folder keeps curves of one
        such description only.
    tell : callable
        Called with every curve as soon as it is there, those of earlier calls first.
    parallel : int
        Largest number of processes to search in; the curves don't depend on it. Short work is done in this process alone.

    Raises
    ------
    StoreError
        The folder holds a comparison of something else, is damaged, or can't be written.
    WorkerLost
        A process was ended from outside.
    """
    kept = _Kept(folder, what)
    tasks = [(strategy, seed) for seed in seeds for strategy in strategies if strategy not in REFERENCE_STRATEGIES or seed == seeds[0]]
    made = [task for task in tasks if kept.find(task) is not None]
    for k, task in enumerate(made, 1):
        tell(SearchProgress(k, len(tasks), kept[task], True, None))
    todo = [task for task in tasks if task not in made]
    begun = time.monotonic()
    with closing(_searches(partial(_search, evaluator, budget), todo, parallel)) as searches:
        for k, curve in enumerate(searches, 1):
            kept.add(curve)
            left_s = (time.monotonic() - begun) / k * (len(todo) - k)
            tell(SearchProgress(len(made) + k, len(tasks), curve, False, left_s))
    return [kept[task] for task in tasks]


def compare_job(
    job: Job,
    strategies: Sequence[str],
    *,
    seeds: Sequence[int],
    budget: int,
    folder: Path,
    progress: Progress | None = None,
    allow_affinity: bool = False,
    wait: bool = False,
) -> list[Curve]:
    """Compare with real test runs: each search is a study of its own in `folder`, without the repeats at the end.

    Strategies take turns, so that a slow change of the machine favours none. Parameters as of `compare` and of `tune`; raises what
    `tune` raises.
    """
    job = replace(job, measure=replace(job.measure, repeats=0))
    progress = progress or Progress()
    tasks = [(strategy, seed) for seed in seeds for strategy in strategies]
    curves = []
    for k, (strategy, seed) in enumerate(tasks, 1):
        progress.note(f"search {k} of {len(tasks)}: {strategy}, seed {seed}")
        path = folder / f"{strategy}-{seed}"
        tune(
            job, study_path=path, progress=progress, budget=budget, seed=seed, strategy=strategy,
            allow_affinity=allow_affinity, wait=wait, learn_from=(),
        )  # fmt: skip
        with Study.open(path, read_only=True) as study:
            curves.append(_curve_of_study(strategy, seed, study))
    return curves


def _searches(search: Callable[[Task], Curve], tasks: Sequence[Task], parallel: int) -> Generator[Curve, None, None]:
    """Make searches, in this process until the time of each strategy is known, then in several processes where enough work is left."""
    took_s: dict[str, float] = {}
    for done, task in enumerate(tasks):
        rest = tasks[done:]
        known = all(strategy in took_s for strategy, _ in rest)
        if parallel > 1 and known and sum(took_s[strategy] for strategy, _ in rest) > WORTH_PROCESSES_S:
            with closing(over_processes(search, rest, processes=parallel)) as made:
                for _, curve in made:
                    yield curve
            return
        begun = time.monotonic()
        curve = search(task)
        took_s[task[0]] = time.monotonic() - begun
        yield curve


def _search(evaluator: Callable[..., Evaluator], budget: int, task: Task) -> Curve:
    strategy, seed = task
    job = evaluator(seed=seed)
    runs = len(job.space) if strategy in REFERENCE_STRATEGIES else budget
    searcher = make_strategy(strategy, job.space, job.goal, seed=seed, budget=runs)
    told: list[tuple[Trial, float]] = []
    for _ in range(runs):
        before_s = job.elapsed_s
        try:
            trial = searcher.ask()
        except SpaceExhausted:  # the strategy has nothing more to try
            break
        told.append((searcher.tell_outcome(trial, job.run(trial.config)), job.elapsed_s - before_s))
    return Curve.of(strategy, seed, job.goal, [(searcher.values_of(trial), duration_s) for trial, duration_s in told])


def _curve_of_study(strategy: str, seed: int, study: Study) -> Curve:
    goal = study.resolved_goal or study.goal
    records = [r for r in study.records() if r.tell_seq is not None]
    runs = [(study.values_of(r.trial), float((r.details or {}).get("duration_s") or 0.0)) for r in records]
    return Curve.of(strategy, seed, goal, runs)


class _Kept:
    """The curves of a folder: a file of JSON lines, the first of which describes what the curves are of."""

    def __init__(self, folder: Path, what: Mapping[str, Any]) -> None:
        self.path = folder / CURVES
        self._curves: dict[Task, Curve] = {}
        try:
            with PrivateFolder.open(folder, make=True, trust_sudo_caller=True) as private:
                text = private.read(CURVES) if private.check(CURVES) else b""
                whole = text[: text.rfind(b"\n") + 1]  # the last line may have been cut short when its writer was killed
                if whole:
                    self._read(whole.decode(errors="replace"), what)
                if not whole or whole != text:
                    private.replace(CURVES, whole or (json.dumps(dict(what)) + "\n").encode())
        except NotPrivate as error:
            raise StoreError(f"the comparison can't be kept in {folder}: {error}; or name another folder with --out") from error
        except OSError as error:
            raise StoreError(f"the comparison can't be kept in {folder}: {error.strerror}; name another folder with --out") from error

    def find(self, task: Task) -> Curve | None:
        """The stored curve of a search, or None."""
        return self._curves.get(task)

    def __getitem__(self, task: Task) -> Curve:
        return self._curves[task]

    def add(self, curve: Curve) -> None:
        """Store a curve."""
        try:
            with os.fdopen(open_output(self.path, os.O_WRONLY | os.O_APPEND), "a") as stream:
                stream.write(json.dumps(asdict(curve)) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StoreError(f"can't write {self.path}: {error.strerror}; the searches made before are kept in it") from error
        self._curves[curve.strategy, curve.seed] = curve

    def _read(self, whole: str, what: Mapping[str, Any]) -> None:
        try:
            found, *lines = (json.loads(line) for line in whole.splitlines())
            curves = [Curve(c["strategy"], c["seed"], tuple(c["best"]), tuple(c["elapsed_s"]), c["failed"]) for c in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path} is damaged: {error!r}; move it away, or name another folder with --out") from error
        if found != dict(what):
            raise StoreError(
                f"{self.path.parent} holds a comparison of something else ({found}, not {dict(what)}); name another with --out"
            )
        self._curves = {(curve.strategy, curve.seed): curve for curve in curves}
