"""log Phi and log h against mpmath, which works them out to sixty digits at test time."""

import math

import mpmath as mp
import numpy as np
import pytest
from core.problems import from_python

from bayestuner._core import normal
from bayestuner.search.engine import acquisition

log_ei, log_h, log_ndtr = from_python(normal.log_ei), from_python(normal.log_h), from_python(normal.log_ndtr)

mp.mp.dps = 60


def exact_log_ndtr(z):
    return mp.log(mp.erfc(-z / mp.sqrt(2)) / 2)


def exact_log_h(u):
    x = mp.mpf(u)
    return (
        mp.log(mp.npdf(x) + x * mp.erfc(-x / mp.sqrt(2)) / 2)
        if u > -8
        else mp.log(mp.npdf(x) * (1 + x * mp.sqrt(mp.pi / 2) * mp.exp(x * x / 2) * mp.erfc(-x / mp.sqrt(2))))
    )


POINTS = [*-np.logspace(-3, 3, 61), 0.0, *np.logspace(-3, 1, 41), -1.0, -0.999999, -5.0, -4.999999, 5.0]


@pytest.mark.parametrize("z", POINTS)
def test_log_ndtr_equals_mpmath(z):
    exact = float(exact_log_ndtr(mp.mpf(float(z))))
    assert log_ndtr(z) == pytest.approx(exact, rel=1e-13, abs=1e-300)
    assert acquisition.log_ndtr(float(z)) == pytest.approx(exact, rel=1e-2 if z < -30 else 1e-12, abs=1e-300)


@pytest.mark.parametrize("u", POINTS)
def test_log_h_equals_mpmath(u):
    assert log_h(u) == pytest.approx(float(exact_log_h(float(u))), rel=1e-13, abs=1e-15)


def test_log_h_is_finite_and_rising_over_two_hundred_decades():
    u = np.concatenate([-np.logspace(100, -100, 4001), [0.0], np.logspace(-100, 100, 4001)])
    values = np.array([log_h(x) for x in u])
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()


def test_log_ndtr_is_finite_and_rising_over_two_hundred_decades():
    z = np.concatenate([-np.logspace(100, -100, 4001), [0.0], np.logspace(-100, 100, 4001)])
    values = np.array([log_ndtr(x) for x in z])
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()
    assert log_ndtr(-math.inf) == -math.inf


def test_log_ei_of_a_certain_value():
    assert log_ei(1.0, 0.0, 3.0) == pytest.approx(math.log(2.0))
    assert log_ei(3.0, 0.0, 3.0) == -math.inf
    assert log_ei(4.0, 0.0, 3.0) == -math.inf


def test_log_ei_tends_to_the_certain_improvement():
    assert log_ei(1.0, 1e-9, 3.0) == pytest.approx(math.log(2.0), rel=1e-9)


def test_log_ei_equals_simulation():
    rng = np.random.default_rng(0)
    draws = 0.3 + 0.7 * rng.standard_normal(2_000_000)
    assert math.exp(log_ei(0.3, 0.7, 0.1)) == pytest.approx(np.maximum(0.1 - draws, 0).mean(), rel=5e-3)
