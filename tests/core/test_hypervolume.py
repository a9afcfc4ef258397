"""The expected hypervolume improvement against brute force: the mean gain of many draws, and the gain itself where nothing is uncertain."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from bayestuner._core.hypervolume import add_log_probability, expected_hypervolume_improvement
from bayestuner.search.strategies.pareto import hypervolume, non_dominated

FRONT = np.array([[-1.2, 0.9], [-0.4, 0.1], [0.3, -0.8]])
REFERENCE = np.array([1.5, 1.4])
NONE = np.empty((0, 2))


def closed_form(mean, std, front=FRONT):
    mean, std = (np.asarray(v, dtype=float).reshape(-1, 2).T.copy() for v in (mean, std))
    out = np.empty(mean.shape[1])
    expected_hypervolume_improvement(mean, std, front, REFERENCE, out)
    return out


def gain(point, front=FRONT):
    with_point = np.concatenate([front, np.reshape(point, (1, 2))])
    return hypervolume(with_point, REFERENCE) - hypervolume(front, REFERENCE)


@pytest.mark.parametrize("front", [FRONT, FRONT[:1], NONE])
@pytest.mark.parametrize("point", [(-2.0, -1.5), (0.0, 0.0), (-0.4, 0.1), (-1.3, 1.3), (1.0, 1.0), (2.0, -3.0), (0.2, -0.7)])
def test_without_uncertainty_it_is_the_gain_in_area(front, point):
    assert closed_form(point, (0.0, 0.0), front)[0] == pytest.approx(gain(point, front), abs=1e-12)


@pytest.mark.parametrize("front", [FRONT, NONE])
@pytest.mark.parametrize(
    ("mean", "std"), [((0.0, 0.0), (0.5, 0.3)), ((-1.0, 0.8), (0.2, 0.9)), ((1.2, 1.0), (1.0, 1.0)), ((2.5, -2.0), (0.6, 0.1))]
)
def test_it_is_the_mean_gain_of_normal_draws(front, mean, std):
    draws = np.random.default_rng(0).normal(mean, std, (20_000, 2))
    gains = np.array([gain(draw, front) for draw in draws])
    assert closed_form(mean, std, front)[0] == pytest.approx(gains.mean(), abs=4.0 * gains.std() / math.sqrt(gains.size))


def test_a_point_sure_to_be_dominated_gains_nothing_and_all_points_are_scored_alone():
    means, stds = [(0.0, 1.3), (-3.0, -3.0), (0.0, 1.3)], [(1e-3, 1e-3), (0.1, 0.1), (1e-3, 1e-3)]
    values = closed_form(means, stds)
    assert values[0] == values[2] < 1e-12 < values[1]


def test_log_chances_add_up():
    mean, variance, out = np.array([0.0, 2.0]), np.array([1.0, 0.25]), np.array([0.5, -1.0])
    add_log_probability(mean, variance, -1.0, 0.5, 0.75, out)
    expected = np.array([0.5, -1.0]) + norm.logcdf((0.5 - mean) / np.sqrt(variance + 0.75))
    assert out == pytest.approx(expected, rel=1e-12)


def test_non_dominated_points_are_those_that_none_beats():
    rng = np.random.default_rng(1)
    points = rng.integers(0, 12, (60, 2)).astype(float)
    kept = non_dominated(points)
    for i, p in enumerate(points):
        beaten = any((q <= p).all() and (q < p).any() for q in points)
        assert (not beaten) == any((points[k] == p).all() for k in kept), i
    assert (np.diff(points[kept, 0]) > 0).all()
    assert (np.diff(points[kept, 1]) < 0).all()


def test_the_hypervolume_is_the_share_of_a_fine_grid_that_is_dominated():
    points = np.concatenate([FRONT, [[0.0, 0.5], [9.0, -9.0]]])  # one dominated, one outside
    low = -2.0
    at = low + (np.arange(700) + 0.5) / 700 * (REFERENCE[:, None] - low)
    dominated = np.zeros((700, 700), dtype=bool)
    for u, v in points:
        dominated |= (at[0][:, None] >= u) & (at[1][None, :] >= v)
    area = dominated.mean() * np.prod(REFERENCE - low)
    assert hypervolume(points, REFERENCE) == pytest.approx(area, rel=0.01)
