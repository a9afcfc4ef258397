"""Grids of several studies joined: levels matched by value, the new study's rows unchanged, and densities left one out."""

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.joint import JointGrid, common_knobs
from bayestuner.surrogate.pooled import PooledMetric, PooledReadings, leave_one_out
from bayestuner.surrogate.readings import merge
from bayestuner.trial import Reading

SPACE = bt.Space(bt.Integer("cores", 1, 8), bt.Ordinal("clock", [1200, 1800]), bt.Categorical("gpu", ["a40", "v100"]))
OTHER = bt.Space(bt.Ordinal("cores", [2, 12, 24]), bt.Categorical("gpu", ["v100", "h100"]), bt.Ordinal("streams", [1, 2, 4]))
CONFIGS = [{"cores": 2, "gpu": "v100", "streams": 1}, {"cores": 24, "gpu": "h100", "streams": 4}]


def grid():
    return JointGrid(SPACE, Geometry.of(SPACE), [(OTHER, CONFIGS)])


def level(joint, codes, axis):
    return joint.geometry.levels[joint.geometry.level_starts[axis] + codes[axis]]


def test_the_study_comes_first_and_levels_are_matched_by_value():
    joint = grid()
    study, streams, cores, clock, gpu = range(5)
    own = joint.codes(SPACE.codes([SPACE.row({"cores": 2, "clock": 1800, "gpu": "v100"})]))[0]
    first, second = joint.codes_of_study(0, CONFIGS)
    assert (own[study], first[study], second[study]) == (0, 1, 1)
    assert own[cores] == first[cores]
    assert own[gpu] == first[gpu] != second[gpu]
    assert level(joint, second, cores) == pytest.approx(np.log(24))  # beyond the new study's range, on its scale
    assert joint.geometry.levels[joint.geometry.level_starts[cores + 1] - 1] == np.log(8)
    assert level(joint, first, clock) == 0.5  # it has no such knob: the middle
    middle = level(joint, own, streams)
    assert level(joint, first, streams) < middle < level(joint, second, streams)


def test_levels_below_the_range_and_not_positive_ones_stay_finite():
    space = bt.Space(bt.Integer("nice", -5, 5))
    other = bt.Space(bt.Integer("nice", -20, 19))
    joint = JointGrid(space, Geometry.of(space), [(other, [{"nice": -20}, {"nice": 19}])])
    assert np.isfinite(joint.geometry.levels).all()


def test_a_knob_without_comparable_levels_counts_as_missing():
    labels = bt.Space(bt.Ordinal("cores", ["few", "many"]), bt.Categorical("gpu", ["a40"]))
    assert common_knobs(SPACE, labels) == ["gpu"]
    joint = JointGrid(SPACE, Geometry.of(SPACE), [(labels, [{"cores": "few", "gpu": "a40"}])])
    assert level(joint, joint.codes_of_study(0, [{"cores": "few", "gpu": "a40"}])[0], 1) == pytest.approx(0.5 * np.log(8))


def test_a_process_of_the_new_study_is_the_same_over_the_joint_grid():
    joint, geometry = grid(), Geometry.of(SPACE)
    rng = np.random.default_rng(0)
    rows = rng.choice(SPACE.n_rows, 8, replace=False)
    gp = GaussianProcess(geometry)
    gp.fit(SPACE.codes(rows), rng.standard_normal(8), np.ones(8), np.zeros(8))
    lifted = GaussianProcess(joint.geometry, theta=joint.spread_theta(gp.theta))
    lifted.codes, lifted.W, lifted.beta, lifted.z_levels = joint.codes(gp.codes), gp.W, gp.beta, joint.spread(gp.z_levels, 0.5)
    every = SPACE.codes(np.arange(SPACE.n_rows))
    for a, b in zip(gp.predict(every), lifted.predict(joint.codes(every)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_view_holds_the_same_rows():
    listed = bt.Space.from_rows(SPACE.knobs, [{"cores": 3, "clock": 1200, "gpu": "a40"}, {"cores": 8, "clock": 1800, "gpu": "v100"}])
    for space in (SPACE, listed):
        joint = JointGrid(space, Geometry.of(space), [(OTHER, CONFIGS)])
        every = np.arange(space.n_rows)
        np.testing.assert_array_equal(joint.view.codes(every), joint.codes(space.codes(every)))


def test_leaving_one_out_equals_conditioning_without_it():
    rng = np.random.default_rng(1)
    geometry = Geometry.of(SPACE)
    codes, y = SPACE.codes(rng.choice(SPACE.n_rows, 7, replace=False)), rng.standard_normal(7)
    mean, _ = Priors().pack(geometry)
    whole = GaussianProcess(geometry, theta=mean)
    whole.fit(codes, y, np.ones(7), np.zeros(7))
    expected = []
    for i in range(4, 7):
        others = np.arange(7) != i
        part = GaussianProcess(geometry, theta=mean)
        part.fit(codes[others], y[others], np.ones(6), np.zeros(6))
        m, v = part.predict(codes[[i]])
        spread = v[0] + part.noise_variance
        expected.append(-0.5 * (np.log(2 * np.pi * spread) + (y[i] - m[0]) ** 2 / spread))
    np.testing.assert_allclose(leave_one_out(whole, 3), expected, rtol=1e-6)


def test_an_earlier_study_of_the_same_function_sharpens_the_prediction():
    space = bt.Space(bt.Integer("cores", 1, 20))
    joint = JointGrid(space, Geometry.of(space), [(space, [space.config(r) for r in range(0, 20, 2)])])

    def metric(rows, factor):
        return [Reading(factor * (5.0 + 0.1 * (r - 9.0) ** 2)) for r in rows]

    earlier = PooledReadings(
        joint.codes_of_study(0, [space.config(r) for r in range(0, 20, 2)]), merge([*range(10)], metric(range(0, 20, 2), 3.0)), None
    )
    model = PooledMetric(joint, [earlier], Priors())
    own = [1, 9, 17]
    model.fit(space.codes(own), merge(own, metric(own, 1.0)), None)
    every = np.arange(20)
    mean, _ = model.gp.predict(joint.codes(space.codes(every)))
    expected = np.array([model.transform.forward(np.array([r.value]))[0] for r in metric(every, 1.0)])
    assert np.abs(mean - expected).max() < 0.25
