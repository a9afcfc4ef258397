"""A metric's process over the readings of several studies: the new one's and those of earlier ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
MIN_SCALE = 1e-3  # of pooled logarithms
START_AT_PRIOR = frozenset({3, 8, 15})  # numbers of the new study's configurations at which the fit starts at the prior mean too


@dataclass(frozen=True, slots=True)
class PooledReadings:
    """An earlier study's readings of one positive metric: joint codes (m, D), the merged readings, and the study's own limit, if any."""

    codes: IntArray
    data: Merged
    limit: float | None


class PooledMetric:
    """Gaussian process over the logarithm of a positive metric in several studies, of which the first knob of the grid is one.

    All studies share one scale. The metric is taken relative to each study's own mean, or, where every study has a limit of it, relative to
    that limit: studies differ in the level of a metric more than in how it changes with the knobs.

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
        """Fit to the earlier studies' readings and the new one's: codes (n, d) of its own grid, n >= 1."""
        own = np.log(data.values)
        transforms = self._transforms(own, limit)
        self.transform = transforms[-1]
        all_data = [*(study.data for study in self._earlier), data]
        y = [transform.forward(d.values) for transform, d in zip(transforms, all_data, strict=True)]
        self.y = y[-1]
        self.gp.fit(
            np.concatenate([*(study.codes for study in self._earlier), self._grid.codes(codes)]),
            np.concatenate(y),
            np.concatenate([d.reps for d in all_data]),
            np.concatenate([d.known_noise(t) for t, d in zip(transforms, all_data, strict=True)]),
            start_at_prior=own.size in START_AT_PRIOR,
        )

    def _transforms(self, own: FloatArray, limit: float | None) -> list[Transform]:
        """Of each study, the new one last."""
        logs = [*self._logs, own]
        scale = max(math.sqrt(sum(float(((v - v.mean()) ** 2).sum()) for v in logs) / sum(v.size for v in logs)), MIN_SCALE)
        limits = [*(study.limit for study in self._earlier), limit]
        positive = [math.log(bound) for bound in limits if bound is not None and bound > 0.0]
        if len(positive) < len(limits):
            return [Transform(0.0, float(v.mean()), scale) for v in logs]
        level = float(np.mean([v.mean() - bound for v, bound in zip(self._logs, positive, strict=False)]))
        return [Transform(0.0, level + bound, scale) for bound in positive]

    def log_densities(self) -> FloatArray:
        """Log density (n,) of each of the new study's log values, by the process without that value (leave-one-out)."""
        return leave_one_out(self.gp, self.y.size) - math.log(self.transform.scale)


def leave_one_out(gp: GaussianProcess, count: int) -> FloatArray:
    """Log density (count,) of each of the last observations of a process, in its units, given all others (Rasmussen and Williams 5.12)."""
    precision = np.einsum("ji,ji->i", gp.W[:, -count:], gp.W[:, -count:])
    residual = (gp.W[:, -count:].T @ gp.beta) / precision
    return np.asarray(0.5 * (np.log(precision / (2.0 * math.pi)) - precision * residual**2))
