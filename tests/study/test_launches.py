"""The model of final launches: what a machine does to a round falls out, and what is said of the rest is as sure as it says."""

import math

import numpy as np
import pytest

from bayestuner.study.launches import PRIOR_SPREAD, PRIOR_WEIGHT, LaunchModel

A, B, C = 3, 8, 5


def test_what_a_round_does_to_all_alike_falls_out():
    calm = LaunchModel.of([{A: 70.0, B: 100.0}] * 3)
    wild = LaunchModel.of([{A: 70.0 * d, B: 100.0 * d} for d in (1.0, 1.5, 0.6)])
    for model in (calm, wild):
        found = model.difference(A, B)
        assert found.centre == pytest.approx(math.log(0.7))
        assert found.scale == pytest.approx(calm.difference(A, B).scale)
    assert wild.levels[A].scale > 3 * calm.levels[A].scale  # a level alone is not paired with anything


def test_equal_launches_leave_the_prior():
    """Two arms, n rounds without any spread: the variance is the prior's share."""
    for n in (1, 2, 5):
        found = LaunchModel.of([{A: 70.0, B: 100.0}] * n).difference(A, B)
        assert found.dof == max(n - 1, 1)
        assert found.scale**2 == pytest.approx(2.0 / n * PRIOR_WEIGHT * PRIOR_SPREAD**2 / (PRIOR_WEIGHT + n - 1))


def test_two_arms_in_every_round_are_a_paired_t_but_for_the_prior():
    rng = np.random.default_rng(0)
    a, b = np.exp(0.2 * rng.standard_normal((2, 200)))
    found = LaunchModel.of([{A: x, B: y} for x, y in zip(a, b, strict=True)]).difference(A, B)
    d = np.log(a / b)
    assert found.centre == pytest.approx(d.mean())
    assert found.scale == pytest.approx(d.std(ddof=1) / math.sqrt(200), rel=0.02)


def test_arms_are_compared_over_a_chain_of_rounds_and_not_without_one():
    model = LaunchModel.of([{A: 10.0, B: 20.0}, {B: 40.0, C: 80.0}])
    assert model.difference(A, C).centre == pytest.approx(math.log(1 / 4))
    assert LaunchModel.of([{A: 10.0}, {C: 80.0}]).difference(A, C) is None
    assert model.difference(A, 99) is None


def test_a_metric_with_zero_or_negative_values_is_compared_in_its_own_unit():
    model = LaunchModel.of([{A: -1.0, B: 2.0}, {A: 0.0, B: 3.0}])
    assert not model.logarithms
    assert model.difference(A, B).centre == pytest.approx(-3.0)
    assert LaunchModel.of([{}]) is None


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_of_100_statements_at_95_percent_about_95_are_right(noise):
    """Over many races of three arms and four rounds with a drift between rounds."""
    rng = np.random.default_rng(1)
    right = 0
    for _ in range(400):
        drift = np.exp(0.3 * rng.standard_normal(4))
        rounds = [{arm: d * math.exp(noise * rng.standard_normal()) for arm in (A, B, C)} for d in drift]
        found = LaunchModel.of(rounds).difference(A, B)
        right += abs(found.centre) <= found.half_width(0.95)
    assert right / 400 >= 0.92


def test_a_level_is_as_sure_as_its_launches_are_many_and_alike():
    """Rounds that differ leave the degrees of freedom of one arm's launches; rounds that don't, those of all."""
    rng = np.random.default_rng(2)
    alike = LaunchModel.of([{arm: math.exp(0.05 * rng.standard_normal()) for arm in (A, B, C)} for _ in range(6)])
    apart = LaunchModel.of([dict.fromkeys((A, B, C), d) for d in np.exp(0.5 * rng.standard_normal(6))])
    assert apart.levels[A].dof == pytest.approx(5.0, abs=0.2)
    assert alike.levels[A].dof > 7.0
