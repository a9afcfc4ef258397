"""Metrics that are numeric knobs, such as ``minimize="cores"`` or ``batch_size <= 8``: their value is known at every row without a run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.packed import KnobValues
from bayestuner.space import Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def is_knob(space: Space, metric: str) -> bool:
    """Whether a metric is a numeric knob of the space."""
    return metric in space.numeric_names


def knob_values(space: Space, name: str, rows: IntArray) -> FloatArray:
    """Values (m,) of a numeric knob at rows (m,)."""
    d = space.names.index(name)
    return np.asarray(np.asarray(space.knobs[d].values, dtype=np.float64)[space.codes(rows)[:, d]])


def knob_objective(space: Space, goal: Goal) -> KnobValues | None:
    """The goal's objective, to be minimised, at each level of its knob; None where the objective is not a knob."""
    if not is_knob(space, goal.objective):
        return None
    d = space.names.index(goal.objective)
    return KnobValues(d, goal.sign * np.asarray(space.knobs[d].values, dtype=np.float64))


def infeasible_levels(space: Space, goal: Goal) -> BoolArray:
    """Which levels violate a bound on their own knob, (sum of L,), one knob after the other; empty where no bound is on a knob."""
    if not any(is_knob(space, bound.metric) for bound in goal.bounds):
        return np.empty(0, dtype=np.bool_)
    infeasible = [np.zeros(len(knob), dtype=np.bool_) for knob in space.knobs]
    for bound in goal.bounds:
        if is_knob(space, bound.metric):
            d = space.names.index(bound.metric)
            values = np.asarray(space.knobs[d].values, dtype=np.float64)
            infeasible[d] |= (values < bound.limit) if bound.sense == ">=" else (values > bound.limit)
    return np.concatenate(infeasible)
