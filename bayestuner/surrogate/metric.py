"""The model of one metric: its transform and its Gaussian process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_REFIT = 60  # up to here every tell fits anew; beyond, a fit costs more than a test run learns from it
REFIT_EVERY = 5
N_RANDOM_START = 10  # with fewer observations the posterior of theta may have several tops: one more start


@dataclass(slots=True)
class Merged:
    """Readings of one metric, one entry per distinct row: value (n,), reps (n,), sd (n,) of the mean (0 where unknown)."""

    rows: IntArray
    values: FloatArray
    reps: FloatArray
    sd: FloatArray


def merge(rows: list[int], readings: list[Reading]) -> Merged:
    """Average readings of the same row; known standard deviations of k readings combine to that of their mean."""
    order: dict[int, list[Reading]] = {}
    for row, reading in zip(rows, readings, strict=True):
        order.setdefault(row, []).append(reading)
    values, reps, sds = [], [], []
    for group in order.values():
        k = len(group)
        values.append(sum(r.value for r in group) / k)
        sds.append(float(np.sqrt(sum((r.sd or 0.0) ** 2 for r in group))) / k)
        reps.append(float(k))
    return Merged(np.array(list(order), dtype=np.int64), np.array(values), np.array(reps), np.array(sds))


class MetricModel:
    """Gaussian process over a metric's transformed, standardised readings."""

    def __init__(self, geometry: Geometry) -> None:
        self.gp = GaussianProcess(geometry)
        self.transform = Transform(False, 0.0, 1.0)

    def fit(self, codes: IntArray, data: Merged, rng: np.random.Generator) -> None:
        """Fit to merged readings at codes (n, d)."""
        self.transform = Transform.of(data.values)
        y = self.transform.forward(data.values)
        known = self.transform.forward_sd(data.values, data.sd) ** 2
        n = codes.shape[0]
        extra = None
        if n < N_RANDOM_START:
            gp = self.gp
            extra = (gp.prior_mean + gp.prior_sd * rng.standard_normal(gp.prior_mean.size))[None, :]
        self.gp.fit(codes, y, data.reps, known, refit=n <= MAX_REFIT or n % REFIT_EVERY == 0, extra_starts=extra)

    def predict(self, codes: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (m,), (m,) in transformed units."""
        mean, variance = self.gp.predict(codes)
        return mean, np.sqrt(variance)
