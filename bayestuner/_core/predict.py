"""The posterior of one Gaussian process: its factor, and its mean and variance at given configurations.

The factor is kept as W = L^-1, so that a prediction is W k and a new observation appends one row (Rasmussen and Williams 2006,
algorithm 2.1, with the triangular solves done once).
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.cholesky import factor, invert
from bayestuner._core.covariance import CATEGORICAL, pair, warp_levels
from bayestuner._core.likelihood import JITTER, observation_noise
from bayestuner._core.options import compiled, inlined

MAX_JITTER = 1e-3


@inlined()
def coordinates(codes, starts, z_levels, z):
    """Warped coordinates z (n, d) of codes (n, d)."""
    for i in range(codes.shape[0]):
        for a in range(codes.shape[1]):
            z[i, a] = z_levels[starts[a] + codes[i, a]]


@inlined()
def full_covariance(za, zb, ca, cb, kinds, lengthscales, signal, trend, form, family):
    """Prior covariance of two configurations: correlation, constant mean and linear trend."""
    linear = 0.0
    for a in range(kinds.size):
        if kinds[a] != CATEGORICAL:
            linear += (za[a] - 0.5) * (zb[a] - 0.5)
    return signal * pair(za, zb, ca, cb, kinds, lengthscales, form, family) + 1.0 + trend * linear


@compiled()
def condition(theta, codes, y, reps, known, levels, starts, kinds, form, family, W, beta, z_levels, dz_levels):
    """Factor the posterior: W (n, n) = L^-1 of K + noise, beta (n,) = W y, z_levels (sum of L,).

    Returns (status, jitter): the status of the last attempt (0: good) and the jitter it took, raised tenfold from 1e-10 while the
    factor fails.
    """
    n, d = codes.shape
    warp_levels(levels, starts, kinds, theta[d + 3 :], z_levels, dz_levels)
    z = np.empty((n, d))
    coordinates(codes, starts, z_levels, z)
    lengthscales = np.exp(theta[:d])
    signal, noise, trend = math.exp(theta[d]), math.exp(theta[d + 1]), math.exp(theta[d + 2])
    K = np.empty((n, n))
    jitter = JITTER
    status = 1
    while True:
        for i in range(n):
            for j in range(i + 1):
                K[i, j] = full_covariance(z[i], z[j], codes[i], codes[j], kinds, lengthscales, signal, trend, form, family)
            K[i, i] += observation_noise(noise, reps, known, i) + jitter
        status = factor(K, n)
        if status == 0 or jitter >= MAX_JITTER:
            break
        jitter *= 10.0
    if status == 0:
        W[:n, :n] = 0.0
        invert(K, W, n)
        for i in range(n):
            t = 0.0
            for a in range(i + 1):
                t += W[i, a] * y[a]
            beta[i] = t
    return status, jitter


@compiled()
def extend(theta, codes, n, y_new, noise_new, starts, kinds, form, family, W, beta, z_levels):
    """Append observation n (codes[n], value y_new, noise variance noise_new) to a posterior of size n, in place.

    Returns 0, or 1 where the new pivot is not positive even with jitter; nothing is changed then.
    """
    d = codes.shape[1]
    z = np.empty((n + 1, d))
    coordinates(codes[: n + 1], starts, z_levels, z)
    lengthscales = np.exp(theta[:d])
    signal, trend = math.exp(theta[d]), math.exp(theta[d + 2])
    k = np.empty(n)
    for i in range(n):
        k[i] = full_covariance(z[n], z[i], codes[n], codes[i], kinds, lengthscales, signal, trend, form, family)
    rest = full_covariance(z[n], z[n], codes[n], codes[n], kinds, lengthscales, signal, trend, form, family) + noise_new + JITTER
    row = np.zeros(n)
    mean = 0.0
    for i in range(n):
        v = 0.0
        for a in range(i + 1):
            v += W[i, a] * k[a]
        rest -= v * v
        mean += v * beta[i]
        for a in range(i + 1):
            row[a] += v * W[i, a]
    if not rest > 0.0:
        return 1
    pivot = math.sqrt(rest)
    for a in range(n):
        W[n, a] = -row[a] / pivot
        W[a, n] = 0.0
    W[n, n] = 1.0 / pivot
    beta[n] = (y_new - mean) / pivot
    return 0


@compiled()
def predict(theta, codes, W, beta, codes_new, starts, kinds, form, family, z_levels, mean, variance):
    """Posterior mean (m,) and variance (m,) of the latent function at codes_new (m, d), from codes (n, d), W (n, n), beta (n,)."""
    n, d = codes.shape
    z = np.empty((n, d))
    coordinates(codes, starts, z_levels, z)
    z_new = np.empty(codes_new.shape)
    coordinates(codes_new, starts, z_levels, z_new)
    lengthscales = np.exp(theta[:d])
    signal, trend = math.exp(theta[d]), math.exp(theta[d + 2])
    k = np.empty(n)
    for c in range(codes_new.shape[0]):
        for i in range(n):
            k[i] = full_covariance(z_new[c], z[i], codes_new[c], codes[i], kinds, lengthscales, signal, trend, form, family)
        m = 0.0
        v = full_covariance(z_new[c], z_new[c], codes_new[c], codes_new[c], kinds, lengthscales, signal, trend, form, family)
        for i in range(n):
            t = 0.0
            for a in range(i + 1):
                t += W[i, a] * k[a]
            m += t * beta[i]
            v -= t * t
        mean[c] = m
        variance[c] = max(v, 0.0)
