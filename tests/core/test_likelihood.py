"""The marginal likelihood against the oracle, its gradient against central differences, and the fit's optimum."""

import numpy as np
import pytest
import reference
from core.problems import FORMS, Problem

from bayestuner._core.bfgs import maximise_posterior
from bayestuner._core.likelihood import objective


def evaluate(p, theta):
    g = p.geometry
    return objective(
        theta, p.codes, p.y, p.reps, p.known_noise, g.levels, g.level_starts, g.kinds, p.prior_mean, p.prior_sd, g.form, g.family
    )


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_value_equals_the_oracle(form, family):
    for seed in range(5):
        p = Problem(12, seed, form, family)
        value, _ = evaluate(p, p.theta)
        free = p.prior_sd > 0
        prior = 0.5 * (((p.theta - p.prior_mean)[free] / p.prior_sd[free]) ** 2).sum()
        expected = prior - reference.log_marginal_likelihood(p.points(p.rows), p.y, p.noise + 1e-10, **p.oracle)
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("form", "family"), FORMS)
@pytest.mark.parametrize("seed", range(6))
def test_gradient_equals_central_differences(form, family, seed):
    # rows repeat levels, so that zero distances occur in single knobs
    p = Problem(14, seed, form, family)
    _, gradient = evaluate(p, p.theta)
    for i in np.flatnonzero(p.prior_sd):
        h = 1e-5
        up, down = p.theta.copy(), p.theta.copy()
        up[i] += h
        down[i] -= h
        numeric = (evaluate(p, up)[0] - evaluate(p, down)[0]) / (2 * h)
        assert gradient[i] == pytest.approx(numeric, rel=2e-4, abs=2e-4), i
    assert (gradient[p.prior_sd == 0] == 0).all()


@pytest.mark.parametrize("form", ["product", "ard"])
def test_gradient_is_finite_where_all_points_coincide(form):
    p = Problem(3, 0, form, rows=[5, 5, 5])
    value, gradient = evaluate(p, p.theta)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_warp_gradient_is_continuous_through_zero():
    p = Problem(10, 3)
    at = p.geometry.d + 3
    values, slopes = [], []
    for w in (-1e-4, -1e-6, 0.0, 1e-6, 1e-4):
        theta = p.theta.copy()
        theta[at] = w
        value, gradient = evaluate(p, theta)
        values.append(value)
        slopes.append(gradient[at])
    assert np.ptp(slopes) < 1e-2 * (1 + abs(slopes[2]))
    assert values[4] - values[0] == pytest.approx(slopes[2] * 2e-4, rel=2e-2, abs=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_fit_ends_where_the_gradient_vanishes_and_never_above_its_starts(seed):
    p = Problem(15, seed)
    g = p.geometry
    theta, value, n_eval = maximise_posterior(
        np.stack([p.prior_mean, p.theta]), p.codes, p.y, p.reps, p.known_noise, g.levels, g.level_starts, g.kinds, p.prior_mean,
        p.prior_sd, g.form, g.family, 500, 1e-12,
    )  # fmt: skip
    assert value <= min(evaluate(p, p.prior_mean)[0], evaluate(p, p.theta)[0]) + 1e-12
    assert np.abs(evaluate(p, theta)[1]).max() < 1e-3
    assert n_eval > 2
    np.testing.assert_array_equal(theta[p.prior_sd == 0], p.prior_mean[p.prior_sd == 0])


def fit(p, starts, max_iter=30, tol=1e-3):
    g = p.geometry
    return maximise_posterior(
        starts, p.codes, p.y, p.reps, p.known_noise, g.levels, g.level_starts, g.kinds, p.prior_mean, p.prior_sd, g.form, g.family,
        max_iter, tol,
    )  # fmt: skip


@pytest.mark.compiled
def test_runs_given_up_early_end_as_low_as_patient_ones_nearly_always():
    """Readings that are pure noise have several maxima; a patient search may climb another one than a hasty one does."""
    above, evaluations = [], []
    for seed in range(60):
        p = Problem(15 + 2 * (seed % 12), seed)
        starts = np.stack([p.theta, p.prior_mean])
        together, patient = fit(p, starts), fit(p, starts, 500, 1e-12)
        above.append(together[1] - patient[1])
        evaluations.append(together[2] / patient[2])
    assert np.median(above) < 0.01
    assert np.mean(np.array(above) > 0.05) < 0.2
    assert np.mean(evaluations) < 0.8


def test_a_second_start_at_the_first_ones_end_costs_two_evaluations_at_most():
    p = Problem(20, 1)
    theta, _, n_eval = fit(p, p.prior_mean[None])
    assert fit(p, np.stack([p.prior_mean, theta]))[2] <= n_eval + 2


def test_a_start_with_no_positive_definite_covariance_is_passed_over():
    p = Problem(8, 0)
    bad = np.full_like(p.theta, np.nan)
    theta, value, _ = fit(p, np.stack([bad, p.prior_mean]))
    alone = fit(p, p.prior_mean[None])
    np.testing.assert_array_equal(theta, alone[0])
    assert value == alone[1]
    assert fit(p, bad[None])[1] == np.inf
