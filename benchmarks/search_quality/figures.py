"""From the rows a tuner tried to figures: regret, score, shares, confidence intervals.

The score of a run after n test runs is its simple regret (best feasible objective so far less the optimum; the worst feasible objective
while nothing feasible is known) over the regret that random search is expected to have after 20 on that problem, no more than 3. It is
averaged over seeds, then over the problems of a family, then over families: 0 is the optimum, 1 as good as random search after 20.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.search_quality.problems import Problem

FloatArray = npt.NDArray[np.float64]

BUDGET = 20
CAP = 3.0
CLOSE = 0.05  # within this share of the optimum counts as found
FIRST_FEASIBLE_BY = 8

Measure = Callable[[Problem, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Run:
    """One tuner's run on one problem: the table's rows in the order tried, and seconds from each result to the next suggestion."""

    tuner: str
    problem: str
    seed: int
    rows: tuple[int, ...]
    suggest_s: tuple[float, ...] = ()


def random_regret(problem: Problem, n: int = BUDGET) -> float:
    """Random search's expected regret after n different rows, exactly.

    With the feasible objectives in rising order, the best seen is no better than the i-th with the chance that all n draws miss the
    first i: a hypergeometric tail.
    """
    values = np.sort(problem.objective[problem.feasible])
    total = len(problem.objective)
    n = min(n, total)
    left = total - np.arange(values.size)
    misses = np.concatenate([[1.0], np.cumprod(np.maximum(1.0 - n / left, 0.0))])
    best = float((values * (misses[:-1] - misses[1:])).sum() + misses[-1] * values[-1])
    return best - float(values[0])


def regrets(problem: Problem, rows: Iterable[int], n: int = BUDGET) -> FloatArray:
    """Simple regret after 1 .. n runs, (n,), in the objective's units; a run that ended early keeps its last."""
    seen = np.fromiter(rows, dtype=np.int64)[:n]
    values = np.where(problem.feasible[seen], problem.objective[seen], np.inf)
    best = np.minimum.accumulate(values)
    best = np.where(np.isfinite(best), best, problem.worst)
    return np.pad(best, (0, n - best.size), mode="edge") - problem.optimum


@dataclass
class Figures:
    """Per problem: regret curves of the seeds, (seeds, n) each; and what is averaged from them."""

    problems: dict[str, Problem]
    curves: dict[str, FloatArray]

    @classmethod
    def of(cls, problems: list[Problem], runs: list[Run], n: int = BUDGET) -> Figures:
        """Collect the runs of one tuner."""
        known = {p.name: p for p in problems}
        curves = defaultdict(list)
        for run in runs:
            if run.problem in known:
                curves[run.problem].append(regrets(known[run.problem], run.rows, n))
        return cls({k: known[k] for k in known if k in curves}, {k: np.array(curves[k]) for k in known if k in curves})

    def by_family(self, measure: Measure) -> dict[str, float]:
        """Mean of measure(problem, curves (seeds, n)) -> (seeds,) over seeds, then over the problems of each family."""
        return self._families({name: float(np.mean(values)) for name, values in self._values(measure).items()})

    def mean(self, measure: Measure) -> float:
        """`by_family`, averaged over families."""
        return float(np.mean(list(self.by_family(measure).values())))

    def interval(self, measure: Measure, draws: int = 1000) -> float:
        """Half the width of a 95 % interval of `mean`, by the bootstrap over seeds (problems are taken as they are)."""
        rng = np.random.default_rng(0)
        resampled = {name: rng.choice(values, (draws, values.size)).mean(axis=1) for name, values in self._values(measure).items()}
        families = defaultdict(list)
        for name, means in resampled.items():
            families[self.problems[name].family].append(means)
        draws_of_mean = np.mean([np.mean(group, axis=0) for group in families.values()], axis=0)
        low, high = np.percentile(draws_of_mean, [2.5, 97.5])
        return float(high - low) / 2.0

    def _values(self, measure: Measure) -> dict[str, FloatArray]:
        return {name: measure(problem, self.curves[name]) for name, problem in self.problems.items()}

    def _families(self, by_problem: dict[str, float]) -> dict[str, float]:
        families = defaultdict(list)
        for name, value in by_problem.items():
            families[self.problems[name].family].append(value)
        return {family: float(np.mean(values)) for family, values in families.items()}


def score(n: int) -> Measure:
    """The score after n runs."""

    def measure(problem: Problem, curves: FloatArray) -> FloatArray:
        scale = max(random_regret(problem), 1e-12 * abs(problem.optimum))  # 0 where 20 runs are the whole table
        return np.minimum(curves[:, n - 1] / scale, CAP)

    return measure


def relative_regret(n: int) -> Measure:
    """Regret after n runs as a share of the optimum."""
    return lambda problem, curves: curves[:, n - 1] / abs(problem.optimum)


def close(n: int = BUDGET) -> Measure:
    """1 where the best found after n runs lies within 5 % of the optimum."""
    return lambda problem, curves: (curves[:, n - 1] <= CLOSE * abs(problem.optimum)).astype(np.float64)


def found_feasible(runs: list[Run], problems: list[Problem], n: int = FIRST_FEASIBLE_BY) -> float:
    """Share of runs that tried a feasible row within n, each problem counting the same within its family, each family the same."""
    known = {p.name: p for p in problems}
    shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.problem in known:
            problem = known[run.problem]
            shares[problem.family][run.problem].append(float(problem.feasible[list(run.rows[:n])].any()))
    return float(np.mean([np.mean([np.mean(v) for v in family.values()]) for family in shares.values()]))
