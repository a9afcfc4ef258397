"""Space: rows, configurations and codes agree; every mistake is named."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.errors import InvalidSpace
from bayestuner.space import Categorical, Integer, Ordinal, Space

KNOBS = st.lists(
    st.one_of(
        st.builds(lambda low, size, step: ("integer", low, size, step), st.integers(-5, 5), st.integers(0, 9), st.integers(1, 3)),
        st.builds(lambda v: ("ordinal", v), st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True).map(sorted)),
        st.builds(lambda v: ("categorical", v), st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4, unique=True)),
    ),
    min_size=1,
    max_size=4,
)


def build(parts):
    made = []
    for i, part in enumerate(parts):
        if part[0] == "integer":
            made.append(Integer(f"k{i}", part[1], part[1] + part[2], part[3]))
        else:
            made.append((Ordinal if part[0] == "ordinal" else Categorical)(f"k{i}", part[1]))
    return made


@given(KNOBS)
def test_row_and_config_are_inverse(parts):
    space = Space(*build(parts))
    assert space.n_rows == math.prod(len(k) for k in space.knobs) == len(space)
    for row in range(0, space.n_rows, max(1, space.n_rows // 17)):
        config = space.config(row)
        assert space.row(config) == row
        assert [k.code(config[k.name]) for k in space.knobs] == list(space.codes([row])[0])


@given(KNOBS, st.randoms())
def test_listed_rows_are_the_given_configurations(parts, random):
    grid = Space(*build(parts))
    rows = [grid.config(r) for r in range(grid.n_rows) if random.random() < 0.5] or [grid.config(0)]
    space = Space.from_rows(grid.knobs, rows)
    assert list(space) == rows
    assert [space.row(c) for c in rows] == list(range(len(rows)))


@given(KNOBS)
def test_where_hides_exactly_the_forbidden(parts):
    knobs = build(parts)
    grid = Space(*knobs)
    keep = {grid.row(c) for c in grid if hash(str(sorted(c.items()))) % 2} or {0}
    space = Space(*knobs, where=lambda c: grid.row(c) in keep)
    assert len(space) == len(keep)
    assert {grid.row(c) for c in space} == keep
    assert [space.is_allowed(r) for r in range(grid.n_rows)] == [r in keep for r in range(grid.n_rows)]


def test_coordinates_are_scaled_by_value_or_by_rank():
    np.testing.assert_allclose(Ordinal("a", [1, 2, 5]).coordinates(), [0, 0.25, 1])
    np.testing.assert_allclose(Ordinal("a", ["low", "mid", "high"]).coordinates(), [0, 0.5, 1])
    np.testing.assert_allclose(Integer("a", 3, 3).coordinates(), [0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Integer("a", 3, 2), "is empty: its low, 3, is above its high, 2"),
        (lambda: Integer("a", 1.5, 2), "low is a whole number, not 1.5"),
        (lambda: Integer("a", 1, True), "high is a whole number, not True"),
        (lambda: Integer("a", 1, 2, 0), "step is at least 1"),
        (lambda: Integer("a b", 1, 2), "a word of letters"),
        (lambda: Integer("a", 1, 2, more_is="better"), "'safer', 'riskier' or None, not 'better'"),
        (lambda: Ordinal("a", []), "has no values"),
        (lambda: Ordinal("a", [2, 1]), "rising order"),
        (lambda: Ordinal("a", [1.0, float("nan")]), "must be finite"),
        (lambda: Categorical("a", ["x", "x"]), "'x' twice"),
        (lambda: Categorical("a", [None]), "not None"),
        (lambda: Categorical("a", [1, True]), "True twice"),
        (Space, "at least one knob"),
        (lambda: Space("cores"), "not 'cores'"),
        (lambda: Space(Integer("a", 1, 2), Integer("a", 1, 2)), "two knobs are called 'a'"),
        (lambda: Space(Integer("a", 1, 2), where=lambda c: False), "false for every configuration"),
        (lambda: Space(Integer("a", 1, 2), where=lambda c: c["b"]), "failed for {'a': 1}: KeyError"),
        (lambda: Space.from_rows([Integer("a", 1, 2)], []), "no rows"),
        (lambda: Space.from_rows([Integer("a", 1, 2)], [{"a": 1}, [1]]), "rows 0 and 1 are the same"),
        (lambda: Space.from_rows([Integer("a", 1, 2)], [{"a": 3}]), "can't be 3; it takes one of 1, 2"),
        (lambda: Space.from_rows([Integer("a", 1, 2)], [(1, 2)]), "has 2 values, but there are 1 knobs"),
        (lambda: Space(Integer("a", 1, 2)).row({"b": 1}), "lacks a and has the unknown b"),
        (lambda: Space(Integer("a", 1, 2)).row({"a": []}), "can't be []"),
        (lambda: Space(Integer("a", 1, 2)).config(2), "its rows are 0 to 1"),
        (lambda: Space(Integer("a", 1, 2), where=lambda c: c["a"] > 1).row({"a": 1}), "forbidden"),
        (lambda: Space.from_rows([Integer("a", 1, 2)], [{"a": 1}]).row({"a": 2}), "not among the 1 listed"),
    ],
)
def test_each_mistake_is_named(make, says):
    with pytest.raises(InvalidSpace) as caught:
        make()
    assert says in str(caught.value)


def test_spaces_compare_by_content():
    def grid():
        return Space(Integer("a", 1, 4), where=lambda c: c["a"] != 2)

    assert grid() == grid()
    assert grid() != Space(Integer("a", 1, 4))
    assert Space.from_rows([Integer("a", 1, 4)], [[1]]) != Space.from_rows([Integer("a", 1, 4)], [[2]])
