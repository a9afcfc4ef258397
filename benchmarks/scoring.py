"""Scoring problems of any size: two metrics of known hyperparameters over a grid, one to lower and one with a bound.

As a program, scores one problem in this process and prints what it took as JSON: `python -m benchmarks.scoring 7 20 2` for 10^7 rows,
20 observations and 2 threads.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time

import numpy as np

from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, Exclusions, ModelBound, Packed, Scorer
from bayestuner.space import Integer, Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess

PAPER = (28, 8, 32)  # the paper's grid: cores, memory, batch size


class ScoringProblem:
    """Two models of n observations over a grid of this shape, scored by `best`; listed: the grid's rows as a table."""

    def __init__(self, shape: tuple[int, ...], n: int, *, listed: bool = False, threads: int = 1, form: str = "product") -> None:
        rng = np.random.default_rng(0)
        self.space = Space(*(Integer(f"k{i}", 1, size) for i, size in enumerate(shape)))
        if listed:  # as Space.from_rows, without a million dicts
            self.space.table = np.stack(np.unravel_index(np.arange(self.space.n_rows), shape), axis=-1).astype(np.int32)
        g = Geometry.of(self.space, form=form)
        mean, _ = Priors().pack(g)
        rows = np.sort(rng.choice(self.space.n_rows, n, replace=False))
        codes = self.space.codes(rows)
        x = codes / (np.array(shape) - 1)
        self.models = []
        for m in (1, 2):
            y = x @ rng.standard_normal(len(shape)) + 0.3 * np.sin(5 * m * x).sum(axis=1)
            gp = GaussianProcess(g, theta=mean)
            gp.fit(codes, (y - y.mean()) / y.std(), np.ones(n), np.zeros(n))
            self.models.append(gp)
        self.packed = Packed.of(self.models, g.d, g.levels.size)
        self.scorer = Scorer(self.space, g.level_starts, g.kinds, threads=threads)
        self.exclusions = Exclusions(taken=rows)
        self.bounds = [ModelBound(1, 1.0, 0.5)]

    def best(self) -> tuple[int, float]:
        """Score both metrics and the acquisition at every row."""
        return self.scorer.best(EXPECTED_IMPROVEMENT, self.packed, self.bounds, self.exclusions, objective=0, best=-1.0)


def main(exponent: int, n: int, threads: int, listed: bool) -> None:
    """Print rows, seconds and the growth of this process's peak memory while it scored."""
    small = ScoringProblem((10,) * 3, n, threads=threads, listed=listed)
    small.best()  # loads the compiled code
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = ScoringProblem((10,) * exponent, n, threads=threads, listed=listed)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        found = problem.best()
        seconds.append(time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(
        json.dumps(
            {
                "rows": problem.space.n_rows,
                "found": found,
                "seconds": statistics.median(seconds),
                "bytes_per_row": grown / problem.space.n_rows,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "listed" in sys.argv[4:])
