"""Merged readings average and know their noise: told, or estimated in the unit of the model."""

import math

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.surrogate.readings import merge
from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Reading

PLAIN = Transform(1.0, 0.0, 1.0)


def test_merging_averages_repeats_and_combines_their_deviations():
    data = merge([4, 2, 4], [Reading(1.0, 0.3), Reading(5.0, 0.2), Reading(2.0, 0.4)])
    np.testing.assert_array_equal(data.rows, [4, 2])
    np.testing.assert_allclose(data.values, [1.5, 5.0])
    np.testing.assert_allclose(data.reps, [2.0, 1.0])
    np.testing.assert_allclose(data.sd, [0.25, 0.2])
    np.testing.assert_allclose(data.known_noise(PLAIN), [0.25**2, 0.2**2])


def test_repeats_without_a_known_deviation_tell_it():
    data = merge([4, 2, 4, 9], [Reading(1.0), Reading(5.0), Reading(2.0), Reading(7.0)])
    np.testing.assert_allclose(data.known_noise(PLAIN), [0.5 / 2, 0.5, 0.5])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_spread_of_repeats_is_pooled_in_the_models_unit(power):
    readings = [Reading(v) for v in (90.0, 110.0, 0.9, 1.1, 5.0)]
    data = merge([0, 0, 1, 1, 2], readings)
    transform = Transform.of(data.values, power)
    y = transform.forward(np.array([r.value for r in readings]))
    pooled = (y[:2].var(ddof=1) + y[2:4].var(ddof=1)) / 2
    np.testing.assert_allclose(data.known_noise(transform), [pooled / 2, pooled / 2, pooled])


def test_under_a_logarithm_the_noise_is_the_same_share_of_every_value():
    data = merge([0, 0, 1, 2], [Reading(99.0), Reading(101.0), Reading(1e-3), Reading(5e4)])
    transform = Transform.of(data.values)
    share = np.sqrt(data.known_noise(transform) * data.reps) * transform.scale
    np.testing.assert_allclose(share, np.log(101 / 99) / math.sqrt(2))


def test_a_reading_without_a_deviation_is_as_noisy_as_those_with_one():
    data = merge([0, 1, 2], [Reading(10.0, 0.2), Reading(20.0), Reading(40.0, 0.8)])
    np.testing.assert_allclose(data.known_noise(Transform(0.0, 0.0, 1.0)), 0.02**2)
    exact = merge([0, 1, 2], [Reading(10.0, 0.0), Reading(20.0), Reading(40.0, 0.0)])
    np.testing.assert_array_equal(exact.known_noise(PLAIN), np.zeros(3))


def test_a_row_with_both_kinds_of_readings_combines_them():
    data = merge([0, 0, 1], [Reading(10.0, 0.3), Reading(12.0), Reading(20.0, 0.5)])
    untold = (0.3**2 + 0.5**2) / 2
    np.testing.assert_allclose(data.known_noise(PLAIN), [(0.3**2 + untold) / 4, 0.25])


def test_single_readings_without_a_deviation_are_exact():
    data = merge([3, 1], [Reading(10.0), Reading(20.0)])
    np.testing.assert_array_equal(data.known_noise(Transform(0.0, 2.5, 0.4)), np.zeros(2))


def test_equal_readings_keep_their_very_value():
    assert merge([7, 7, 7, 1], [Reading(0.1)] * 3 + [Reading(2.0)]).values[0] == 0.1


def test_a_default_measured_twice_does_not_blur_readings_of_another_size():
    """A metric over four decades with 1 % noise: the interval of a small reading is about its own noise, not that of the large ones."""
    space = bt.Space(bt.Integer("a", 1, 12), bt.Integer("b", 1, 10))
    rng = np.random.default_rng(0)

    def truth(c):
        return 10.0 ** (4.0 * (c["a"] - 1) / 11) * (1 + 0.1 * c["b"])

    tuner = bt.Tuner(space, bt.Goal(minimize="p"), seed=0)
    for a, b in ((12, 10), (12, 10), (2, 2), (6, 5), (9, 1), (3, 9), (1, 7)):
        config = {"a": a, "b": b}
        tuner.tell(tuner.adopt(config), p=truth(config) * (1 + 0.01 * rng.standard_normal()))
    for config in ({"a": 2, "b": 2}, {"a": 1, "b": 7}):
        expected = tuner.predict(config)["p"]
        assert expected.mean == pytest.approx(truth(config), rel=0.03)
        assert expected.high / expected.low < 1.15
    assert tuner.recommend().config == {"a": 1, "b": 7}
