"""The best rows of a product grid that is too large to score whole: a random sample, and steepest ascent from its best rows.

The result is approximate; `Explanation.approximate` tells the user so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.packed import Exclusions, Packed

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SAMPLE = 1 << 16  # rows drawn at random
CLIMBERS = 64  # ascents, from the best of them
ROUNDS = 200  # steps of an ascent, at most
ALL_LEVELS = 16  # a knob with at most so many levels is tried at all of them; another at steps of 1, 2, 4, ... levels


def sample(shape: IntArray) -> IntArray:
    """Codes (m, d) of the rows drawn at random that every climb begins with: always the same for a shape (d,), and distinct."""
    drawn = np.stack([np.random.default_rng([axis]).integers(0, size, SAMPLE) for axis, size in enumerate(shape)], axis=1)
    return drawn[_distinct(drawn, shape)[0]]


def _distinct(codes: IntArray, shape: IntArray) -> tuple[IntArray, IntArray]:
    """Where each distinct one of some codes (m, d) stands first, (u,), in the rows' order; and which of those each one equals, (m,)."""
    _, first, position = np.unique(_rows(codes, shape), return_index=True, return_inverse=True)
    return first, position.reshape(-1)


def _rows(codes: IntArray, shape: IntArray) -> IntArray:
    return np.asarray(np.ravel_multi_index(tuple(codes.T), tuple(int(s) for s in shape)), dtype=np.int64)


def climb(
    shape: IntArray,
    level_starts: IntArray,
    count: int,
    values_at: Callable[[IntArray], FloatArray],
    packed: Packed,
    exclusions: Exclusions,
    drawn: IntArray,
) -> tuple[IntArray, FloatArray]:
    """The best rows (count,) and values (count,) found; -1 and -inf where there are fewer. Deterministic.

    The ascent also passes over excluded rows, because the best neighbourhood is often that of a row already tried; they are not returned.

    Parameters
    ----------
    shape : ndarray of int, (d,)
        Number of levels of each knob.
    level_starts : ndarray of int, (d + 1,)
        Of the space's `Geometry`.
    count : int
    values_at : callable
        ``values_at(codes (m, d)) -> values (m,)``: what is to be maximised.
    packed : Packed
        Its observations are added to the sample.
    exclusions : Exclusions
    drawn : ndarray of int, (m, d)
        What `sample` gave for this shape.
    """
    tried = np.concatenate([drawn[:0], *(packed.codes[m, :n] for m, n in enumerate(packed.n_obs))])
    tried = tried[(tried < shape).all(axis=1)]  # earlier studies' may lie outside of the grid
    codes = np.concatenate([drawn, tried[_distinct(tried, shape)[0]]])
    values = values_at(codes)
    seen_codes, seen_values = [codes], [values]
    best_of_sample = np.argsort(-values, kind="stable")[:CLIMBERS]
    current, current_values = codes[best_of_sample], values[best_of_sample]
    steps = moves(shape)
    for _ in range(ROUNDS):
        neighbours = current[:, None, :] + steps[None, :, :]
        inside = ((neighbours >= 0) & (neighbours < shape)).all(axis=2)
        reached = neighbours[inside]
        first, position = _distinct(reached, shape)
        distinct = reached[first]
        found = values_at(distinct)
        seen_codes.append(distinct)
        seen_values.append(found)
        neighbour_values = np.full(inside.shape, -np.inf)
        neighbour_values[inside] = found[position]
        best_step = neighbour_values.argmax(axis=1)
        best_values = neighbour_values[np.arange(len(current)), best_step]
        better = best_values > current_values
        if not better.any():
            break
        current = (current + steps[best_step])[better]
        current_values = best_values[better]
        kept = _distinct(current, shape)[0]  # ascents that have met go on as one
        current, current_values = current[kept], current_values[kept]
    return ranked(shape, level_starts, count, np.concatenate(seen_codes), np.concatenate(seen_values), exclusions)


def moves(shape: IntArray) -> IntArray:
    """Steps to the neighbours of a row, which differ from it in one knob, (s, d)."""
    out = []
    for axis, size in enumerate(shape):
        lengths = range(1, size) if size <= ALL_LEVELS else [1 << k for k in range(int(size).bit_length())]
        for length in lengths:
            for sign in (-1, 1):
                move = np.zeros(shape.size, dtype=np.int64)
                move[axis] = sign * length
                out.append(move)
    return np.array(out)


def ranked(
    shape: IntArray, level_starts: IntArray, count: int, codes: IntArray, values: FloatArray, exclusions: Exclusions
) -> tuple[IntArray, FloatArray]:
    """The best `count` of the given codes (m, d) that are not excluded, ties by the lowest row."""
    rows = _rows(codes, shape)
    rows, first = np.unique(rows, return_index=True)
    codes, values = codes[first], values[first]
    candidates = ~exclusions.excludes(rows, codes, level_starts) & (values > -np.inf)
    rows, values = rows[candidates], values[candidates]
    order = np.lexsort((rows, -values))[:count]
    out_rows, out_values = np.full(count, -1, dtype=np.int64), np.full(count, -np.inf)
    out_rows[: order.size], out_values[: order.size] = rows[order], values[order]
    return out_rows, out_values
