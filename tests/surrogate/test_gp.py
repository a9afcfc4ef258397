"""The process: appended one by one equals conditioned at once, for hundreds; what can't be appended is factored anew."""

import numpy as np
import pytest

from bayestuner.errors import BayesTunerError
from bayestuner.space import Categorical, Integer, Ordinal, Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess

SPACE = Space(Integer("cores", 1, 28), Ordinal("batch_size", [1, 2, 4, 8, 16, 32]), Categorical("precision", ["fp32", "bf16", "int8"]))


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    codes = SPACE.codes(rng.choice(SPACE.n_rows, n, replace=False))
    y = np.sin(codes[:, 0] / 9.0) + 0.3 * codes[:, 1] + 0.1 * codes[:, 2] + 0.05 * rng.standard_normal(n)
    return codes, (y - y.mean()) / y.std(), rng.integers(1, 4, n).astype(float), rng.choice([0.0, 1e-3], n)


def process(form="product", log_noise=-6.0):
    geometry = Geometry.of(SPACE, form=form)
    d = geometry.d
    theta = np.concatenate([np.full(d, -0.3), [0.0, log_noise, -0.7], [0.4, 0.6, 1.0]])
    return GaussianProcess(geometry, theta=theta)


@pytest.mark.compiled
@pytest.mark.parametrize("form", ["product", "ard"])
def test_three_hundred_appends_equal_conditioning_once(form):
    codes, y, reps, known = data(304)
    part, whole = process(form), process(form)
    part.fit(codes[:4], y[:4], reps[:4], known[:4])
    for i in range(4, 304):
        assert part.extend(codes[i], y[i], part.noise_variance / reps[i] + known[i])
    whole.fit(codes, y, reps, known)
    np.testing.assert_allclose(part.noise, whole.noise, rtol=1e-12)
    np.testing.assert_allclose(part.W, whole.W, atol=1e-7 * np.abs(whole.W).max())
    every = SPACE.codes(np.arange(SPACE.n_rows))
    for a, b in zip(part.predict(every), whole.predict(every), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


def test_appends_of_nearly_the_same_observation_stay_accurate():
    codes, y, _, _ = data(6)
    part, whole = process(log_noise=-14.0), process(log_noise=-14.0)
    ones, zeros = np.ones, np.zeros
    part.fit(codes, y, ones(6), zeros(6))
    for _ in range(20):
        assert part.extend(codes[0], y[0], part.noise_variance)
    whole.fit(np.concatenate([codes, np.tile(codes[:1], (20, 1))]), np.append(y, np.full(20, y[0])), ones(26), zeros(26))
    every = SPACE.codes(np.arange(SPACE.n_rows))
    for a, b in zip(part.predict(every), whole.predict(every), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_what_cannot_be_told_apart_is_factored_anew_with_more_jitter():
    codes, y, reps, known = data(6)
    gp = process()
    gp.fit(codes, y, reps, known)
    before = gp.predict(codes)
    jitter = gp.jitter
    # a negative variance stands for what rounding leaves of a pivot
    assert not gp.extend(codes[2], y[2], -gp.noise[2] - 1e-6)
    assert gp.n == 7
    assert gp.jitter > jitter
    for found, was in zip(gp.predict(codes), before, strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, was, atol=0.05)
    assert gp.extend(codes[3], y[3], gp.noise_variance)


def test_more_than_all_jitter_can_repair_is_refused_with_the_number_of_observations():
    codes, y, reps, known = data(6)
    gp = process()
    gp.fit(codes, y, reps, known)
    with pytest.raises(BayesTunerError, match="7 observations is not positive definite"):
        gp.extend(codes[2], y[2], -0.5)
    assert gp.n == len(gp.y) == len(gp.beta) == 6


def test_a_refit_never_lowers_the_posterior_of_theta_and_a_fixed_theta_stays():
    codes, y, reps, known = data(20)
    gp = GaussianProcess(Geometry.of(SPACE))
    gp.fit(codes[:12], y[:12], reps[:12], known[:12])
    first = gp.theta.copy()
    gp.fit(codes, y, reps, known, refit=False)
    np.testing.assert_array_equal(gp.theta, first)
    gp.fit(codes, y, reps, known)
    from bayestuner._core.likelihood import objective

    g = gp.geometry
    value = [
        objective(theta, codes, y, reps, known, g.levels, g.level_starts, g.kinds, gp.prior_mean, gp.prior_sd, g.form, g.family)[0]
        for theta in (first, gp.theta)
    ]
    assert value[1] <= value[0]
    fixed = process()
    theta = fixed.theta.copy()
    fixed.fit(codes, y, reps, known)
    np.testing.assert_array_equal(fixed.theta, theta)
