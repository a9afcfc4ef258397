"""A host's parameters as a finite grid."""

import pytest

from bayestuner.integrations.grid import CONTINUOUS_LEVELS, MAX_LEVELS, Grid, choices, real_numbers, whole_numbers


def test_whole_numbers_are_taken_as_they_are():
    assert whole_numbers("x", 3, 10, 3).values == (3, 6, 9)
    assert whole_numbers("x", -2, 2).values == (-2, -1, 0, 1, 2)


@pytest.mark.parametrize("log", [False, True])
def test_many_whole_numbers_are_thinned_and_keep_their_ends_and_step(log):
    values = whole_numbers("x", 1, 10**9 + 1, 2, log=log).values
    assert values[0] == 1
    assert values[-1] == 10**9 + 1
    assert len(values) <= MAX_LEVELS
    assert all((v - 1) % 2 == 0 and isinstance(v, int) for v in values)
    assert list(values) == sorted(set(values))


@pytest.mark.parametrize("high", [0.3, 0.30000000000000004, 0.31])
def test_steps_do_not_lose_their_end_to_rounding(high):
    assert real_numbers("x", 0.0, high, 0.1).values == pytest.approx((0.0, 0.1, 0.2, 0.3))


def test_real_numbers_keep_their_exact_ends():
    for log in (False, True):
        values = real_numbers("x", 1e-7, 10.0, log=log).values
        assert (values[0], values[-1], len(values)) == (1e-7, 10.0, CONTINUOUS_LEVELS)
        assert list(values) == sorted(set(values))


def test_the_nearest_level_is_found():
    axis = real_numbers("x", 0.0, 1.0, 0.25)
    assert [axis.code(v) for v in (0.0, 0.1, 0.13, 0.9, 1.0)] == [0, 0, 1, 4, 4]
    assert [axis.code(v) for v in (-0.01, 1.01, float("nan"))] == [None, None, None]


def test_choices_keep_types_apart():
    axis = choices("c", [True, 1, "1", None])
    assert [axis.code(v) for v in (True, 1, "1", None, 1.0, "x")] == [0, 1, 2, 3, None, None]


def test_there_and_back():
    grid = Grid([whole_numbers("a b", 1, 4), choices("c", ["x", None]), real_numbers("f", 0.0, 1.0)])
    config = grid.config({"a b": 3, "c": None, "f": 0.5})
    assert grid.values(config) == {"a b": 3, "c": None, "f": 0.5}
    assert config in grid.space
    assert grid.config({"a b": 3, "c": None}) is None
    assert grid.config({"a b": 9, "c": None, "f": 0.5}) is None
