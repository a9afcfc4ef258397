"""The Gaussian process over a finite grid.

==============  ==========================  ==============================================================
name            shape                       meaning
==============  ==========================  ==============================================================
n, d, m, p                                  observations, knobs, grid rows, hyperparameters
codes           (n, d) int                  level of each knob at each observation
y               (n,)                        standardised outputs
K, L            (n, n)                      covariance with noise, its lower Cholesky factor
W               (n, n)                      L^-1, so that L^-1 k is the product W k
beta            (n,)                        W y, so that alpha = K^-1 y = W^T beta
theta           (p,), p = 2 d + 3           packed log hyperparameters, then warps (`_core.likelihood`)
z_levels        (sum of L,)                 warped coordinate of every level of every knob
mean, variance  (m,)                        posterior of the smooth (latent) function, without noise
reps            (n,)                        number of readings that an observation is the mean of
known_noise     (n,)                        variance of an observation's noise as far as it is known
noise           (n,)                        what K's diagonal holds beyond the prior: noise_variance / reps + known_noise + jitter
jitter                                      keeps K positive definite in floating point; no physical noise, and apart from noise_variance
==============  ==========================  ==============================================================
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.errors import BayesTunerError
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import TOLERANCE, Priors, fit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class GaussianProcess:
    """A Gaussian process with constant mean, linear trend and Matern covariance.

    Parameters
    ----------
    geometry : Geometry
    priors : Priors
    theta : ndarray, (2 d + 3,), optional
        Fixed hyperparameters; None fits them.
    """

    def __init__(self, geometry: Geometry, *, priors: Priors | None = None, theta: FloatArray | None = None) -> None:
        self.geometry = geometry
        self.prior_mean, self.prior_sd = (priors or Priors()).pack(geometry)
        self._fixed = theta is not None
        self.theta: FloatArray = self.prior_mean.copy() if theta is None else np.array(theta, dtype=np.float64)
        self.codes: IntArray = np.empty((0, geometry.d), dtype=np.int64)
        self.W: FloatArray = np.empty((0, 0))
        self.beta: FloatArray = np.empty(0)
        self.y: FloatArray = np.empty(0)
        self.noise: FloatArray = np.empty(0)
        self.z_levels: FloatArray = np.empty(geometry.levels.size)
        self.jitter = 0.0

    @property
    def n(self) -> int:
        """Number of observations."""
        return int(self.codes.shape[0])

    def fit(
        self,
        codes: IntArray,
        y: FloatArray,
        reps: FloatArray,
        known_noise: FloatArray,
        *,
        refit: bool = True,
        start_at_prior: bool = True,
        extra_starts: FloatArray | None = None,
        tolerance: float = TOLERANCE,
    ) -> float:
        """Take the observations, fit theta to them unless it is fixed or `refit` is False, and factor the posterior.

        codes (n, d); y, reps, known_noise (n,). The fit starts at the last theta, at `extra_starts` (s, p) and, with `start_at_prior`, at
        the prior mean; it ends where a step gains less than `tolerance` nats. Returns the negative log posterior of theta up to a constant;
        nan where theta was not fitted.
        """
        value = np.nan
        if refit and not self._fixed:
            starts = [self.prior_mean] if not self.n else [self.theta, self.prior_mean] if start_at_prior else [self.theta]
            if extra_starts is not None:
                starts = [*starts, *extra_starts]
            theta, value = fit(
                self.geometry,
                codes,
                y,
                reps,
                known_noise,
                starts=np.array(starts),
                prior_mean=self.prior_mean,
                prior_sd=self.prior_sd,
                tolerance=tolerance,
            )
            self.theta = theta if np.isfinite(value) else self.prior_mean.copy()
        self._condition(codes, y, reps, known_noise)
        return float(value)

    def _condition(self, codes: IntArray, y: FloatArray, reps: FloatArray, known_noise: FloatArray) -> None:
        from bayestuner._core.predict import condition

        g = self.geometry
        n = codes.shape[0]
        codes = np.ascontiguousarray(codes)
        W, beta, z_levels = np.zeros((n, n)), np.empty(n), np.empty(g.levels.size)
        status, jitter = condition(
            self.theta, codes, y, reps, known_noise, g.levels, g.level_starts, g.kinds, g.form, g.family, W, beta, z_levels
        )  # fmt: skip
        if status != 0:
            raise BayesTunerError(
                f"the covariance of {n} observations is not positive definite even with jitter {jitter:g} (row {status - 1}); "
                "please report the observations"
            )
        self.codes, self.y, self.noise = codes, y, self.noise_variance / reps + known_noise + jitter
        self.W, self.beta, self.z_levels, self.jitter = W, beta, z_levels, jitter

    def extend(self, code: IntArray, y: float, noise: float) -> bool:
        """Append one observation: codes (d,), standardised output, and variance of its noise. Theta is not fitted again.

        Returns False where rounding made the appended covariance singular, so that all of it had to be factored again with more jitter.
        """
        from bayestuner._core.predict import extend

        g = self.geometry
        n = self.n
        codes = np.concatenate([self.codes, code[None, :]])
        values = np.append(self.y, y)
        noises = np.append(self.noise, noise + self.jitter)
        W = np.zeros((n + 1, n + 1))
        W[:n, :n] = self.W
        beta = np.append(self.beta, 0.0)
        if extend(self.theta, codes, n, y, noises[n], g.level_starts, g.kinds, g.form, g.family, W, beta, self.z_levels) != 0:
            self._condition(codes, values, np.ones(n + 1), noises - self.jitter - self.noise_variance)
            return False
        self.codes, self.y, self.noise, self.W, self.beta = codes, values, noises, W, beta
        return True

    def predict(self, codes: IntArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and variance (m,), (m,) of the smooth function at codes (m, d)."""
        from bayestuner._core.predict import predict

        g = self.geometry
        mean = np.empty(codes.shape[0])
        variance = np.empty(codes.shape[0])
        predict(
            self.theta, self.codes, self.W, self.beta, np.ascontiguousarray(codes), g.level_starts, g.kinds, g.form, g.family,
            self.z_levels, mean, variance,
        )  # fmt: skip
        return mean, variance

    @property
    def lengthscales(self) -> FloatArray:
        """(d,), in the warped coordinates."""
        return np.exp(self.theta[: self.geometry.d])

    @property
    def signal_variance(self) -> float:
        """Of the standardised output."""
        return float(np.exp(self.theta[self.geometry.d]))

    @property
    def noise_variance(self) -> float:
        """Of one reading, standardised; `jitter` is apart."""
        return float(np.exp(self.theta[self.geometry.d + 1]))
