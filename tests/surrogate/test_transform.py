"""Transforms are rising and invert; the evidence chooses among them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.space import Integer, Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.metric import MetricModel
from bayestuner.surrogate.readings import merge
from bayestuner.surrogate.transform import POWERS, Transform
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


@pytest.mark.parametrize("power", POWERS)
@given(values=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=8))
def test_every_power_inverts(power, values):
    v = np.array(values)
    t = Transform.of(v, power)
    for value, s in zip(v, t.forward(v), strict=True):
        assert math.isclose(t.backward(float(s)), value, rel_tol=1e-6, abs_tol=1e-6 * v.max())
    assert (t.forward_limit(-1.0) == -math.inf) == (power < 1.0)


@pytest.mark.parametrize("power", POWERS)
def test_the_jacobian_makes_densities_of_the_readings_integrate_to_one(power):
    t = Transform.of(np.array([2.0, 5.0, 9.0, 11.0]), power)
    coarse = np.exp(np.linspace(-30.0, 30.0, 8001))
    density = np.array([math.exp(t.log_jacobian(np.array([v]))) for v in coarse])
    normal = np.exp(-0.5 * t.forward(coarse) ** 2) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(-float(t.forward(coarse[:1])[0]) / math.sqrt(2.0))  # what a power leaves below zero
    assert np.trapezoid(normal * density, coarse) + below == pytest.approx(1.0, abs=2e-3)


def chosen_power(values_of, n=16):
    space = Space(Integer("a", 1, 40))
    rows = list(range(0, 40, 40 // n))[:n]
    model = MetricModel(Geometry.of(space))
    for k in range(8, n + 1):
        data = merge(rows[:k], [Reading(values_of(r / 40)) for r in rows[:k]])
        model.fit(space.codes(data.rows), data, [0])
    return model.power


def test_the_evidence_chooses_how_a_metric_is_modelled():
    assert chosen_power(lambda x: math.exp(4 * math.sin(5 * x))) == 0.0
    assert chosen_power(lambda x: 0.001 + 10 * (x - 0.4) ** 2 + x) > 0.0  # its logarithm has a pit at 0


def test_a_metric_that_turns_negative_is_modelled_as_it_is():
    assert chosen_power(lambda x: math.exp(4 * x) if x < 0.6 else -1.0) == 1.0


def test_noise_is_scaled_by_the_slope():
    t = Transform.of(np.array([50.0, 100.0, 200.0]))
    v, sd = np.array([100.0]), np.array([0.01])
    numeric = (t.forward(v + sd) - t.forward(v - sd)) / 2
    assert t.forward_sd(v, sd) == pytest.approx(numeric, rel=1e-6)
