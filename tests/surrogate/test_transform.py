"""Transforms are rising and invert; merged readings average and keep their standard deviations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.surrogate.metric import merge
from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Reading

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8)


@given(VALUES)
def test_backward_undoes_forward_and_limits_keep_their_side(values):
    v = np.array(values)
    t = Transform.of(v)
    scaled = t.forward(v)
    assert np.isfinite(scaled).all()
    for value, s in zip(v, scaled, strict=True):
        assert math.isclose(t.backward(float(s)), value, rel_tol=1e-6, abs_tol=1e-6 * max(1.0, np.abs(v).max()))
        assert math.isclose(t.forward_limit(float(value)), s, rel_tol=1e-9, abs_tol=1e-9)


def test_positive_readings_are_modelled_by_their_logarithm():
    t = Transform.of(np.array([1.0, 10.0, 100.0]))
    assert t.log
    np.testing.assert_allclose(t.forward(np.array([1.0, 10.0, 100.0])), [-math.sqrt(1.5), 0, math.sqrt(1.5)])
    assert t.forward_limit(0.0) == -math.inf == t.forward_limit(-3.0)
    assert not Transform.of(np.array([0.0, 10.0])).log


def test_noise_is_scaled_by_the_slope():
    t = Transform.of(np.array([50.0, 100.0, 200.0]))
    v, sd = np.array([100.0]), np.array([0.01])
    numeric = (t.forward(v + sd) - t.forward(v - sd)) / 2
    assert t.forward_sd(v, sd) == pytest.approx(numeric, rel=1e-6)


def test_merging_averages_repeats():
    data = merge([4, 2, 4], [Reading(1.0, 0.3), Reading(5.0), Reading(2.0, 0.4)])
    np.testing.assert_array_equal(data.rows, [4, 2])
    np.testing.assert_allclose(data.values, [1.5, 5.0])
    np.testing.assert_allclose(data.reps, [2.0, 1.0])
    np.testing.assert_allclose(data.sd, [0.25, 0.0])
