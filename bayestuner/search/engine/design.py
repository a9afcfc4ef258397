"""The first few runs, before there is a model: rows that spread over the levels of every knob at once.

On measured tables three first points search better than two, four or five (the model's own choices are worth more than a design's), and
points inside the grid better than its corners, where optima seldom lie (`benchmarks/search_quality`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bayestuner.space import Categorical, Space

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Out = Callable[[IntArray], BoolArray]

MAX_SHARE = 3  # the design never takes more than a third of the budget
N_DESIGN = 3
N_SETS = 300  # drawn at random; the one that is spread best is taken
ATTEMPTS = 8  # to find rows that are not out, before all rows are listed
CHUNK = 1 << 18
SQUARE_WEIGHT = 4.0  # of an ordered knob's squared distance to even levels, against a category used twice
CORRELATION_WEIGHT = 0.3


def design_size(budget: int) -> int:
    """How many first points a budget affords."""
    return max(1, min(N_DESIGN, budget // MAX_SHARE))


def choose_first(space: Space, out: Out, tried: Sequence[int], count: int, seed: int) -> int:
    """The next point of a design of `count` that has the rows `tried` already; deterministic in its arguments.

    `out` tells which of some rows (m,) are not to be run, (m,) bool. Returns -1 where all are out.
    """
    rng = np.random.default_rng([seed, len(tried)])
    missing = max(1, count - len(tried))
    rows = draw_rows(space, out, N_SETS * missing, rng)
    if rows.size == 0:
        return -1
    sets = rows[: rows.size // missing * missing].reshape(-1, missing) if rows.size >= missing else rows.reshape(1, -1)
    return int(sets[np.argmin(unevenness(space, sets, tried)), 0])


def draw_rows(space: Space, out: Out, count: int, rng: np.random.Generator) -> IntArray:
    """At most `count` free rows at random, with replacement, (m,); m = 0 only where none is free."""
    found: list[IntArray] = []
    have = 0
    for _ in range(ATTEMPTS):
        rows = rng.integers(0, space.n_rows, size=count)
        rows = rows[~out(rows)]
        found.append(rows)
        have += rows.size
        if have >= count:
            break
    first = 0
    while have == 0 and first < space.n_rows:  # free rows are too rare to be met by chance
        every = np.arange(first, min(first + CHUNK, space.n_rows))
        free = every[~out(every)]
        found.append(free[rng.integers(0, free.size, size=count)] if free.size else free)
        have += free.size
        first += CHUNK
    return np.concatenate(found)[:count]


def unevenness(space: Space, sets: IntArray, tried: Sequence[int]) -> FloatArray:
    """How far each set (s, m), together with the rows tried, is from levels spread evenly in every knob, (s,); lower is better."""
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
