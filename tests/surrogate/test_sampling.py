"""Joint samples: their mean, variance and covariance over a whole grid are the posterior's, by either way of drawing them."""

import numpy as np
import pytest
import reference
from core.problems import FORMS, SPACE, Problem

from bayestuner.errors import BayesTunerError
from bayestuner.space import Integer, Ordinal, Space
from bayestuner.surrogate import sampling
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.sampling import joint_samples

COUNT = 20_000
FAMILIES = ["matern52", "matern32", "rbf"]


def conditioned(p):
    gp = GaussianProcess(p.geometry, theta=p.theta)
    gp.fit(p.codes, p.y, p.reps, p.known_noise)
    return gp


def dense_posterior(p, gp, rows):
    """Mean and covariance by the oracle's covariance and numpy's solver."""
    points, new = p.points(p.rows), p.points(rows)
    K = reference.gram(points, points, **p.oracle) + np.diag(p.noise + gp.jitter)
    k = reference.gram(points, new, **p.oracle)
    covariance = reference.gram(new, new, **p.oracle) - k.T @ np.linalg.solve(K, k)
    return k.T @ np.linalg.solve(K, p.y), covariance


def assert_moments(samples, mean, covariance):
    """Every entry within about five standard errors."""
    count = samples.shape[0]
    variance = np.diag(covariance)
    off = (samples.mean(axis=0) - mean) / np.sqrt(variance / count)
    assert np.abs(off).max() < 5
    centred = samples - mean
    found = centred.T @ centred / count
    error = np.sqrt((variance[:, None] * variance[None, :] + covariance**2) / count)
    assert np.abs((found - covariance) / error).max() < 5.5


@pytest.mark.compiled
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [1, 6, 15])
def test_the_grids_samples_have_the_posteriors_moments(family, n, monkeypatch):
    p = Problem(n, n, "product", family)
    gp = conditioned(p)
    monkeypatch.setattr(sampling, "_dense", None)  # it must come from the grid
    samples = joint_samples(gp, SPACE, COUNT, np.random.default_rng(1))
    assert samples.shape == (COUNT, SPACE.n_rows)
    rows = np.arange(0, SPACE.n_rows, 9)
    assert_moments(samples[:, rows], *dense_posterior(p, gp, rows))
    mean, variance = gp.predict(SPACE.codes(np.arange(SPACE.n_rows)))
    assert np.abs((samples.mean(axis=0) - mean) / np.sqrt(variance / COUNT)).max() < 5
    assert np.abs(samples.var(axis=0) / variance - 1).max() < 5 * np.sqrt(2 / COUNT)


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_samples_of_rows_have_the_posteriors_moments(form, family, monkeypatch):
    p = Problem(8, 3, form, family)
    gp = conditioned(p)
    rows = np.arange(3, SPACE.n_rows, 29)
    monkeypatch.setattr(sampling, "_from_grid", None)  # few rows come from their own covariance
    samples = joint_samples(gp, SPACE, COUNT, np.random.default_rng(2), rows)
    assert_moments(samples, *dense_posterior(p, gp, rows))


def test_listed_and_forbidden_rows_are_taken_from_the_grid(monkeypatch):
    p = Problem(8, 3)
    gp = conditioned(p)
    every = joint_samples(gp, SPACE, 7, np.random.default_rng(5))
    monkeypatch.setattr(sampling, "_dense", None)
    monkeypatch.setattr(sampling, "_grid_is_cheaper", lambda *_: True)
    order = np.random.default_rng(0).permutation(SPACE.n_rows)[:100]
    listed = Space.from_rows(SPACE.knobs, [SPACE.config(int(row)) for row in order])
    np.testing.assert_array_equal(joint_samples(gp, listed, 7, np.random.default_rng(5)), every[:, order])
    np.testing.assert_array_equal(joint_samples(gp, SPACE, 7, np.random.default_rng(5), order[:9]), every[:, order[:9]])
    np.testing.assert_array_equal(joint_samples(gp, listed, 7, np.random.default_rng(5), [4, 2]), every[:, order[[4, 2]]])


def test_samples_taken_in_chunks_differ_from_each_other(monkeypatch):
    gp = conditioned(Problem(8, 3))
    monkeypatch.setattr(sampling, "_grid_is_cheaper", lambda *_: True)
    monkeypatch.setattr(sampling, "CHUNK", 2 * SPACE.n_rows)
    samples = joint_samples(gp, SPACE, 5, np.random.default_rng(5), [0, 100])
    assert samples.shape == (5, 2)
    assert len(np.unique(samples)) == 10


@pytest.mark.parametrize("rows", [None, "observed"])
def test_samples_pass_through_noise_free_observations(rows):
    p = Problem(10, 2)
    p.theta[p.geometry.d + 1] = -60.0
    p.known_noise[:] = 0.0
    gp = conditioned(p)
    samples = joint_samples(gp, SPACE, 50, np.random.default_rng(3), None if rows is None else p.rows)
    at_observations = samples[:, p.rows] if rows is None else samples
    np.testing.assert_allclose(at_observations, np.tile(p.y, (50, 1)), atol=1e-3)
    free = joint_samples(gp, SPACE, 50, np.random.default_rng(3), np.setdiff1d(np.arange(SPACE.n_rows), p.rows)[:40])
    assert free.std(axis=0).min() > 1e-3


@pytest.mark.compiled
@pytest.mark.parametrize("knobs", [[7], [2, 5, 3], [2, 2, 2, 2, 2, 3], [90, 2], [1, 70]])
def test_grids_of_any_shape_are_sampled(knobs):
    # sizes about the groups of four and the inner part of 64 cells
    space = Space(*(Ordinal(f"k{i}", [1, 3, 4, 8][:size]) if size < 4 else Integer(f"k{i}", 1, size) for i, size in enumerate(knobs)))
    geometry = Geometry.of(space)
    gp = GaussianProcess(geometry)
    rng = np.random.default_rng(0)
    rows = rng.choice(space.n_rows, 4, replace=False)
    gp.fit(space.codes(rows), rng.standard_normal(4), np.ones(4), np.zeros(4), refit=False)
    samples = sampling._from_grid(gp, space, 8_000, rng, None)
    mean, variance = gp.predict(space.codes(np.arange(space.n_rows)))
    assert np.abs((samples.mean(axis=0) - mean) / np.sqrt(variance / 8_000)).max() < 5
    dense = sampling._dense(gp, space.codes(np.arange(space.n_rows)), 8_000, rng)
    spread = np.sqrt(np.outer(variance, variance) / 8_000)
    assert np.abs((np.cov(samples.T) - np.cov(dense.T)) / spread).max() < 9


def test_extended_processes_are_sampled_with_their_own_noise():
    p = Problem(8, 3)
    gp = conditioned(p)
    free = np.setdiff1d(np.arange(SPACE.n_rows), p.rows)[:1]
    assert gp.extend(SPACE.codes(free)[0], 0.7, 1e-12)
    samples = joint_samples(gp, SPACE, 20, np.random.default_rng(0))
    np.testing.assert_allclose(samples[:, free[0]], 0.7, atol=1e-3)


def test_samples_are_the_same_for_the_same_generator():
    gp = conditioned(Problem(8, 3))
    a, b = (joint_samples(gp, SPACE, 3, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_what_cannot_be_sampled_is_refused():
    p = Problem(8, 3, "ard")
    with pytest.raises(BayesTunerError, match="fit it first"):
        joint_samples(GaussianProcess(p.geometry), SPACE, 3, np.random.default_rng(0))
    space = Space(Integer("a", 1, 80), Integer("b", 1, 80))
    gp = GaussianProcess(Geometry.of(space, form="ard"))
    gp.fit(space.codes([0, 50]), np.array([-1.0, 1.0]), np.ones(2), np.zeros(2), refit=False)
    with pytest.raises(BayesTunerError, match="4096 rows"):
        joint_samples(gp, space, 3, np.random.default_rng(0))
    assert joint_samples(gp, space, 3, np.random.default_rng(0), [1, 2, 6399]).shape == (3, 3)
