"""Integration over the hyperparameters theta, instead of taking the one theta that fits best.

A set of thetas stands for their posterior, each with a process of its own. There are two ways to choose it: slice samples, all of the
same weight (Murray and Adams 2010; Snoek et al. 2012), or the weighted nodes of a central composite design around the posterior's mode
(Rue, Martino and Chopin 2009, section 6.5). What is wanted is then averaged over the processes; `mixture` gives mean and variance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.errors import BayesTunerError
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Arguments = tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray, IntArray, FloatArray, FloatArray, int, int]

RADIUS = 1.1  # of the design, times sqrt(f) for f free entries: slightly outside the shell where a Gaussian has its mass
MIN_CURVATURE = 0.25  # in prior standard deviations: no direction of the posterior is taken to be wider than two of them
WIDEST = 8.0  # standard deviations to either side of all means between which quantiles lie
QUANTILE_TOLERANCE = 1e-7  # of that range
STEP = 1e-4  # of the finite differences, in prior standard deviations


@dataclass(frozen=True)
class Evidence:
    """What the hyperparameters are inferred from: observations and priors.

    Attributes
    ----------
    geometry : Geometry
    codes : ndarray of int, (n, d)
    y, reps, known_noise : ndarray, (n,)
        As in `fit`; n may be 0, which leaves the prior.
    priors : Priors
    """

    geometry: Geometry
    codes: IntArray
    y: FloatArray
    reps: FloatArray
    known_noise: FloatArray
    priors: Priors = Priors()  # noqa: RUF009 - frozen

    @functools.cached_property
    def prior(self) -> tuple[FloatArray, FloatArray]:
        """Prior mean and standard deviation of theta, each (p,)."""
        return self.priors.pack(self.geometry)

    @property
    def arguments(self) -> Arguments:
        """The fields in the order that the compiled functions take them."""
        g = self.geometry
        return (self.codes, self.y, self.reps, self.known_noise, g.levels, g.level_starts, g.kinds, *self.prior, g.form, g.family)


def slice_samples(
    evidence: Evidence, start: FloatArray, count: int, rng: np.random.Generator, *, burn_in: int = 0, thin: int = 1
) -> FloatArray:
    """Draw samples of theta's posterior by coordinate-wise slice sampling (Neal 2003).

    Parameters
    ----------
    start : ndarray, (p,)
        Where the chain starts: the last sample of an earlier chain, or the fitted theta with some `burn_in`.
    count : int
        Number of samples S.
    rng : Generator
        Gives the chain its seed.
    burn_in, thin : int
        Sweeps over all free entries before the first sample, and for each sample.

    Returns
    -------
    theta : ndarray, (S, p)
    """
    from bayestuner._core.hyperposterior import slice_sample

    out = np.empty((count, start.size))
    seed = rng.integers(1, 2**63, dtype=np.uint64)
    if slice_sample(np.ascontiguousarray(start), burn_in, thin, seed, *evidence.arguments, out) != 0:
        raise BayesTunerError("a slice-sampling chain must start where the covariance is positive definite; start it from a fitted theta")
    return out


def ccd_nodes(evidence: Evidence, mode: FloatArray, *, corners: bool = True) -> tuple[FloatArray, FloatArray]:
    """Choose nodes and weights of a central composite design around the mode of theta's posterior.

    The design is laid out along the eigenvectors of the Hessian at the mode: a centre, two star points per free entry and, if `corners`, a
    two-level fractional factorial of resolution V, all but the centre on one sphere. The base weights reproduce a Gaussian's mean and
    covariance exactly; each is multiplied by the ratio of the posterior to that Gaussian at its node.

    Parameters
    ----------
    mode : ndarray, (p,)
        The fitted theta.
    corners : bool
        False leaves 2 f + 1 nodes for f free entries, few enough to condition and score every one.

    Returns
    -------
    theta : ndarray, (S, p)
        The centre comes first.
    weights : ndarray, (S,)
        Add up to 1.
    """
    from bayestuner._core.hyperposterior import posterior_hessian, posterior_values

    sd = evidence.prior[1]
    free = np.flatnonzero(sd)
    f = free.size
    hessian = np.empty((f, f))
    if posterior_hessian(mode, STEP, *evidence.arguments, hessian) != 0:
        raise BayesTunerError(
            "a central composite design needs a positive definite covariance around its centre; centre it on a fitted theta"
        )
    curvature, axes = np.linalg.eigh(hessian)
    z = design(f, corners)
    theta = np.repeat(mode[None, :], len(z), axis=0)
    theta[:, free] += (z / np.sqrt(np.maximum(curvature, MIN_CURVATURE))) @ axes.T * sd[free]
    value = np.empty(len(z))
    posterior_values(theta, *evidence.arguments, value)
    excess = 0.5 * (z * z).sum(axis=1) - (value - value[0])
    base = np.full(len(z), 1.0 / (RADIUS**2 * (len(z) - 1)))
    base[0] = 1.0 - 1.0 / RADIUS**2
    weights = base * np.exp(excess - excess.max())
    return theta, weights / weights.sum()


@functools.cache
def design(f: int, corners: bool) -> FloatArray:
    """Nodes of a central composite design in f dimensions, (S, f): the origin, then points at distance RADIUS sqrt(f) from it."""
    star = np.concatenate([np.eye(f), -np.eye(f)]) * np.sqrt(f)
    parts = [np.zeros((1, f)), star, *([fraction(f)] if corners else [])]
    nodes = np.concatenate(parts) * RADIUS
    nodes.flags.writeable = False
    return nodes


def fraction(f: int) -> FloatArray:
    """A two-level fractional factorial of resolution V, (runs, f), of +-1: columns of a Hadamard matrix (Sanchez and Sanchez 2005)."""
    indices = _indices(f)
    runs = 1 << indices[-1].bit_length() if indices else 1
    return np.array([[1.0 - 2.0 * ((run & index).bit_count() % 2) for index in indices] for run in range(runs)])


def _indices(f: int) -> list[int]:
    """The f lowest numbers of which no four or fewer have an exclusive or of 0: then no main effect or pair of factors is aliased."""
    chosen: list[int] = []
    taken: set[int] = {0}  # exclusive ors of up to three of them
    pairs: set[int] = {0}
    while len(chosen) < f:
        candidate = (chosen[-1] if chosen else 0) + 1
        while candidate in taken:
            candidate += 1
        taken |= {candidate ^ pair for pair in pairs}
        pairs |= {candidate ^ other for other in (0, *chosen)}
        chosen.append(candidate)
    return chosen


def condition_all(evidence: Evidence, theta: FloatArray) -> list[GaussianProcess]:
    """Condition one process for each row of theta (S, p); they share the observations."""
    codes = np.ascontiguousarray(evidence.codes)
    processes = []
    for row in theta:
        gp = GaussianProcess(evidence.geometry, priors=evidence.priors, theta=row)
        gp.fit(codes, evidence.y, evidence.reps, evidence.known_noise)
        processes.append(gp)
    return processes


def mixture(processes: Sequence[GaussianProcess], weights: FloatArray, codes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (m,), (m,) of the smooth function at codes (m, d) under processes of the given weights (S,)."""
    moments = np.array([gp.predict(codes) for gp in processes])  # (S, 2, m)
    mean = weights @ moments[:, 0]
    variance = weights @ (moments[:, 1] + (moments[:, 0] - mean) ** 2)
    return mean, variance


@dataclass(frozen=True)
class Mixture:
    """Noise-free values of rows that were not measured, under a weighted set of processes: mixtures of normal distributions.

    Such a value is the smooth function plus the row's own deviation, whose variance is the process's `noise_variance`.

    Attributes
    ----------
    processes : list of GaussianProcess, S of them
    weights : ndarray, (S,)
        Add up to 1.
    """

    processes: Sequence[GaussianProcess]
    weights: FloatArray

    def predict(self, codes: IntArray) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations (S, m), (S, m) of the values at codes (m, d) under each process."""
        means, sds = [], []
        for gp in self.processes:
            mean, variance = gp.predict(codes)
            means.append(mean)
            sds.append(np.sqrt(variance + gp.noise_variance))
        return np.array(means), np.array(sds)

    def probability(self, codes: IntArray, sign: float, limit: float) -> FloatArray:
        """P(sign * (value - limit) >= 0) at codes (m, d), (m,)."""
        mean, sd = self.predict(codes)
        z = sign * (mean - limit) / sd
        return np.asarray(self.weights @ np.array([[_normal_cdf(v) for v in row] for row in z.tolist()]))

    def quantiles(self, code: IntArray, probabilities: Sequence[float]) -> list[float]:
        """Quantiles of the value at one row's codes (1, d), by bisection."""
        mean, sd = (part[:, 0] for part in self.predict(code))
        components = list(zip(self.weights.tolist(), mean.tolist(), sd.tolist(), strict=True))
        lowest, highest = float((mean - WIDEST * sd).min()), float((mean + WIDEST * sd).max())
        out = []
        for probability in probabilities:
            low, high = lowest, highest
            while high - low > QUANTILE_TOLERANCE * (highest - lowest):
                middle = 0.5 * (low + high)
                below = sum(weight * _normal_cdf((middle - m) / s) for weight, m, s in components)
                low, high = (middle, high) if below < probability else (low, middle)
            out.append(0.5 * (low + high))
        return out


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
