"""The vectorised exponentials against mpmath, and at their ends."""

import mpmath
import numpy as np
import pytest
from core.problems import from_python

from bayestuner._core import exponential

exp_all, expm1_all = from_python(exponential.exp_all), from_python(exponential.expm1_all)

RNG = np.random.default_rng(0)
X = np.concatenate([-(10.0 ** RNG.uniform(-18, 2.8, 500)), 10.0 ** RNG.uniform(-18, 2.8, 500), RNG.uniform(-40, 40, 500), [-708.0, 709.0]])


def apply(function, x):
    out = np.array(x, dtype=float)
    scale = np.empty_like(out)
    function(out, scale, scale.view(np.int64))
    return out


@pytest.mark.parametrize(
    ("function", "exact", "bound"), [(exp_all, mpmath.exp, 3e-16), (expm1_all, mpmath.expm1, 1e-15)], ids=["exp", "expm1"]
)
def test_relative_error_is_below_the_stated_bound(function, exact, bound):
    with mpmath.workdps(40):
        errors = [abs(mpmath.mpf(float(got)) / exact(mpmath.mpf(float(x))) - 1) for got, x in zip(apply(function, X), X, strict=True)]
    assert max(errors) < bound


def test_zero_is_exact():
    np.testing.assert_array_equal(apply(exp_all, [0.0, -0.0]), [1.0, 1.0])
    np.testing.assert_array_equal(apply(expm1_all, [0.0, -0.0]), [0.0, 0.0])


def test_far_ends_are_clipped_and_nan_stays():
    low, lowest, high, nan = apply(exp_all, [-1e6, -np.inf, np.inf, np.nan])
    assert low == lowest == pytest.approx(np.exp(-708.0), rel=1e-14)
    assert high == pytest.approx(np.exp(709.0), rel=1e-14)
    assert np.isnan(nan)
    assert np.isnan(apply(expm1_all, [np.nan])[0])
