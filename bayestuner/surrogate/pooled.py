"""A metric's process over the readings of several studies: the new one's and those of earlier ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.joint import JointGrid
from bayestuner.surrogate.readings import Merged
from bayestuner.surrogate.transform import Transform

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SIMILARITY = (1.2, 1.0)  # prior of the study's log lengthscale: two studies are correlated by exp(-1 / l), 0.74 at the mean
TOLERANCE = 1e-2  # of the fit, in nats: more than of the new study's own, because there are more readings and little rides on each
MIN_SCALE = 1e-3  # of pooled logarithms
OFFSET_VARIANCE = 0.5  # prior variance of a study's offset from where its mean or limit puts it, in the pooled unit
START_AT_PRIOR = frozenset({3, 8, 15})  # numbers of the new study's configurations at which the fit starts at the prior mean too


@dataclass(frozen=True, slots=True)
class PooledReadings:
    """An earlier study's readings of one positive metric: joint codes (m, D), the merged readings, and the study's own limit, if any."""

    codes: IntArray
    data: Merged
    limit: float | None


class PooledMetric:
    """Gaussian process over the logarithm of a positive metric in several studies, of which the first knob of the grid is one.

    All studies share one scale, and each has an offset of its own: studies differ in the level of a metric more than in how it changes with
    the knobs. An offset is expected near the study's mean, or, where all have a limit of the metric, near that limit. It is estimated
    with the covariance of the last fit (generalised least squares), because a search's mean depends on which rows it looked at.

    Parameters
    ----------
    grid : JointGrid
    earlier : list of PooledReadings
        At least one.
    priors : Priors

    Attributes
    ----------
    gp : GaussianProcess
    transform : Transform
        Of the new study's values.
    y : ndarray, (n,)
        The new study's values, transformed.
    """

    def __init__(self, grid: JointGrid, earlier: list[PooledReadings], priors: Priors) -> None:
        self._grid = grid
        self._earlier = earlier
        self._logs = [np.log(study.data.values) for study in earlier]
        self.gp = GaussianProcess(grid.geometry, priors=priors)
        self.gp.prior_mean[0], self.gp.prior_sd[0] = SIMILARITY
        self.gp.theta = self.gp.prior_mean.copy()
        self.transform = Transform(0.0, 0.0, 1.0)
        self.y: FloatArray = np.empty(0)

    def fit(self, codes: IntArray, data: Merged, limit: float | None) -> None:
        """Fit to the earlier studies' readings and the new one's: codes (n, d) of its own grid; n may be 0."""
        readings = [*(study.data for study in self._earlier), data]
        codes = np.concatenate([*(study.codes for study in self._earlier), self._grid.codes(codes)])
        reps = np.concatenate([merged.reps for merged in readings])
        transforms = self._transforms(np.log(data.values), limit)
        y, known_noise = _transformed(transforms, readings)
        self.gp.fit(codes, np.concatenate(y), reps, known_noise, refit=False)
        transforms = [replace(t, shift=t.shift + t.scale * offset) for t, offset in zip(transforms, self._offsets(y), strict=True)]
        y, known_noise = _transformed(transforms, readings)
        start_at_prior = data.values.size in START_AT_PRIOR
        self.gp.fit(codes, np.concatenate(y), reps, known_noise, start_at_prior=start_at_prior, tolerance=TOLERANCE)
        self.transform, self.y = transforms[-1], y[-1]

    def _offsets(self, y: list[FloatArray]) -> list[float]:
        """Each study's offset beyond its first guess, given the process conditioned on the values y of all studies."""
        study = np.repeat(np.arange(len(y)), [v.size for v in y])
        whitened = self.gp.W @ (study[:, None] == np.arange(len(y))).astype(np.float64)
        precision = whitened.T @ whitened + np.eye(len(y)) / OFFSET_VARIANCE
        return [float(offset) for offset in np.linalg.solve(precision, whitened.T @ self.gp.beta)]

    def _transforms(self, own: FloatArray, limit: float | None) -> list[Transform]:
        """Of each study, the new one last, with the offsets expected before the readings are looked at together."""
        logs = [*self._logs, own] if own.size else self._logs
        scale = max(math.sqrt(sum(float(((v - v.mean()) ** 2).sum()) for v in logs) / sum(v.size for v in logs)), MIN_SCALE)
        limits = [*(study.limit for study in self._earlier), limit]
        positive = [math.log(bound) for bound in limits if bound is not None and bound > 0.0]
        if len(positive) < len(limits):
            shifts = [float(v.mean()) for v in logs]
            return [Transform(0.0, shift, scale) for shift in (shifts if own.size else [*shifts, float(np.mean(shifts))])]
        level = float(np.mean([v.mean() - bound for v, bound in zip(self._logs, positive, strict=False)]))
        return [Transform(0.0, level + bound, scale) for bound in positive]

    def log_densities(self) -> FloatArray:
        """Log density (n,) of each of the new study's log values, by the process without that value (leave-one-out)."""
        return leave_one_out(self.gp, self.y.size) - math.log(self.transform.scale)


def _transformed(transforms: list[Transform], readings: list[Merged]) -> tuple[list[FloatArray], FloatArray]:
    """Values of each study, and the known noise of all, in the pooled unit."""
    pairs = list(zip(transforms, readings, strict=True))
    return [t.forward(merged.values) for t, merged in pairs], np.concatenate([merged.known_noise(t) for t, merged in pairs])


def leave_one_out(gp: GaussianProcess, count: int) -> FloatArray:
    """Log density (count,) of each of the last observations of a process, in its units, given all others (Rasmussen and Williams 5.12)."""
    precision = np.einsum("ji,ji->i", gp.W[:, -count:], gp.W[:, -count:])
    residual = (gp.W[:, -count:].T @ gp.beta) / precision
    return np.asarray(0.5 * (np.log(precision / (2.0 * math.pi)) - precision * residual**2))
