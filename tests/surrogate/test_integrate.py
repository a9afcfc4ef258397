"""Slice samples and design nodes against posteriors that are known: the prior, and quadrature over a few free entries."""

from itertools import combinations

import numpy as np
import pytest
import reference
from core.problems import Problem

from bayestuner._core.likelihood import objective
from bayestuner.errors import BayesTunerError
from bayestuner.surrogate.fit import Priors, fit
from bayestuner.surrogate.integrate import Evidence, ccd_nodes, condition_all, design, fraction, mixture, slice_samples


def evidence_of(p, priors=None):
    return Evidence(p.geometry, p.codes, p.y, p.reps, p.known_noise, priors or Priors())


def fitted(e):
    mean, sd = e.prior
    return fit(e.geometry, e.codes, e.y, e.reps, e.known_noise, starts=mean[None], prior_mean=mean, prior_sd=sd)[0]


def noise_only(p, sd=0.8):
    """Priors that leave the noise free, and everything else where it is."""
    fixed = Priors(lengthscale=(0.0, 0.0), signal_std=(0.0, 0.0), noise_std=(-1.0, sd), trend_std=(0.0, 0.0), warp=(0.5, 0.0))
    return evidence_of(p, fixed)


def quadrature(e, entry):
    """Mean and standard deviation of one free entry, by the oracle's likelihood on a fine grid."""
    mean, sd = e.prior
    grid = mean[entry] + sd[entry] * np.linspace(-6, 6, 801)
    value = []
    for t in grid:
        theta = mean.copy()
        theta[entry] = t
        value.append(objective(theta, *e.arguments)[0])
    density = np.exp(-(np.array(value) - min(value)))
    density /= density.sum()
    centre = density @ grid
    return centre, np.sqrt(density @ (grid - centre) ** 2)


def batch_error(samples, n_batches=20):
    """Standard error of a chain's mean, from the spread of the means of its batches."""
    means = samples[: len(samples) // n_batches * n_batches].reshape(n_batches, -1, *samples.shape[1:]).mean(axis=1)
    return means.std(axis=0, ddof=1) / np.sqrt(n_batches)


@pytest.mark.compiled  # other tests reach the same lines with fewer samples
@pytest.mark.slow
def test_without_observations_slice_samples_are_the_prior():
    e = evidence_of(Problem(0, 0))
    mean, sd = e.prior
    theta = slice_samples(e, mean, 20_000, np.random.default_rng(0))
    np.testing.assert_array_equal(theta[:, sd == 0], np.tile(mean[sd == 0], (20_000, 1)))
    z = (theta - mean)[:, sd > 0] / sd[sd > 0]
    assert np.abs(z.mean(axis=0) / batch_error(z)).max() < 4
    assert np.abs(((z**2).mean(axis=0) - 1) / batch_error(z**2)).max() < 4
    assert np.abs(np.corrcoef(z.T) - np.eye(z.shape[1])).max() < 0.05
    assert np.mean(np.abs(z) < 0.674490) == pytest.approx(0.5, abs=0.02)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(3))
def test_slice_samples_have_the_moments_of_quadrature(seed):
    p = Problem(12, seed)
    e = noise_only(p)
    entry = p.geometry.d + 1
    centre, spread = quadrature(e, entry)
    samples = slice_samples(e, e.prior[0], 8_000, np.random.default_rng(seed), burn_in=20)[:, entry]
    assert abs(samples.mean() - centre) < 4 * batch_error(samples)
    assert samples.std() == pytest.approx(spread, rel=0.05)


def test_quadrature_itself_uses_the_oracles_likelihood():
    p = Problem(12, 0)
    e = noise_only(p)
    p.theta = e.prior[0].copy()
    free = p.geometry.d + 1
    p.theta[free] += 0.3
    expected = 0.5 * (0.3 / e.prior[1][free]) ** 2 - reference.log_marginal_likelihood(p.points(p.rows), p.y, p.noise + 1e-10, **p.oracle)
    assert objective(p.theta, *e.arguments)[0] == pytest.approx(expected, rel=1e-9)


def test_a_chain_is_the_same_for_the_same_generator_and_differs_for_another():
    e = evidence_of(Problem(9, 1))
    start = fitted(e)
    a, b, c = (slice_samples(e, start, 5, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_thinning_keeps_every_other_sample_and_burn_in_drops_the_first():
    e = evidence_of(Problem(9, 1))
    start = fitted(e)
    every, second, late = (
        slice_samples(e, start, count, np.random.default_rng(3), **options)
        for count, options in ((6, {}), (3, {"thin": 2}), (4, {"burn_in": 2}))
    )
    np.testing.assert_array_equal(second, every[1::2])
    np.testing.assert_array_equal(late, every[2:])


def test_a_chain_that_starts_nowhere_is_refused():
    e = evidence_of(Problem(9, 1))
    with pytest.raises(BayesTunerError, match="fitted theta"):
        slice_samples(e, np.full_like(e.prior[0], np.nan), 1, np.random.default_rng(0))
    with pytest.raises(BayesTunerError, match="fitted theta"):
        ccd_nodes(e, np.full_like(e.prior[0], np.nan))


@pytest.mark.parametrize("corners", [False, True])
def test_design_nodes_give_a_gaussian_posterior_its_mean_and_covariance(corners):
    e = evidence_of(Problem(0, 0))  # without observations the posterior is the prior, which is Gaussian
    mean, sd = e.prior
    theta, weights = ccd_nodes(e, mean, corners=corners)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights @ theta, mean, atol=1e-8)
    np.testing.assert_allclose((theta - mean).T @ (weights[:, None] * (theta - mean)), np.diag(sd**2), atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_design_nodes_come_close_to_quadrature_with_data(seed):
    p = Problem(12, seed)
    e = noise_only(p, sd=0.4)
    entry = p.geometry.d + 1
    centre, spread = quadrature(e, entry)
    theta, weights = ccd_nodes(e, fitted(e), corners=False)
    nodes = theta[:, entry]
    assert weights @ nodes == pytest.approx(centre, abs=0.1 * spread)
    assert np.sqrt(weights @ (nodes - weights @ nodes) ** 2) == pytest.approx(spread, rel=0.15)


def test_the_hessian_follows_a_rotated_posterior():
    # lengthscale and signal variance trade off: the design's nodes must be about equally likely along every axis
    e = evidence_of(Problem(25, 2))
    top = fitted(e)
    theta, _ = ccd_nodes(e, top, corners=False)
    value = np.array([objective(t, *e.arguments)[0] for t in theta])
    f = (len(theta) - 1) // 2
    quadratic = 0.5 * 1.1**2 * f
    opposite = 0.5 * (value[1 : f + 1] + value[f + 1 :]) - value[0]  # the cubic part cancels between the two sides of a star
    assert np.median(opposite) == pytest.approx(quadratic, rel=0.5)


@pytest.mark.parametrize(("f", "runs"), [(1, 2), (2, 4), (4, 16), (5, 16), (6, 32), (8, 64), (9, 128), (11, 128), (17, 256)])
def test_fractions_have_resolution_five(f, runs):
    columns = fraction(f).T
    assert columns.shape == (f, runs)
    for k in range(1, min(f, 4) + 1):
        for group in combinations(range(f), k):
            assert np.prod(columns[list(group)], axis=0).sum() == 0


def test_all_outer_nodes_lie_on_one_sphere():
    nodes = design(6, True)
    assert len(nodes) == 1 + 12 + 32
    np.testing.assert_allclose(np.linalg.norm(nodes[1:], axis=1), 1.1 * np.sqrt(6))


def test_processes_share_the_observations_and_their_mixture_has_the_total_variance():
    p = Problem(10, 4)
    e = evidence_of(p)
    theta, weights = ccd_nodes(e, fitted(e), corners=False)
    processes = condition_all(e, theta)
    assert all(gp.codes is processes[0].codes for gp in processes)
    np.testing.assert_array_equal([gp.theta for gp in processes], theta)
    codes = p.space.codes(np.arange(20))
    mean, variance = mixture(processes, weights, codes)
    draws = np.random.default_rng(0)
    which = draws.choice(len(weights), 200_000, p=weights)
    each = np.array([gp.predict(codes[:1]) for gp in processes])[:, :, 0]
    sample = each[which, 0] + np.sqrt(each[which, 1]) * draws.standard_normal(which.size)
    assert mean[0] == pytest.approx(sample.mean(), abs=5 * sample.std() / np.sqrt(which.size))
    assert variance[0] == pytest.approx(sample.var(), rel=0.03)
