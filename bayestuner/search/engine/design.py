"""The initial design: the first few rows, before there is a model, spread over the levels of every knob at once.

On measured tables a search with three first rows ends better than one with two, four or five (the model's choices are worth more than a
design's), and rows inside the grid are better than its corners, where optima seldom lie (`benchmarks/search_quality`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bayestuner.space import Categorical, Space

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Excluded = Callable[[IntArray], BoolArray]
"""Tells which of some rows (m,) must not be run, (m,)."""
Promise = Callable[[IntArray], FloatArray]
"""Tells how promising some rows (m,) are by earlier studies, (m,)."""

N_DESIGN = 3  # rows of the design, where the budget allows
RUNS_PER_FIRST_POINT = 3  # the design never takes more than a third of the budget
N_SETS = 300  # sets of rows drawn at random, of which the most evenly spread is taken
N_PROMISING_SETS = 1000  # the same where earlier studies say which rows are promising
EVEN_SHARE = 0.2  # of those sets, the most even ones, among which the most promising row is looked for
ATTEMPTS = 8  # draws in search of rows that are not excluded, before all rows are gone through
CHUNK = 1 << 18  # rows gone through at a time
# weights of the parts of `unevenness`, against a category that is used twice
SQUARE_WEIGHT = 4.0  # squared distance of an ordered knob's levels from evenly spread ones
CORRELATION_WEIGHT = 0.3  # mean absolute correlation of two knobs' levels


def design_size(budget: int) -> int:
    """How many first rows a budget affords."""
    return max(1, min(N_DESIGN, budget // RUNS_PER_FIRST_POINT))


def choose_first(space: Space, excluded: Excluded, tried: Sequence[int], count: int, seed: int, promise: Promise | None = None) -> int:
    """The next row of a design of `count` rows that holds the rows `tried` already; -1 where all rows are excluded.

    With `promise` it is the most promising row of an evenly spread set: the design stays one that a search can begin with, should earlier
    studies mislead, and tests what they say. Deterministic in its arguments.
    """
    rng = np.random.default_rng([seed, len(tried)])
    missing = max(1, count - len(tried))
    rows = draw_rows(space, excluded, (N_SETS if promise is None else N_PROMISING_SETS) * missing, rng)
    if rows.size == 0:
        return -1
    sets = rows[: rows.size // missing * missing].reshape(-1, missing) if rows.size >= missing else rows.reshape(1, -1)
    uneven = unevenness(space, sets, tried)
    if promise is None:
        return int(sets[np.argmin(uneven), 0])
    even = sets[np.argsort(uneven, kind="stable")[: max(1, int(EVEN_SHARE * len(sets)))]].ravel()
    return int(even[np.argmax(promise(even))])


def draw_rows(space: Space, excluded: Excluded, count: int, rng: np.random.Generator) -> IntArray:
    """At most `count` rows that are not excluded, at random with replacement, (m,); m = 0 only where all are excluded."""
    found: list[IntArray] = []
    have = 0
    for _ in range(ATTEMPTS):
        rows = rng.integers(0, space.n_rows, size=count)
        rows = rows[~excluded(rows)]
        found.append(rows)
        have += rows.size
        if have >= count:
            break
    first = 0
    while have == 0 and first < space.n_rows:  # rows that are not excluded are too rare to be met by chance
        every = np.arange(first, min(first + CHUNK, space.n_rows))
        free = every[~excluded(every)]
        found.append(free[rng.integers(0, free.size, size=count)] if free.size else free)
        have += free.size
        first += CHUNK
    return np.concatenate(found)[:count]


def unevenness(space: Space, sets: IntArray, tried: Sequence[int]) -> FloatArray:
    """How far the levels of each set of rows (s, m), with the rows tried, are from evenly spread in every knob, (s,); lower is better."""
    n_sets = sets.shape[0]
    codes = space.codes(sets.ravel()).reshape(*sets.shape, -1)
    if tried:
        before = np.broadcast_to(space.codes(np.asarray(tried, dtype=np.int64)), (n_sets, len(tried), codes.shape[2]))
        codes = np.concatenate([before, codes], axis=1)
    n = codes.shape[1]
    even = (np.arange(n) + 0.5) / n
    total: FloatArray = np.zeros(n_sets)
    ordered = []
    for d, knob in enumerate(space.knobs):
        level = np.sort(codes[:, :, d], axis=1)
        if isinstance(knob, Categorical):
            total += (level[:, 1:] == level[:, :-1]).sum(axis=1) / n
            continue
        scale = max(len(knob) - 1, 1)
        total += SQUARE_WEIGHT * ((level / scale - even) ** 2).mean(axis=1)
        ordered.append(codes[:, :, d] / scale)
    if len(ordered) > 1 and n > 1:
        total += CORRELATION_WEIGHT * _mean_correlation(np.stack(ordered, axis=2))
    same = np.sort(sets, axis=1)
    return np.asarray(total + n * (same[:, 1:] == same[:, :-1]).any(axis=1))


def _mean_correlation(u: FloatArray) -> FloatArray:
    """Mean absolute correlation of pairs of columns of u (s, n, k), (s,)."""
    centred = u - u.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1))
    products = np.abs(np.einsum("snj,snk->sjk", centred, centred)) / np.maximum(scale[:, :, None] * scale[:, None, :], 1e-12)
    upper = np.triu_indices(u.shape[2], 1)
    return np.asarray(products[:, upper[0], upper[1]].mean(axis=1))
