"""The first runs: where they lie, and that they suit any space."""

import numpy as np
import pytest

from bayestuner.search.engine.design import choose_first, design_size, unevenness
from bayestuner.search.engine.hints import Hints
from bayestuner.search.engine.packed import Exclusions
from bayestuner.space import Categorical, Integer, Ordinal, Space


def first(space, n, seed=0, tried=()):
    rows = list(tried)

    def out(asked):
        return np.array([not space.is_allowed(int(r)) or int(r) in rows for r in asked], dtype=bool)

    while len(rows) < n:
        row = choose_first(space, out, rows, n, seed)
        assert space.is_allowed(row) and row not in rows
        rows.append(row)
    return [space.config(r) for r in rows]


@pytest.mark.parametrize("seed", range(5))
def test_three_points_take_low_middle_and_high_levels_of_every_knob(seed):
    configs = first(Space(Integer("a", 1, 30), Integer("b", 1, 30)), 3, seed)
    for name in ("a", "b"):
        low, middle, high = sorted(c[name] for c in configs)
        assert low <= 13 and 8 <= middle <= 23 and high >= 18


def test_categories_differ_as_long_as_there_are_enough():
    configs = first(Space(Categorical("kind", ["x", "y", "z"]), Integer("a", 1, 30)), 3)
    assert {c["kind"] for c in configs} == {"x", "y", "z"}


def test_a_configuration_of_the_callers_own_is_complemented():
    space = Space(Integer("a", 1, 30), Integer("b", 1, 30))
    corner = space.row({"a": 30, "b": 30})
    rest = first(space, 3, tried=[corner])[1:]
    assert all(c["a"] < 24 and c["b"] < 24 for c in rest)


def test_unevenness_is_lowest_for_the_even_set():
    space = Space(Integer("a", 1, 31), Integer("b", 1, 31))
    sets = [[(6, 16), (16, 26), (26, 6)], [(1, 1), (16, 16), (31, 31)], [(15, 15), (16, 16), (17, 17)], [(6, 16), (6, 16), (26, 6)]]
    rows = np.array([[space.row({"a": a, "b": b}) for a, b in points] for points in sets])
    scores = unevenness(space, rows, [])
    assert scores.argmin() == 0 and scores.argmax() == 3  # a row used twice is no design


@pytest.mark.parametrize(
    "space",
    [
        Space(Integer("a", 1, 1)),
        Space(Categorical("a", ["x", "y", "z"])),
        Space(Integer("a", 1, 50), Ordinal("b", [1, 10, 100]), where=lambda c: c["a"] * c["b"] < 200),
        Space(Integer("a", 1, 5000), where=lambda c: c["a"] in (17, 4000, 4001)),
        Space.from_rows([Integer("a", 1, 50), Categorical("b", ["x", "y"])], [(3, "x"), (40, "y"), (41, "y"), (9, "x")]),
        Space(Integer("a", 1, 400), Integer("b", 1, 400), Integer("c", 1, 10)),
    ],
)
def test_any_space_gives_distinct_allowed_rows(space):
    configs = first(space, min(3, len(space)))
    assert len({str(c) for c in configs}) == min(3, len(space))


def test_where_nothing_is_free_it_says_so():
    assert choose_first(Space(Integer("a", 1, 9)), lambda rows: np.ones(rows.size, dtype=bool), [], 3, 0) == -1


def test_the_design_never_takes_more_than_a_third_of_the_budget():
    assert [design_size(b) for b in (1, 2, 3, 5, 6, 9, 20, 100)] == [1, 1, 1, 1, 2, 3, 3, 3]


def test_hints_in_both_directions_exclude_the_dominated_box_only():
    space = Space(Integer("memory", 1, 4, more_is="safer"), Integer("batch", 1, 4, more_is="riskier"), Integer("cores", 1, 2))
    hints = Hints(space)
    hints.failed(space.row({"memory": 2, "batch": 3, "cores": 1}))
    rows = np.arange(space.n_rows)
    inside = Exclusions(boxes=hints.boxes()).excludes(rows, space.codes(rows), np.empty(0, dtype=np.int64))
    out = {tuple(space.config(r).values()) for r in np.flatnonzero(inside)}
    assert out == {(m, b, 1) for m in (1, 2) for b in (3, 4)}
    assert hints.ran(space.row({"memory": 3, "batch": 4, "cores": 1})) == []
    assert sorted(hints.ran(space.row({"memory": 1, "batch": 4, "cores": 1}))) == ["batch", "memory"]
    assert not hints.active
