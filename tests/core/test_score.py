"""Posterior and grid scoring: against the oracle, and grid, listed rows and brute force against each other."""

import math

import numpy as np
import pytest
import reference
from core.problems import FORMS, SPACE, Problem
from scipy.stats import norm

from bayestuner import _core
from bayestuner._core import covariance, screen
from bayestuner.search import acquisition
from bayestuner.search.acquisition import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, ModelBound, Packed, Scorer
from bayestuner.space import Space
from bayestuner.surrogate import covariance as surrogate_covariance
from bayestuner.surrogate.gp import GaussianProcess


def conditioned(p):
    gp = GaussianProcess(p.geometry, theta=p.theta)
    gp.fit(p.codes, p.y, p.reps, p.known)
    return gp


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_prediction_equals_the_oracle(form, family):
    p = Problem(11, 4, form, family)
    gp = conditioned(p)
    new = np.arange(0, SPACE.n_rows, 7)
    mean, variance = gp.predict(SPACE.codes(new))
    expected = reference.posterior(p.points(p.rows), p.y, p.noise + gp.jitter, p.points(new), **p.oracle)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("form", "family"), FORMS)
@pytest.mark.parametrize("listed", [False, True])
def test_grid_means_and_variances_equal_predict(form, family, listed):
    gps = [conditioned(Problem(9, 1, form, family)), conditioned(Problem(6, 2, form, family))]
    g = gps[0].geometry
    packed = Packed.of(gps, g.d, g.levels.size)
    every = np.arange(SPACE.n_rows)
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    for split in (1, 2, 3, 4):
        scorer = Scorer(space, g.starts, g.kinds)
        scorer.n_inner = split
        if listed:
            edges = [0, split, 4] if split < 4 else [0, 4]
            scorer._edges, scorer._groups = np.array(edges), acquisition.combine(space.table, g.shape, edges)
        mean, variance = scorer.posterior(packed)
        for m, gp in enumerate(gps):
            expected = gp.predict(SPACE.codes(every))
            np.testing.assert_allclose(mean[m], expected[0], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(variance[m], expected[1], rtol=1e-6, atol=1e-9)


def brute_force(gps, bounds, skip, best, mode, floor=-math.inf):
    every = SPACE.codes(np.arange(SPACE.n_rows))
    moments = [gp.predict(every) for gp in gps]
    log_p = np.zeros(SPACE.n_rows)
    for b in bounds:
        mean, variance = moments[b.model]
        log_p += norm.logcdf(b.sign * (mean - b.limit) / np.sqrt(variance + b.extra))
    mean, std = moments[0][0], np.sqrt(moments[0][1])
    u = (best - mean) / std
    with np.errstate(divide="ignore"):
        value = {
            EXPECTED_IMPROVEMENT: np.log(std * (u * norm.cdf(u) + norm.pdf(u))) + log_p,
            LOWEST_MEAN: -mean,
            MOST_FEASIBLE: log_p,
        }[mode]
    value = np.where((log_p < floor) | skip, -np.inf, value)
    return int(np.argmax(value)), float(value.max())


@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_argmax_equals_brute_force(mode, listed, seed):
    rng = np.random.default_rng(seed)
    gps = [conditioned(Problem(9, seed)), conditioned(Problem(9, seed + 50))]
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    skip = rng.random(SPACE.n_rows) < 0.3
    bounds = [ModelBound(1, 1.0, 0.2), ModelBound(1, -1.0, 1.5), ModelBound(0, -1.0, 2.0, 0.1)]
    floor = math.log(0.05) if mode == LOWEST_MEAN else -1e300
    scorer = Scorer(space, gps[0].geometry.starts, gps[0].geometry.kinds)
    packed = Packed.of(gps, SPACE and len(SPACE.knobs), gps[0].geometry.levels.size)
    row, value = scorer.best(mode, packed, bounds, skip, objective=0, best=-0.3, log_floor=floor)
    expected = brute_force(gps, bounds, skip, -0.3, mode, floor)
    assert row == expected[0]
    assert value == pytest.approx(expected[1], rel=1e-6)


def test_ties_go_to_the_lowest_row_and_threads_agree(monkeypatch):
    monkeypatch.setattr(acquisition, "MIN_CHUNK", 10)
    gp = conditioned(Problem(3, 0))
    packed = Packed.of([gp], 4, gp.geometry.levels.size)
    skip = np.zeros(SPACE.n_rows, dtype=bool)
    skip[:17] = True
    for threads in (1, 4):
        scorer = Scorer(SPACE, gp.geometry.starts, gp.geometry.kinds, threads=threads)
        assert scorer.best(MOST_FEASIBLE, packed, [], skip) == (17, 0.0)


def test_everything_skipped_gives_no_row():
    gp = conditioned(Problem(3, 0))
    scorer = Scorer(SPACE, gp.geometry.starts, gp.geometry.kinds)
    found = scorer.best(EXPECTED_IMPROVEMENT, Packed.of([gp], 4, gp.geometry.levels.size), [], np.ones(SPACE.n_rows, bool), objective=0)
    assert found == (-1, -math.inf)


def test_a_known_objective_needs_no_model():
    gp = conditioned(Problem(8, 0))
    known = np.arange(SPACE.n_rows, dtype=float)[::-1].copy()
    scorer = Scorer(SPACE, gp.geometry.starts, gp.geometry.kinds)
    packed = Packed.of([gp], 4, gp.geometry.levels.size)
    row, value = scorer.best(EXPECTED_IMPROVEMENT, packed, [], np.zeros(SPACE.n_rows, bool), known=known, best=10.0)
    assert (row, value) == (SPACE.n_rows - 1, pytest.approx(math.log(10.0)))


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_extending_one_by_one_equals_conditioning_once(form, family):
    p = Problem(20, 7, form, family)
    noise = p.noise
    whole = conditioned(p)
    part = GaussianProcess(p.geometry, theta=p.theta)
    part.fit(p.codes[:2], p.y[:2], p.reps[:2], p.known[:2])
    for i in range(2, 20):
        assert part.extend(p.codes[i], p.y[i], noise[i])
    every = SPACE.codes(np.arange(SPACE.n_rows))
    for a, b in zip(part.predict(every), whole.predict(every), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


def test_extending_by_a_duplicate_without_noise_changes_nothing_or_stays_finite():
    p = Problem(5, 1)
    gp = conditioned(p)
    gp.extend(p.codes[0], 0.0, 0.0)
    mean, variance = gp.predict(p.codes)
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()


def test_constants_repeated_outside_core_are_the_same():
    assert surrogate_covariance.FAMILIES == {"matern52": covariance.MATERN52, "matern32": covariance.MATERN32, "rbf": covariance.RBF}
    assert surrogate_covariance.FORMS == {"product": covariance.PRODUCT, "ard": covariance.ARD}
    for name in ("FIXED", "WARPED", "CATEGORICAL"):
        assert getattr(surrogate_covariance, name) == getattr(covariance, name)
    for name in ("EXPECTED_IMPROVEMENT", "LOWEST_MEAN", "MOST_FEASIBLE"):
        assert getattr(acquisition, name) == getattr(screen, name)
    assert _core.__doc__
