"""Metrics that are numeric knobs: known everywhere without a run or a model (`minimize="cores"`, `batch_size <= 8`)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.space import Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def is_known(space: Space, metric: str) -> bool:
    """True for a metric that is a numeric knob of the space."""
    return any(k.numeric and k.name == metric for k in space.knobs)


def knob_values(space: Space, name: str, rows: IntArray | None = None) -> FloatArray:
    """Values of a numeric knob at the given rows, or over the whole grid, (m,)."""
    d = space.names.index(name)
    values = np.asarray(space.knobs[d].values, dtype=np.float64)
    if rows is not None:
        return np.asarray(values[space.codes(rows)[:, d]])
    if space.table is not None:
        return np.asarray(values[space.table[:, d]])
    before, after = math.prod(space.shape[:d]), math.prod(space.shape[d + 1 :])
    return np.tile(np.repeat(values, after), before)


def rows_outside(space: Space, goal: Goal) -> BoolArray:
    """Which rows break a bound on a knob, (n_rows,)."""
    outside = np.zeros(space.n_rows, dtype=np.bool_)
    for bound in goal.bounds:
        if is_known(space, bound.metric):
            values = knob_values(space, bound.metric)
            outside |= (values < bound.limit) if bound.sense == ">=" else (values > bound.limit)
    return outside
