"""The readings of one metric, merged by row, and what is known of their noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_SCATTER = 1e3  # standard deviations: readings that lie farther apart say as much of them


@dataclass(slots=True)
class Merged:
    """Readings of one metric, merged by row.

    Attributes
    ----------
    rows : ndarray of int, (n,)
        Distinct, in the order of their first readings.
    values : ndarray, (n,)
        Means of the readings.
    reps : ndarray, (n,)
        Numbers of readings.
    sd : ndarray, (n,)
        Standard deviations of the noise of the means, as far as the readings' own are told.
    untold : ndarray, (n,)
        Numbers of readings without a standard deviation.
    scatter : tuple of (float, int)
        How far repeated readings scatter around the means of their rows, in squares of the standard deviations told for them, and the
        degrees of freedom of that: about equal where the deviations are right.
    groups : list of list of Reading
        The readings of each row, where those without a standard deviation have noise that can be estimated from the others; else empty.
    """

    rows: IntArray
    values: FloatArray
    reps: FloatArray
    sd: FloatArray
    untold: FloatArray
    groups: Sequence[Sequence[Reading]] = ()
    scatter: tuple[float, int] = (0.0, 0)

    def known_noise(self, transform: Transform) -> FloatArray:
        """Variances (n,) of the noise of the means, in the units of a transform.

        A reading without a standard deviation gets the mean variance of those with one. Where none has one, it gets the pooled variance
        of repeated readings within their rows; without repeats nothing is known of the noise, and the variances are 0. All of that is
        estimated in the transform's units: under a logarithm the noise of every reading is the same share of its value.
        """
        known = transform.forward_sd(self.values, self.sd) ** 2 if self.sd.any() else self.sd
        if not self.groups:
            return known
        return np.asarray(known + self._variance_of_untold(transform) * self.untold / self.reps**2)

    def _variance_of_untold(self, transform: Transform) -> float:
        told = [r for group in self.groups for r in group if r.sd is not None]
        if told:
            sd = transform.forward_sd(np.array([r.value for r in told]), np.array([r.sd for r in told], dtype=np.float64))
            return float(np.mean(sd**2))
        within, freedom = 0.0, 0
        for group in self.groups:
            y = transform.forward(np.array([r.value for r in group]))
            within += float(((y - y.mean()) ** 2).sum())
            freedom += len(group) - 1
        return within / freedom


def merge(rows: list[int], readings: list[Reading]) -> Merged:
    """Average readings (of rows that may repeat) by row.

    Standard deviations of k readings combine to that of their mean.
    """
    untold = [float(r.sd is None) for r in readings]
    mixed = 0.0 < sum(untold) < len(untold)
    if len(set(rows)) == len(rows):  # as nearly always
        return Merged(
            np.array(rows, dtype=np.int64),
            np.array([r.value for r in readings]),
            np.ones(len(rows)),
            np.array([r.sd or 0.0 for r in readings]),
            np.array(untold),
            [[r] for r in readings] if mixed else (),
        )
    by_row: dict[int, list[Reading]] = {}
    for row, reading in zip(rows, readings, strict=True):
        by_row.setdefault(row, []).append(reading)
    groups = list(by_row.values())
    return Merged(
        np.array(list(by_row), dtype=np.int64),
        np.array([_mean(group) for group in groups]),
        np.array([float(len(group)) for group in groups]),
        np.array([math.hypot(*(r.sd or 0.0 for r in group)) / len(group) for group in groups]),
        np.array([float(sum(r.sd is None for r in group)) for group in groups]),
        groups if any(untold) else (),
        _scatter(groups),
    )


def _scatter(groups: Sequence[Sequence[Reading]]) -> tuple[float, int]:
    total, freedom = 0.0, 0
    for group in groups:
        told = [(r.value, r.sd) for r in group if r.sd]
        if len(told) > 1:
            mean = sum(value for value, _ in told) / len(told)
            total += sum(min(abs(value - mean) / sd, MAX_SCATTER) ** 2 for value, sd in told)
            freedom += len(told) - 1
    return total, freedom


def _mean(group: list[Reading]) -> float:
    """The mean of a row's readings; of equal ones their very value, without a rounding error that might miss a bound."""
    first = group[0].value
    if all(r.value == first for r in group):
        return first
    return sum(r.value for r in group) / len(group)
