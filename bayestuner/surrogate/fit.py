"""Priors of the hyperparameters, and their maximum-a-posteriori fit.

The priors are normal in the coordinates of theta (see `_core.likelihood`), for standardised outputs and knobs scaled to [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import CATEGORICAL, WARPED, Geometry

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_ITER = 30
TOLERANCE = 1e-3  # of the log posterior, in nats: so little changes no decision


@dataclass(frozen=True, slots=True)
class Priors:
    """Means and standard deviations of log lengthscale, log standard deviations (signal, noise, trend) and warp."""

    lengthscale: tuple[float, float] = (float(np.log(0.8)), 0.8)
    signal_std: tuple[float, float] = (0.0, 0.6)
    noise_std: tuple[float, float] = (-2.3, 1.2)
    trend_std: tuple[float, float] = (float(np.log(0.7)), 0.7)
    warp: tuple[float, float] = (0.5, 0.4)

    def pack(self, geometry: Geometry) -> tuple[FloatArray, FloatArray]:
        """Prior mean and standard deviation of theta, each (2 d + 3,)."""
        d = geometry.d
        # theta holds log variances, twice the log standard deviations these priors speak of
        pairs = [self.lengthscale] * d + [(2 * m, 2 * s) for m, s in (self.signal_std, self.noise_std, self.trend_std)]
        pairs += [self.warp if kind == WARPED else (1.0, 0.0) for kind in geometry.kinds]
        mean, sd = (np.array(column) for column in zip(*pairs, strict=True))
        if (geometry.kinds == CATEGORICAL).all():  # no coordinate for a trend to run along
            sd[d + 2] = 0.0
        return mean, sd


def fit(
    geometry: Geometry,
    codes: IntArray,
    y: FloatArray,
    reps: FloatArray,
    known_noise: FloatArray,
    *,
    starts: FloatArray,
    prior_mean: FloatArray,
    prior_sd: FloatArray,
    max_iter: int = MAX_ITER,
    tolerance: float = TOLERANCE,
) -> tuple[FloatArray, float]:
    """Fit theta by maximum a posteriori.

    Parameters
    ----------
    codes : ndarray of int, (n, d)
    y, reps, known_noise : ndarray, (n,)
        Standardised outputs, number of readings that each is the mean of, and variance of their noise as far as it is known.
    starts : ndarray, (s, 2 d + 3)
        Points from which BFGS starts.
    prior_mean, prior_sd : ndarray, (2 d + 3,)

    Returns
    -------
    theta : ndarray, (2 d + 3,)
    value : float
        The negative log posterior there; inf where no start had a positive definite covariance.
    """
    from bayestuner._core.bfgs import maximise_posterior

    theta, value, _ = maximise_posterior(
        starts, codes, y, reps, known_noise, geometry.levels, geometry.level_starts, geometry.kinds,
        prior_mean, prior_sd, geometry.form, geometry.family,
        max_iter, tolerance,
    )  # fmt: skip
    return theta, float(value)
