"""The negative log posterior of the hyperparameters and its gradient.

theta (2 d + 3,) holds the logarithms of lengthscales (d,), signal_variance, noise_variance and trend_variance, then the warps (d,), which
are no logarithms. Each entry has a normal prior; a prior standard deviation of 0 keeps it fixed.

The likelihood is Rasmussen and Williams 2006, eq. 2.30, and its gradient eq. 5.9. Speed comes from the layout: whatever belongs to a pair
of observations lies in arrays over all pairs r <= c, row after row, so that each step is one long loop without calls. In the product form
the exponents of all knobs are added first, so that a pair takes one exponential.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bayestuner._core.cholesky import factor, index, invert
from bayestuner._core.covariance import CATEGORICAL, FIXED, PRODUCT, WARPED, coefficients, correlate, slope_coefficients, warp
from bayestuner._core.options import compiled, inlined

JITTER = 1e-10

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Problem(NamedTuple):
    """What is fitted: observations, priors and the kind of covariance.

    level (d, n) holds for every knob and observation log(v / v_0) where the knob is warped, its coordinate where it is fixed, its code
    where it is categorical; log_range (d,) holds the last level's log(v / v_0); y, reps, known_noise (n,); prior_mean, prior_sd (p,).
    """

    level: Floats
    log_range: Floats
    y: Floats
    reps: Floats
    known_noise: Floats
    kinds: Ints
    prior_mean: Floats
    prior_sd: Floats
    form: int
    family: int


class Scratch(NamedTuple):
    """Working arrays of one evaluation; pairs = n (n + 1) / 2, the diagonal included."""

    centred: Floats  # (d, n): warped coordinate - 1/2; 0 for a categorical knob
    slope: Floats  # (d, n): its derivative by the knob's warp
    difference: Floats  # (d, pairs): of the coordinates; 0 or 1 for a categorical knob
    slope_difference: Floats  # (1, pairs)
    linear: Floats  # (pairs,): sum of products of centred coordinates; of the fixed knobs alone in linear_fixed
    linear_fixed: Floats
    k: Floats  # (pairs,): correlation
    h: Floats  # (pairs,): its -2 d/ds in the ard form
    exponent: Floats  # (pairs,)
    scale: Floats  # (pairs,): of `exponential.exp_all`; bits is the same memory as integers
    bits: Ints
    weight: Floats  # (pairs,): derivative of the value by an entry of K, both triangles together
    U: Floats  # (n, n + 1 + 2 d): L^T, then the columns L^-1 y, L^-1 centred, L^-1 slope
    W: Floats  # (n, n): L^-1, with zeros above its diagonal
    alpha: Floats  # (n,)
    inverse: Floats  # (d,): reciprocals of the lengthscales
    warp_scale: Floats  # (n,): of `exponential.expm1_all`; warp_bits is the same memory as integers
    warp_bits: Ints


@inlined()
def observation_noise(noise_variance, reps, known_noise, i):
    """Variance of observation i's noise: the estimated one over its number of readings, plus the known one."""
    return noise_variance / reps[i] + known_noise[i]


@inlined()
def make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family):
    """Gather a `Problem` from codes (n, d) and the levels (sum of L,) of all knobs."""
    n, d = codes.shape
    level = np.empty((d, n))
    log_range = np.empty(d)
    for a in range(d):
        log_range[a] = levels[level_starts[a + 1] - 1]
        for i in range(n):
            level[a, i] = codes[i, a] if kinds[a] == CATEGORICAL else levels[level_starts[a] + codes[i, a]]
    return Problem(level, log_range, y, reps, known_noise, kinds, prior_mean, prior_sd, form, family)


@inlined()
def fill_differences(a, x, n, row, difference):
    """difference[row] (pairs,) = x[a, r] - x[a, c]."""
    for r in range(n):
        start = index(r * n - r * (r + 1) // 2)
        own = x[a, r]
        for c in range(index(r), index(n)):
            difference[row, start + c] = own - x[a, c]


@inlined()
def add_products(a, centred, n, linear):
    """linear (pairs,) += centred[a, r] centred[a, c]."""
    for r in range(n):
        start = index(r * n - r * (r + 1) // 2)
        own = centred[a, r]
        for c in range(index(r), index(n)):
            linear[start + c] += own * centred[a, c]


@inlined()
def make_scratch(p):
    """Allocate a `Scratch`, and fill what does not depend on theta: the coordinates of knobs that are not warped."""
    d, n = p.level.shape
    pairs = n * (n + 1) // 2
    scale, warp_scale = np.empty(pairs), np.empty(n)
    s = Scratch(
        np.zeros((d, n)), np.zeros((d, n)), np.empty((d, pairs)), np.zeros((1, pairs)), np.empty(pairs), np.zeros(pairs), np.empty(pairs),
        np.empty(pairs), np.empty(pairs), scale, scale.view(np.int64), np.empty(pairs), np.empty((n, n + 1 + 2 * d)), np.zeros((n, n)),
        np.empty(n), np.empty(d), warp_scale, warp_scale.view(np.int64),
    )  # fmt: skip
    for a in range(d):
        if p.kinds[a] == FIXED:
            for i in range(n):
                s.centred[a, i] = p.level[a, i] - 0.5
            fill_differences(a, s.centred, n, a, s.difference)
            add_products(a, s.centred, n, s.linear_fixed)
        elif p.kinds[a] == CATEGORICAL:
            at = 0
            for r in range(n):
                for c in range(r, n):
                    s.difference[a, at] = 0.0 if p.level[a, r] == p.level[a, c] else 1.0
                    at += 1
    return s


@inlined(fast=True)
def fill_warped(a, w, p, s):
    """Fill what depends on warped knob a's coordinates at warp w: centred, slope, difference, and its part of linear."""
    n = p.y.size
    warp(p.level[a], p.log_range[a], w, s.centred[a], s.slope[a], s.warp_scale, s.warp_bits)
    for i in range(n):
        s.centred[a, i] -= 0.5
    fill_differences(a, s.centred, n, a, s.difference)
    add_products(a, s.centred, n, s.linear)


@inlined(fast=True)
def assemble(theta, p, s, n_columns, jitter):
    """Fill the upper triangle of U with K, and the columns behind it with y and, if there are more, centred and slope."""
    d, n = p.level.shape
    signal, noise, trend = math.exp(theta[d]), math.exp(theta[d + 1]), math.exp(theta[d + 2])
    for i in range(s.linear.size):
        s.linear[i] = s.linear_fixed[i]
    for a in range(d):
        if p.kinds[a] == WARPED:
            fill_warped(a, theta[d + 3 + a], p, s)
        s.inverse[a] = math.exp(-theta[a])
    correlate(s.inverse, s.difference, p.kinds, p.form, p.family, s.k, s.h, s.exponent, s.scale, s.bits)
    for r in range(n):
        start = index(r * n - r * (r + 1) // 2)
        for c in range(index(r), index(n)):
            s.U[r, c] = signal * s.k[start + c] + 1.0 + trend * s.linear[start + c]
        s.U[r, r] += observation_noise(noise, p.reps, p.known_noise, r) + jitter
        s.U[r, n] = p.y[r]
    if n_columns > n + 1:
        for r in range(n):
            for a in range(d):
                s.U[r, n + 1 + a] = s.centred[a, r]
                s.U[r, n + 1 + d + a] = s.slope[a, r]


@inlined(fast=True)
def negative_log_posterior(theta, p, s, n_columns):
    """-log p(y | theta) - log p(theta) up to a constant; +inf where K is not positive definite.

    n_columns is the number of columns of U to fill: all where the gradient may be computed next, n + 1 where not.
    """
    n = p.y.size
    assemble(theta, p, s, n_columns, JITTER)
    if factor(s.U, n, n_columns) != 0:
        return math.inf
    value = 0.0
    for i in range(n):
        half = s.U[i, n]
        value += 0.5 * half * half + math.log(s.U[i, i])
    for a in range(theta.size):
        if p.prior_sd[a] > 0.0:
            t = (theta[a] - p.prior_mean[a]) / p.prior_sd[a]
            value += 0.5 * t * t
    return value


@inlined(fast=True)
def fill_weights(p, s):
    """Fill weight with the derivatives of the value by the entries of K, (K^-1 - alpha alpha^T) / 2, both triangles added up."""
    n = p.y.size
    invert(s.U, s.W, n)
    for i in range(n):
        s.alpha[i] = 0.0
    for k in range(n):
        half = s.U[k, n]
        for i in range(index(k + 1)):
            s.alpha[i] += half * s.W[k, i]
    for r in range(n):
        start = index(r * n - r * (r + 1) // 2)
        own = s.alpha[r]
        for c in range(index(r), index(n)):
            s.weight[start + c] = -own * s.alpha[c]
        for group in range((n - r) // 4):
            k = r + 4 * group
            w0, w1, w2, w3 = s.W[k, r], s.W[k + 1, r], s.W[k + 2, r], s.W[k + 3, r]
            for c in range(index(r), index(k + 4)):  # W is zero above its diagonal
                s.weight[start + c] += w0 * s.W[k, c] + w1 * s.W[k + 1, c] + w2 * s.W[k + 2, c] + w3 * s.W[k + 3, c]
        for k in range(r + (n - r) // 4 * 4, n):
            w0 = s.W[k, r]
            for c in range(index(r), index(k + 1)):
                s.weight[start + c] += w0 * s.W[k, c]
        s.weight[start + index(r)] *= 0.5


@inlined(fast=True)
def slope_sums(a, p, s):
    """For knob a, the sums over pairs of w |u| and of sign(u) w slope_difference, from which come its lengthscale's and warp's gradient.

    u = difference[a] / lengthscale and w = weight (-dk/d|u|); weight has been multiplied by k (product form) or h (ard form).
    """
    c1, c2, e1, e2 = coefficients(p.family)
    if p.form != PRODUCT:  # weight holds h already; what is left is as for the squared exponential
        c1, c2, e1, e2 = 0.0, 0.0, 0.0, 0.5
    elif p.kinds[a] == CATEGORICAL:
        c1, c2, e1, e2 = 0.0, 0.0, 1.0, 0.0
    n0, n1, n2 = slope_coefficients(c1, c2, e1, e2)
    inverse = s.inverse[a]
    by_size, by_slope = 0.0, 0.0
    for i in range(s.k.size):
        u = inverse * s.difference[a, i]
        q = abs(u)
        t = s.weight[i] * (n0 + q * (n1 + q * n2)) / (1.0 + q * (c1 + q * c2))
        by_size += t * q
        by_slope += (t if u > 0.0 else -t) * s.slope_difference[0, i]
    return by_size, by_slope


@inlined(fast=True)
def posterior_gradient(theta, p, s, gradient):
    """Fill the gradient (p,) of `negative_log_posterior`, which must have been evaluated with all columns at this theta just before."""
    d, n = p.level.shape
    signal, noise, trend = math.exp(theta[d]), math.exp(theta[d + 1]), math.exp(theta[d + 2])
    fill_weights(p, s)
    by_noise = 0.0
    at = 0
    for r in range(n):
        by_noise += s.weight[at] / p.reps[r]
        at += n - r
    by_signal = 0.0
    for i in range(s.k.size):
        by_signal += s.weight[i] * s.k[i]
    gradient[d] = signal * by_signal
    gradient[d + 1] = noise * by_noise
    if p.form == PRODUCT:
        for i in range(s.k.size):
            s.weight[i] *= s.k[i]
    else:
        for i in range(s.k.size):
            s.weight[i] *= s.h[i]
    gradient[d + 2] = 0.0
    for a in range(d):
        if p.kinds[a] == WARPED:
            fill_differences(a, s.slope, n, 0, s.slope_difference)
        by_size, by_slope = slope_sums(a, p, s)
        gradient[a] = signal * by_size
        gradient[d + 3 + a] = 0.0
        if p.kinds[a] == CATEGORICAL:
            continue
        # the trend's part of K is an outer product: with v = L^-1 centred its trace is v.v, and alpha.centred = (L^-1 y).v
        vv, vy, vs, ys = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            half, v, slope = s.U[i, n], s.U[i, n + 1 + a], s.U[i, n + 1 + d + a]
            vv += v * v
            vy += v * half
            vs += v * slope
            ys += half * slope
        gradient[d + 2] += 0.5 * trend * (vv - vy * vy)
        if p.kinds[a] == WARPED:
            gradient[d + 3 + a] = trend * (vs - vy * ys) - signal * s.inverse[a] * by_slope
    for a in range(theta.size):
        if p.prior_sd[a] > 0.0:
            gradient[a] += (theta[a] - p.prior_mean[a]) / (p.prior_sd[a] * p.prior_sd[a])
        else:
            gradient[a] = 0.0


@compiled(fast=True)
def objective(theta, codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family):
    """`negative_log_posterior` and its gradient: returns (value, gradient (p,)), the gradient 0 where the value is +inf."""
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family)
    s = make_scratch(p)
    gradient = np.zeros(theta.size)
    value = negative_log_posterior(theta, p, s, s.U.shape[1])
    if value < math.inf:
        posterior_gradient(theta, p, s, gradient)
    return value, gradient
