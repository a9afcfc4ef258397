"""The model of one metric: its transform and its Gaussian process."""

from __future__ import annotations

import copy
import math

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.integrate import Evidence, Mixture, ccd_nodes, condition_all, slice_samples
from bayestuner.surrogate.readings import Merged
from bayestuner.surrogate.transform import POWERS, Transform

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_REFIT = 60  # with up to so many observations the hyperparameters are fitted after every tell
REFIT_EVERY = 5  # with more, only when their number is a multiple of this, and of twice as many each time that number has doubled
BURN_IN, THIN = 10, 2  # sweeps of the slice sampler before the first sample and for each sample; it starts at the best fit
COMPARE_AT = frozenset({8, 12, 16, 24, 36, 54})  # numbers of observations at which other transforms of the metric are tried
MIN_EVIDENCE = 2.0  # nats by which another transform must fit better to replace the one in use
FACTOR_SD = 1.0  # prior standard deviation of the log of the factor by which noise is larger than told
FACTOR_STEP = math.log(2.0)
MAX_LOG_FACTOR = 4.0 * FACTOR_STEP
FACTOR_FROM, FACTOR_ALWAYS, FACTOR_EVERY = 5, 14, 3  # readings from which on it is learnt, up to which always, and then how often
N_RANDOM_START = 10  # with fewer observations the posterior of theta may have several maxima: the fit gets one more, random, start
PRIOR_START_EVERY = 8  # with more the maximum rarely moves far: only every so many observations the fit starts at the prior mean too


def fits_now(n: int) -> bool:
    """Whether the hyperparameters are fitted again when the n-th observation has come in."""
    return n <= MAX_REFIT or n % (REFIT_EVERY << (n // MAX_REFIT).bit_length() - 1) == 0


def _asks_for_factor(n_readings: int) -> bool:
    return n_readings >= FACTOR_FROM and (n_readings <= FACTOR_ALWAYS or n_readings % FACTOR_EVERY == 0)


class MetricModel:
    """Gaussian process over a metric's transformed, standardised readings.

    A reading deviates from the smooth function for two reasons: noise, as far as its standard deviation is known, and the row's own
    deviation, whose variance is `GaussianProcess.noise_variance`. Another run of the same row has the same own deviation, but new noise.

    Parameters
    ----------
    geometry : Geometry
    samples : int
        Number of samples of the hyperparameters to keep beside the best fit.
    priors : Priors, optional
    power : float, optional
        What the metric is modelled as, see `Modelling`.

    Attributes
    ----------
    gp : GaussianProcess
        With the hyperparameters that fit best.
    processes : list of GaussianProcess
        One for each sample of the hyperparameters; `gp` alone where there are none.
    data : Merged
        The readings that it was fitted to.
    rows, values, y : ndarray, (n,)
        Rows measured, the means of their readings, and the same standardised.
    known_noise : ndarray, (n,)
        Variance of those readings' noise as far as it is known, standardised.
    """

    def __init__(self, geometry: Geometry, samples: int = 0, *, priors: Priors | None = None, power: float | None = None) -> None:
        self.priors = priors if priors is not None else Priors()
        self.gp = GaussianProcess(geometry, priors=self.priors)
        self.samples = samples
        self._compares = power is None
        self.processes = [self.gp]
        self.power = power
        self.transform = Transform(1.0, 0.0, 1.0)
        self.rows: IntArray = np.empty(0, dtype=np.int64)
        self.values: FloatArray = np.empty(0)
        self.reps: FloatArray = np.empty(0)
        self._integrated: Mixture | None = None
        self.y: FloatArray = np.empty(0)
        self.known_noise: FloatArray = np.empty(0)
        self.log_factor = 0.0  # log of the factor by which the noise is larger than the standard deviations told say

    def copy(self) -> MetricModel:
        """A model whose `fit` does not change this one."""
        out = copy.copy(self)
        out.gp = copy.copy(self.gp)
        out.processes = [out.gp] if self.processes == [self.gp] else list(self.processes)
        return out

    def fit(self, codes: IntArray, data: Merged, seed: list[int]) -> None:
        """Fit to merged readings at codes (n, d); `seed` is for random starts and for samples of the hyperparameters."""
        self.data, self.rows, self.values, self.reps = data, data.rows, data.values, data.reps
        self._integrated = None
        positive = bool((data.values > 0.0).all())
        if self.power is None or (self.power < 1.0 and not positive):
            self.power = 0.0 if positive else 1.0
        n = codes.shape[0]
        extra = None
        if n < N_RANDOM_START:
            gp = self.gp
            extra = (gp.prior_mean + gp.prior_sd * np.random.default_rng(seed).standard_normal(gp.prior_mean.size))[None, :]
        refit = fits_now(n)
        value = self._fit_as(self.power, self.gp, codes, data, refit, extra)
        if refit and _asks_for_factor(int(data.reps.sum())) and self.known_noise.any():
            value = self._learn_factor(value, codes, data)
        if self._compares and positive and n in COMPARE_AT:
            self._compare(self.transform.log_jacobian(data.values) - value, codes, data)
        if self.samples:
            self._sample(np.random.default_rng(seed))

    def _fit_as(
        self, power: float, gp: GaussianProcess, codes: IntArray, data: Merged, refit: bool = True, extra: FloatArray | None = None
    ) -> float:
        """Fit `gp` to the readings transformed by `power`; returns the negative log evidence of the transformed ones, up to a constant."""
        self.transform = Transform.of(data.values, power)
        self.y = self.transform.forward(data.values)
        self.known_noise = data.known_noise(self.transform) * math.exp(2.0 * self.log_factor)
        n = codes.shape[0]
        start_at_prior = n < N_RANDOM_START or n % PRIOR_START_EVERY == 0
        return gp.fit(codes, self.y, data.reps, self.known_noise, refit=refit, start_at_prior=start_at_prior, extra_starts=extra)

    def _learn_factor(self, value: float, codes: IntArray, data: Merged) -> float:
        """Change the factor of the noise told by one step where the readings speak for it; returns the negative log evidence of the fit."""
        scatter, freedom = data.scatter

        def log_posterior(log_factor: float, value: float) -> float:
            of_repeats = -freedom * log_factor - 0.5 * scatter * math.exp(-2.0 * log_factor)
            return of_repeats - value - 0.5 * (log_factor / FACTOR_SD) ** 2

        told = self.known_noise * math.exp(-2.0 * self.log_factor)
        best = log_posterior(self.log_factor, value)
        for log_factor in (self.log_factor - FACTOR_STEP, self.log_factor + FACTOR_STEP):
            if abs(log_factor) > MAX_LOG_FACTOR:
                continue
            other, noise = copy.copy(self.gp), told * math.exp(2.0 * log_factor)
            found = other.fit(codes, self.y, data.reps, noise, start_at_prior=False)
            if log_posterior(log_factor, found) > best:
                best, value = log_posterior(log_factor, found), found
                self.gp, self.log_factor, self.known_noise = other, log_factor, noise
                self.processes = [self.gp]
        return value

    def _compare(self, evidence: float, codes: IntArray, data: Merged) -> None:
        """Change to another power of the metric where its evidence, at its best hyperparameters, is higher by `MIN_EVIDENCE`."""
        kept = self.transform, self.y, self.known_noise
        for power in POWERS:
            if power == self.power:
                continue
            other = copy.copy(self.gp)
            value = self._fit_as(power, other, codes, data)
            found = self.transform.log_jacobian(data.values) - value
            if found > evidence + MIN_EVIDENCE:
                evidence, self.gp, self.power = found, other, power
                kept = self.transform, self.y, self.known_noise
        self.transform, self.y, self.known_noise = kept
        self.processes = [self.gp]

    def _sample(self, rng: np.random.Generator) -> None:
        """Draw samples of the hyperparameters by slice sampling, starting at the best fit (Snoek et al. 2012, section 3.1)."""
        evidence = self._evidence()
        theta = slice_samples(evidence, self.gp.theta, self.samples, rng, burn_in=BURN_IN, thin=THIN)
        self.processes = condition_all(evidence, theta)

    def _evidence(self) -> Evidence:
        return Evidence(self.gp.geometry, self.gp.codes, self.y, self.reps, self.known_noise, self.priors)

    def predict(self, codes: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (m,), (m,) of the smooth function, in transformed units."""
        mean, variance = self.gp.predict(codes)
        return mean, np.sqrt(variance)

    def integrated(self) -> Mixture:
        """The posterior with the hyperparameters integrated out, computed when first wanted after a fit.

        Over the samples of the hyperparameters where the model keeps some, else over a central composite design around the best fit.
        """
        if self._integrated is None:
            if self.samples:
                self._integrated = Mixture(self.processes, np.full(self.samples, 1.0 / self.samples))
            else:
                evidence = self._evidence()
                theta, weights = ccd_nodes(evidence, self.gp.theta, corners=False)
                self._integrated = Mixture(condition_all(evidence, theta), weights)
        return self._integrated

    def noise_free_estimates(self) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (n,), (n,) of what the measured rows would read without noise, in transformed units.

        Where no noise is known this is the reading. A noisy reading is drawn towards the smooth function: its weight is the variance of the
        row's own deviation as a share of the sum of that and the noise's variance.
        """
        if not self.known_noise.any():
            return self.y, np.zeros(self.y.size)
        own = self.gp.noise_variance
        weight = own / (own + self.known_noise)
        mean, variance = self.gp.predict(self.gp.codes)
        return mean + weight * (self.y - mean), weight * self.known_noise + (1.0 - weight) ** 2 * variance
