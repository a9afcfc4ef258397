"""The first runs: where they lie, and that they suit any space."""

import numpy as np
import pytest

from bayestuner.search.design import candidates, choose_first, design_size
from bayestuner.search.hints import Hints
from bayestuner.space import Categorical, Integer, Ordinal, Space


def first(space, n, seed=0):
    taken = np.zeros(space.n_rows, dtype=bool) if space.allowed is None else ~space.allowed
    rows = []
    for _ in range(n):
        rows.append(choose_first(space, taken, rows, seed))
        assert not taken[rows[-1]]
        taken[rows[-1]] = True
    return [space.config(r) for r in rows]


def test_centre_then_high_corner_then_far_away():
    space = Space(Integer("a", 1, 9), Integer("b", 1, 9))
    centre, corner, far = first(space, 3)
    assert centre == {"a": 5, "b": 5}
    assert corner == {"a": 9, "b": 9}
    assert {far["a"], far["b"]} <= {1, 9}


@pytest.mark.parametrize(
    "space",
    [
        Space(Integer("a", 1, 1)),
        Space(Categorical("a", ["x", "y", "z"])),
        Space(Integer("a", 1, 50), Ordinal("b", [1, 10, 100]), where=lambda c: c["a"] * c["b"] < 200),
        Space.from_rows([Integer("a", 1, 50), Categorical("b", ["x", "y"])], [(3, "x"), (40, "y"), (41, "y"), (9, "x")]),
        Space(Integer("a", 1, 400), Integer("b", 1, 400), Integer("c", 1, 10)),
    ],
)
def test_any_space_gives_distinct_allowed_rows(space):
    configs = first(space, min(4, len(space)))
    assert len({str(c) for c in configs}) == min(4, len(space))


def test_a_large_grid_is_sampled_but_keeps_its_corner_and_centre():
    space = Space(Integer("a", 1, 1000), Integer("b", 1, 1000))
    assert candidates(space, np.random.default_rng(0)).size < 20_010
    centre, corner = first(space, 2)
    assert corner == {"a": 1000, "b": 1000}
    assert abs(centre["a"] - 500) < 30 and abs(centre["b"] - 500) < 30


def test_the_design_never_takes_more_than_a_third_of_the_budget():
    assert [design_size(b) for b in (1, 2, 3, 5, 6, 9, 20, 100)] == [1, 1, 1, 1, 2, 3, 3, 3]


def test_hints_in_both_directions_exclude_the_dominated_box_only():
    space = Space(Integer("memory", 1, 4, more_is="safer"), Integer("batch", 1, 4, more_is="riskier"), Integer("cores", 1, 2))
    hints = Hints(space)
    hints.failed(space.row({"memory": 2, "batch": 3, "cores": 1}))
    out = {tuple(space.config(r).values()) for r in np.flatnonzero(hints.excluded(np.arange(space.n_rows)))}
    assert out == {(m, b, 1) for m in (1, 2) for b in (3, 4)}
    assert hints.ran(space.row({"memory": 3, "batch": 4, "cores": 1})) == []
    assert sorted(hints.ran(space.row({"memory": 1, "batch": 4, "cores": 1}))) == ["batch", "memory"]
    assert not hints.active
