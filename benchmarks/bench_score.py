"""How long the paper's grid of 7168 configurations takes to score: posteriors alone, and with the acquisition and its argmax.

pytest benchmarks/bench_score.py --benchmark-columns=median,min,iqr
"""

import numpy as np
import pytest

from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, ModelBound, Packed
from benchmarks.scoring import PAPER, ScoringProblem

SIZES = [5, 20, 50, 100, 200]


@pytest.mark.parametrize("listed", [False, True], ids=["product", "listed"])
@pytest.mark.parametrize("n", SIZES)
def test_two_metrics_and_the_acquisition(benchmark, n, listed):
    problem = ScoringProblem(PAPER, n, listed=listed)
    problem.best()
    row, value = benchmark(problem.best)
    every = problem.space.codes(np.arange(problem.space.n_rows))
    values = problem.scorer.values(EXPECTED_IMPROVEMENT, problem.packed, problem.bounds, every, objective=0, best=-1.0)
    values[problem.exclusions.taken] = -np.inf
    assert row == np.argmax(values)
    assert value == pytest.approx(values.max(), rel=1e-9)


@pytest.mark.parametrize("form", ["product", "ard"])
@pytest.mark.parametrize("n", SIZES)
def test_one_posterior(benchmark, n, form):
    problem = ScoringProblem(PAPER, n, form=form)
    packed = Packed.of(problem.models[:1], len(PAPER), problem.models[0].z_levels.size)

    def lowest():
        return problem.scorer.best(LOWEST_MEAN, packed, [], problem.exclusions, objective=0)

    lowest()
    row, value = benchmark(lowest)
    mean, _ = problem.models[0].predict(problem.space.codes(np.array([row])))
    assert -value == pytest.approx(mean[0], rel=1e-9)


@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE], ids=["improvement", "lowest", "feasible"])
@pytest.mark.parametrize("samples", [1, 10])
def test_samples_of_the_hyperparameters(benchmark, mode, samples):
    problem = ScoringProblem(PAPER, 20)
    packed = Packed.of(problem.models * samples, len(PAPER), problem.models[0].z_levels.size)
    bounds = [ModelBound([2 * s + 1 for s in range(samples)], 1.0, 0.5)]

    def best():
        return problem.scorer.best(mode, packed, bounds, problem.exclusions, objective=[2 * s for s in range(samples)], best=-1.0)

    best()
    _, value = benchmark(best)
    one = problem.scorer.best(mode, problem.packed, problem.bounds, problem.exclusions, objective=0, best=-1.0)[1]
    assert value == pytest.approx(one, rel=1e-9, abs=1e-12)  # the samples are all the same
