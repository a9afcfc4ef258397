"""Metrics that are numeric knobs: known everywhere without a run or a model (`minimize="cores"`, `batch_size <= 8`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.packed import KnobValues
from bayestuner.space import Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def is_known(space: Space, metric: str) -> bool:
    """True for a metric that is a numeric knob of the space."""
    return metric in space.numeric_names


def knob_values(space: Space, name: str, rows: IntArray) -> FloatArray:
    """Values of a numeric knob at rows (m,), (m,)."""
    d = space.names.index(name)
    return np.asarray(np.asarray(space.knobs[d].values, dtype=np.float64)[space.codes(rows)[:, d]])


def known_objective(space: Space, goal: Goal) -> KnobValues | None:
    """The goal's objective, to be minimised, by level of its knob; None where it is not a knob."""
    if not is_known(space, goal.objective):
        return None
    d = space.names.index(goal.objective)
    return KnobValues(d, goal.sign * np.asarray(space.knobs[d].values, dtype=np.float64))


def closed_levels(space: Space, goal: Goal) -> BoolArray:
    """Levels of all knobs, one knob after the other, that break a bound on their knob, (sum of L,); empty where no bound is on a knob."""
    if not any(is_known(space, bound.metric) for bound in goal.bounds):
        return np.empty(0, dtype=np.bool_)
    closed = [np.zeros(len(knob), dtype=np.bool_) for knob in space.knobs]
    for bound in goal.bounds:
        if is_known(space, bound.metric):
            d = space.names.index(bound.metric)
            values = np.asarray(space.knobs[d].values, dtype=np.float64)
            closed[d] |= (values < bound.limit) if bound.sense == ">=" else (values > bound.limit)
    return np.concatenate(closed)
