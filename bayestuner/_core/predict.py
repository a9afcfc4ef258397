"""The posterior of one Gaussian process: its factor, and its mean and variance at given configurations.

The factor is kept as W = L^-1, so that a prediction is W k and a new observation appends one row (Rasmussen and Williams 2006,
algorithm 2.1, with the triangular solves done once).
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.cholesky import factor, invert
from bayestuner._core.covariance import CATEGORICAL, correlate, warp_levels
from bayestuner._core.likelihood import JITTER, assemble, make_problem, make_scratch
from bayestuner._core.options import compiled, inlined

MAX_JITTER = 1e-3


@inlined()
def fill_coordinates(codes, n, level_starts, kinds, z_levels, x):
    """Fill x (d, n) with the warped coordinates of codes[:n] (n, d), or the code itself for a categorical knob."""
    for i in range(n):
        for a in range(codes.shape[1]):
            x[a, i] = codes[i, a] if kinds[a] == CATEGORICAL else z_levels[level_starts[a] + codes[i, a]]


@inlined()
def fill_point(codes, i, level_starts, kinds, z_levels, point):
    """Fill point (d,) with the coordinates of codes[i], as `fill_coordinates` does."""
    for a in range(point.size):
        point[a] = codes[i, a] if kinds[a] == CATEGORICAL else z_levels[level_starts[a] + codes[i, a]]


@inlined()
def inverse_exp(theta, d):
    """Reciprocals of the lengthscales (d,)."""
    out = np.empty(d)
    for a in range(d):
        out[a] = math.exp(-theta[a])
    return out


@inlined(fast=True)
def prior_variance(point, kinds, signal, trend):
    """Prior variance at a point (d,): covariance function, constant mean and linear trend."""
    linear = 0.0
    for a in range(kinds.size):
        if kinds[a] != CATEGORICAL:
            linear += (point[a] - 0.5) * (point[a] - 0.5)
    return signal + 1.0 + trend * linear


@inlined(fast=True)
def prior_covariances(x, point, kinds, inverse_lengthscales, signal, trend, form, family, k, scratch, difference, bits):
    """Prior covariances k (n,) of a point (d,) with x (d, n). scratch (3, n), difference (d, n); bits = scratch[2].view(int64)."""
    n = k.size
    for a in range(kinds.size):
        own = point[a]
        if kinds[a] == CATEGORICAL:
            for i in range(n):
                difference[a, i] = 0.0 if x[a, i] == own else 1.0
        else:
            for i in range(n):
                difference[a, i] = x[a, i] - own
    correlate(inverse_lengthscales, difference, kinds, form, family, k, scratch[0], scratch[1], scratch[2], bits)
    for i in range(n):
        k[i] = signal * k[i] + 1.0
    for a in range(kinds.size):
        if kinds[a] != CATEGORICAL:
            t = trend * (point[a] - 0.5)
            for i in range(n):
                k[i] += t * (x[a, i] - 0.5)


@compiled()
def condition(theta, codes, y, reps, known_noise, levels, level_starts, kinds, form, family, W, beta, z_levels):
    """Factor the posterior: fill W (n, n) = L^-1, which must come filled with zeros, beta (n,) = W y, and z_levels (sum of L,).

    Returns (status, jitter): the status of the last attempt (0: success) and its jitter, which is raised tenfold from 1e-10 while K can't
    be factored.
    """
    n, d = codes.shape
    warp_levels(levels, level_starts, kinds, theta[d + 3 :], z_levels)
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, theta, theta, form, family)
    s = make_scratch(p)
    jitter = JITTER
    while True:
        assemble(theta, p, s, n + 1, jitter)
        status = factor(s.U, n, n + 1)
        if status == 0 or jitter >= MAX_JITTER:
            break
        jitter *= 10.0
    if status == 0:
        invert(s.U, W, n)
        for i in range(n):
            beta[i] = s.U[i, n]
    return status, jitter


@compiled()
def extend(theta, codes, n, y_new, noise_new, level_starts, kinds, form, family, W, beta, z_levels):
    """Append observation n (codes[n], value y_new, variance noise_new of noise and jitter) to a posterior of size n, in place.

    Returns 0, or 1 where the new pivot is not positive; nothing is changed then.
    """
    d = codes.shape[1]
    x, point = np.empty((d, n)), np.empty(d)
    fill_coordinates(codes, n, level_starts, kinds, z_levels, x)
    fill_point(codes, n, level_starts, kinds, z_levels, point)
    signal, trend = math.exp(theta[d]), math.exp(theta[d + 2])
    k, scratch, difference = np.empty(n), np.empty((3, n)), np.empty((d, n))
    bits = scratch[2].view(np.int64)
    prior_covariances(x, point, kinds, inverse_exp(theta, d), signal, trend, form, family, k, scratch, difference, bits)
    rest = prior_variance(point, kinds, signal, trend) + noise_new
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


@compiled(fast=True)
def predict(theta, codes, W, beta, codes_new, level_starts, kinds, form, family, z_levels, mean, variance):
    """Posterior mean (m,) and variance (m,) of the latent function at codes_new (m, d), from codes (n, d), W (n, n), beta (n,)."""
    n, d = codes.shape
    x, point = np.empty((d, n)), np.empty(d)
    fill_coordinates(codes, n, level_starts, kinds, z_levels, x)
    inverse_lengthscales = inverse_exp(theta, d)
    signal, trend = math.exp(theta[d]), math.exp(theta[d + 2])
    k, scratch, difference = np.empty(n), np.empty((3, n)), np.empty((d, n))
    bits = scratch[2].view(np.int64)
    for c in range(codes_new.shape[0]):
        fill_point(codes_new, c, level_starts, kinds, z_levels, point)
        prior_covariances(x, point, kinds, inverse_lengthscales, signal, trend, form, family, k, scratch, difference, bits)
        total = 0.0
        v = prior_variance(point, kinds, signal, trend)
        for i in range(n):
            t = 0.0
            for a in range(i + 1):
                t += W[i, a] * k[a]
            total += t * beta[i]
            v -= t * t
        mean[c] = total
        variance[c] = max(v, 0.0)
