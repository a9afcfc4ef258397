"""Metrics that are numeric knobs, such as ``minimize="cores"`` or ``batch_size <= 8``: their value is known at every row without a run."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.packed import KnobValues
from bayestuner.space import Space
from bayestuner.trial import Measured, Reading, Trial

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


def margin_of(probability: float) -> float:
    """Standard deviations by which a normal variable's mean is above a limit that it meets with this probability; 0 for less than 1/2."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if 0.5 * math.erfc(-middle / math.sqrt(2.0)) < probability else (low, middle)
    return low


def best_known_objective(space: Space, goal: Goal, trials: Iterable[Trial], margin_sd: float) -> float | None:
    """The lowest objective, to be minimised, of rows that surely meet the goal, where the objective is a knob; None where there is none.

    A row surely meets a bound that the mean of its readings meets by `margin_sd` standard deviations; those without one are exact.
    """
    if not is_knob(space, goal.objective):
        return None
    readings: dict[int, list[Trial]] = {}
    for trial in trials:
        if isinstance(trial.outcome, Measured):
            readings.setdefault(trial.row, []).append(trial)
    values = [
        goal.sign * float(same[0].config[goal.objective]) for same in readings.values() if _surely_meets(space, goal, same, margin_sd)
    ]
    return min(values, default=None)


def _surely_meets(space: Space, goal: Goal, same_row: list[Trial], margin_sd: float) -> bool:
    for bound in goal.bounds:
        readings = [_reading(space, trial, bound.metric) for trial in same_row]
        told = [r for r in readings if r is not None]
        if not told:
            return False
        mean = told[0].value if len(told) == 1 else math.fsum(r.value for r in told) / len(told)
        sd = math.hypot(*(r.sd or 0.0 for r in told)) / len(told)
        if -bound.violation(mean) < margin_sd * sd:
            return False
    return True


def _reading(space: Space, trial: Trial, metric: str) -> Reading | None:
    if is_knob(space, metric):
        return Reading(float(trial.config[metric]))
    return trial.outcome.metrics.get(metric) if isinstance(trial.outcome, Measured) else None


def frugality(space: Space, rows: IntArray) -> list[tuple[int, ...]]:
    """Sort keys of rows (m,) that are equally good: less of what the knobs with a hint (memory, what eats it) grant or take comes first."""
    hinted = [d for d, knob in enumerate(space.knobs) if knob.more_is is not None or knob.hungry_for is not None]
    return [tuple(int(code) for code in codes[hinted]) for codes in space.codes(rows)]
