"""The first few runs, before there is a model: the centre, the corner of highest values, then the farthest from all tried.

On measured tables two or three first points search better than five (the model's own choices are worth more than a design's);
`Tuner` stops the design early when the caller's own configurations have been measured instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.space import Categorical, Space

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_SHARE = 3  # the design never takes more than a third of the budget
N_DESIGN = 3
MAX_CANDIDATES = 20_000


def design_size(budget: int) -> int:
    """How many first points a budget affords."""
    return max(1, min(N_DESIGN, budget // MAX_SHARE))


def candidates(space: Space, rng: np.random.Generator) -> IntArray:
    """Allowed rows to choose design points from: all of them, or a sample of a large grid."""
    if space.n_rows <= MAX_CANDIDATES:
        return np.arange(space.n_rows) if space.allowed is None else np.flatnonzero(space.allowed)
    rows = np.unique(rng.integers(0, space.n_rows, size=MAX_CANDIDATES))
    if space.table is None:  # a sample misses the corner and the centre of a product grid; add them
        shape = np.array(space.shape)
        special = [np.ravel_multi_index(tuple(c), space.shape) for c in (shape - 1, (shape - 1) // 2)]
        rows = np.unique(np.concatenate([rows, special]))
    if space.allowed is not None:
        rows = rows[space.allowed[rows]]
        if rows.size == 0:
            rows = np.flatnonzero(space.allowed)[:MAX_CANDIDATES]
    return rows


def embed(space: Space, rows: IntArray) -> FloatArray:
    """Coordinates in which distance is meant, (m, e): rank-scaled for ordered knobs, one column per category else."""
    codes = space.codes(rows)
    columns: list[FloatArray] = []
    for d, knob in enumerate(space.knobs):
        if isinstance(knob, Categorical):
            columns.append((codes[:, d : d + 1] == np.arange(len(knob))) / np.sqrt(2.0))
        else:
            columns.append(codes[:, d : d + 1] / max(len(knob) - 1, 1))
    return np.hstack(columns)


def choose_first(space: Space, taken: npt.NDArray[np.bool_], tried: list[int], seed: int) -> int:
    """The next design point: a free row, given the rows tried so far (none: the centre; one: the high corner; then the farthest).

    Deterministic in (space, tried, seed).
    """
    rng = np.random.default_rng([seed, len(tried)])
    rows = candidates(space, np.random.default_rng([seed, 0]))
    rows = rows[~taken[rows]]
    if rows.size == 0:
        return int(rng.choice(np.flatnonzero(~taken)))
    x = embed(space, rows)
    breaker = 1e-3 * rng.random(rows.size)  # which of several equals is a matter of the seed
    if not tried:
        return int(rows[np.argmin(((x - x.mean(axis=0)) ** 2).sum(axis=1) + breaker)])
    ordered = [d for d, knob in enumerate(space.knobs) if not isinstance(knob, Categorical)]
    if len(tried) == 1 and ordered:
        codes = space.codes(rows)[:, ordered] / np.maximum(np.array(space.shape)[ordered] - 1, 1)
        return int(rows[np.argmax(codes.sum(axis=1) + breaker)])
    seen = embed(space, np.array(tried, dtype=np.int64))
    distance = ((x[:, None, :] - seen[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    return int(rows[np.argmax(distance * (1.0 + 0.1 * rng.random(rows.size)))])
