"""The best rows of a product grid too large to score whole: a sample, and steepest ascent from its best. Approximate, and said so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.packed import Packed, Skip

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SAMPLE = 1 << 16
CLIMBERS = 64
ROUNDS = 200
ALL_LEVELS = 16  # a knob of no more levels is tried at all of them; another at steps of 1, 2, 4, ... levels


def climb(
    shape: IntArray, starts: IntArray, count: int, values_at: Callable[[IntArray], FloatArray], packed: Packed, skip: Skip
) -> tuple[IntArray, FloatArray]:
    """The best rows (count,) and values (count,) found; -1 and -inf where there are fewer. Deterministic.

    Climbs over rows that are out as well (the best neighbourhood is often that of a row already tried), but does not return them.

    Parameters
    ----------
    shape : ndarray of int, (d,)
        Levels of each knob.
    starts : ndarray of int, (d,)
        Of the space's `Geometry`.
    values_at : callable
        ``values_at(codes (m, d)) -> values (m,)``: what is to be climbed.
    """
    sample = np.stack([np.random.default_rng([axis]).integers(0, size, SAMPLE) for axis, size in enumerate(shape)], axis=1)
    tried = [packed.codes[m, :n] for m, n in enumerate(packed.n_obs)]
    codes = np.unique(np.concatenate([sample, *tried]), axis=0)
    values = values_at(codes)
    seen_codes, seen_values = [codes], [values]
    start = np.argsort(-values, kind="stable")[:CLIMBERS]
    at, height = codes[start], values[start]
    steps = moves(shape)
    for _ in range(ROUNDS):
        near = at[:, None, :] + steps[None, :, :]
        inside = ((near >= 0) & (near < shape)).all(axis=2)
        flat, back = np.unique(near[inside], axis=0, return_inverse=True)
        found = values_at(flat)
        seen_codes.append(flat)
        seen_values.append(found)
        reached = np.full(inside.shape, -np.inf)
        reached[inside] = found[back.reshape(-1)]
        best = reached.argmax(axis=1)
        top = reached[np.arange(len(at)), best]
        better = top > height
        if not better.any():
            break
        at = (at + steps[best])[better]
        height = top[better]
        at, kept = np.unique(at, axis=0, return_index=True)
        height = height[kept]
    return ranked(shape, starts, count, np.concatenate(seen_codes), np.concatenate(seen_values), skip)


def moves(shape: IntArray) -> IntArray:
    """Steps to neighbours that differ in one knob, (s, d)."""
    out = []
    for axis, size in enumerate(shape):
        reach = range(1, size) if size <= ALL_LEVELS else [1 << k for k in range(int(size).bit_length())]
        for step in reach:
            for sign in (-1, 1):
                move = np.zeros(shape.size, dtype=np.int64)
                move[axis] = sign * step
                out.append(move)
    return np.array(out)


def ranked(shape: IntArray, starts: IntArray, count: int, codes: IntArray, values: FloatArray, skip: Skip) -> tuple[IntArray, FloatArray]:
    """The best `count` of the given codes that are not out, ties by the lowest row."""
    rows = np.ravel_multi_index(tuple(codes.T), tuple(int(s) for s in shape)).astype(np.int64)
    rows, first = np.unique(rows, return_index=True)
    codes, values = codes[first], values[first]
    free = ~skip.out(rows, codes, starts) & (values > -np.inf)
    rows, values = rows[free], values[free]
    order = np.lexsort((rows, -values))[:count]
    out_rows, out_values = np.full(count, -1, dtype=np.int64), np.full(count, -np.inf)
    out_rows[: order.size], out_values[: order.size] = rows[order], values[order]
    return out_rows, out_values
