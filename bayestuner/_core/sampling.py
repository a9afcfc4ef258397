"""Joint samples of the posterior over a whole product grid, or over listed cells.

Over a grid, a sample of the prior takes one matrix product for each knob (the covariance of the product form is a Kronecker product), plus
weights of the constant and the trend. Matheron's rule turns it into a sample of the posterior (Wilson et al. 2020, 2021):

    f(x) + k(x, X) (K + noise)^-1 (y - f(X) - e),  e a sample of the noise

Compiled when first used, not in the warm-up.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.cholesky import factor, index
from bayestuner._core.covariance import CATEGORICAL, correlation
from bayestuner._core.options import compiled, inlined
from bayestuner._core.predict import fill_coordinates, fill_point, inverse_exp, prior_covariances, prior_variance

LEVEL_JITTER = 1e-10  # relative: a smooth correlation of many levels is singular to rounding
MIN_INNER = 64  # cells that share one outer part, at least: inner loops are then long enough


@inlined()
def level_correlations(log_lengthscale, first, last, kind, family, z_levels, own, out):
    """Fill out (rows, L) with one knob's correlations between the levels own (rows,) and all its levels, first to last - 1 of z_levels."""
    inverse = math.exp(-log_lengthscale)
    for i in range(own.size):
        for t in range(first, last):
            if kind == CATEGORICAL:
                out[i, t - first] = 1.0 if first + own[i] == t else math.exp(-inverse)
            else:
                u = (z_levels[first + own[i]] - z_levels[t]) * inverse
                out[i, t - first] = correlation(u * u, family)[0]


@inlined(fast=True)
def multiply_rows(x, U, n_levels, n_outer, n_inner):
    """x, seen as (outer, levels, inner), becomes L x along its middle axis, in place, for L^T = U."""
    for o in range(n_outer):
        start = o * n_levels * n_inner
        for r in range(n_levels):
            i = n_levels - 1 - r  # from the last level down, so that nothing is overwritten before it is used
            at = start + i * n_inner
            u = U[i, i]
            for c in range(n_inner):
                x[index(at + c)] *= u
            for group in range(i // 4):
                k = 4 * group
                u0, u1, u2, u3 = U[k, i], U[k + 1, i], U[k + 2, i], U[k + 3, i]
                a0 = start + k * n_inner
                a1, a2, a3 = a0 + n_inner, a0 + 2 * n_inner, a0 + 3 * n_inner
                for c in range(n_inner):
                    x[index(at + c)] += u0 * x[index(a0 + c)] + u1 * x[index(a1 + c)] + u2 * x[index(a2 + c)] + u3 * x[index(a3 + c)]
            for k in range(i // 4 * 4, i):
                u = U[k, i]
                a0 = start + k * n_inner
                for c in range(n_inner):
                    x[index(at + c)] += u * x[index(a0 + c)]


@inlined(fast=True)
def multiply_last(x, U, n_levels, n_outer, row):
    """As `multiply_rows`, along the last axis, where whole rows of U can be added up; U must be zero below its diagonal."""
    for o in range(n_outer):
        start = o * n_levels
        for c in range(n_levels):
            row[c] = 0.0
        for group in range(n_levels // 4):
            k = 4 * group
            x0, x1, x2, x3 = x[start + k], x[start + k + 1], x[start + k + 2], x[start + k + 3]
            for c in range(index(k), index(n_levels)):
                row[c] += x0 * U[k, c] + x1 * U[k + 1, c] + x2 * U[k + 2, c] + x3 * U[k + 3, c]
        for k in range(n_levels // 4 * 4, n_levels):
            x0 = x[start + k]
            for c in range(index(k), index(n_levels)):
                row[c] += x0 * U[k, c]
        for c in range(n_levels):
            x[index(start + c)] = row[c]


@inlined(fast=True)
def posterior_weights(W, beta, residual, v):
    """v (n,) = W^T (beta - W residual), which is K^-1 (y - residual)."""
    n = beta.size
    for i in range(n):
        v[i] = 0.0
    for i in range(n):
        t = beta[i]
        for a in range(i + 1):
            t -= W[i, a] * residual[a]
        for a in range(index(i + 1)):
            v[a] += t * W[i, a]


@compiled(fast=True)
def sample_grid(theta, codes, cells, noise, W, beta, shape, level_starts, kinds, family, z_levels, weight_normals, noise_normals, x):
    """Turn standard normals x (S, cells of the grid) into samples of the posterior, in place; product form only.

    codes (n, d) and cells (n,) say where the observations are, by levels and in the grid; noise (n,) holds their variances; weight_normals
    (S, 1 + d) and noise_normals (S, n) are standard normals too. Returns 0, or 1 + the knob whose level covariance could not be factored.
    """
    n, d = codes.shape
    n_samples, n_cells = x.shape
    widest = 1
    for a in range(d):
        widest = max(widest, shape[a])
    U = np.zeros((d, widest, widest))  # of each knob's levels, L^T
    row = np.empty(widest)
    for a in range(d):
        size = shape[a]
        own = np.empty(size, dtype=np.int64)
        for i in range(size):
            own[i] = i
        level_correlations(theta[a], level_starts[a], level_starts[a + 1], kinds[a], family, z_levels, own, U[a])
        for i in range(size):
            U[a, i, i] += LEVEL_JITTER
            for j in range(i):
                U[a, i, j] = 0.0
        if factor(U[a], size, size) != 0:
            return a + 1
    # tables over the inner knobs (the last ones, which vary fastest)
    first_inner = d
    n_inner = 1
    while first_inner > 0 and n_inner < MIN_INNER:
        first_inner -= 1
        n_inner *= shape[first_inner]
    corr = np.empty((n, z_levels.size))
    for a in range(d):
        own, part = np.empty(n, dtype=np.int64), np.empty((n, shape[a]))
        for i in range(n):
            own[i] = codes[i, a]
        level_correlations(theta[a], level_starts[a], level_starts[a + 1], kinds[a], family, z_levels, own, part)
        for i in range(n):
            for t in range(shape[a]):
                corr[i, level_starts[a] + t] = part[i, t]
    signal_std, trend_std = math.exp(0.5 * theta[d]), math.exp(0.5 * theta[d + 2])
    inner_corr = np.empty((n, n_inner))
    for i in range(n):
        for c in range(n_inner):
            rest = c
            product = signal_std * signal_std
            for a in range(d - 1, first_inner - 1, -1):
                product *= corr[i, level_starts[a] + rest % shape[a]]
                rest //= shape[a]
            inner_corr[i, c] = product
    centred = np.zeros((d, widest))
    for a in range(d):
        if kinds[a] != CATEGORICAL:
            for t in range(shape[a]):
                centred[a, t] = z_levels[level_starts[a] + t] - 0.5
    residual, v, scaled = np.empty(n), np.empty(n), np.empty(n)
    slope = np.empty(d)
    inner_trend = np.empty(n_inner)
    outer = np.zeros(d, dtype=np.int64)
    for s in range(n_samples):
        # the prior's correlated part
        stride = n_cells
        for a in range(d):
            stride //= shape[a]
            if stride == 1:
                multiply_last(x[s], U[a], shape[a], n_cells // shape[a], row)
            else:
                multiply_rows(x[s], U[a], shape[a], n_cells // (shape[a] * stride), stride)
        # Matheron's rule
        constant = weight_normals[s, 0]
        for a in range(d):
            slope[a] = trend_std * weight_normals[s, 1 + a]
        for i in range(n):
            t = constant + signal_std * x[s, cells[i]] + math.sqrt(noise[i]) * noise_normals[s, i]
            for a in range(d):
                t += slope[a] * centred[a, codes[i, a]]
            residual[i] = t
        posterior_weights(W, beta, residual, v)
        # constant and trend depend on few weights: update those instead of every cell
        for i in range(n):
            constant += v[i]
            for a in range(d):
                slope[a] += trend_std * trend_std * centred[a, codes[i, a]] * v[i]
        for c in range(n_inner):
            rest = c
            total = 0.0
            for a in range(d - 1, first_inner - 1, -1):
                total += slope[a] * centred[a, rest % shape[a]]
                rest //= shape[a]
            inner_trend[c] = total
        for a in range(d):
            outer[a] = 0
        for o in range(n_cells // n_inner):
            start = o * n_inner
            base = constant
            for a in range(first_inner):
                base += slope[a] * centred[a, outer[a]]
            for i in range(n):
                t = v[i]
                for a in range(first_inner):
                    t *= corr[i, level_starts[a] + outer[a]]
                scaled[i] = t
            for c in range(n_inner):
                x[s, index(start + c)] = signal_std * x[s, index(start + c)] + base + inner_trend[c]
            for group in range(n // 4):
                i = 4 * group
                v0, v1, v2, v3 = scaled[i], scaled[i + 1], scaled[i + 2], scaled[i + 3]
                for c in range(n_inner):
                    x[s, index(start + c)] += (
                        v0 * inner_corr[i, c] + v1 * inner_corr[i + 1, c] + v2 * inner_corr[i + 2, c] + v3 * inner_corr[i + 3, c]
                    )
            for i in range(n // 4 * 4, n):
                v0 = scaled[i]
                for c in range(n_inner):
                    x[s, index(start + c)] += v0 * inner_corr[i, c]
            for a in range(first_inner - 1, -1, -1):
                outer[a] += 1
                if outer[a] < shape[a]:
                    break
                outer[a] = 0
    return 0


@compiled(fast=True)
def joint_posterior(theta, codes, W, beta, codes_new, level_starts, kinds, form, family, z_levels, mean, covariance):
    """Posterior mean (m,) and the upper triangle of the covariance (m, m) of the latent function at codes_new (m, d)."""
    n, d = codes.shape
    m = codes_new.shape[0]
    x, x_new, point = np.empty((d, n)), np.empty((d, m)), np.empty(d)
    fill_coordinates(codes, n, level_starts, kinds, z_levels, x)
    fill_coordinates(codes_new, m, level_starts, kinds, z_levels, x_new)
    inverse_lengthscales = inverse_exp(theta, d)
    signal, trend = math.exp(theta[d]), math.exp(theta[d + 2])
    k, scratch, difference = np.empty(n), np.empty((3, n)), np.empty((d, n))
    bits = scratch[2].view(np.int64)
    k_new, scratch_new, difference_new = np.empty(m), np.empty((3, m)), np.empty((d, m))
    bits_new = scratch_new[2].view(np.int64)
    v = np.empty((n, m))
    for c in range(m):
        fill_point(codes_new, c, level_starts, kinds, z_levels, point)
        prior_covariances(x, point, kinds, inverse_lengthscales, signal, trend, form, family, k, scratch, difference, bits)
        mean[c] = 0.0
        for i in range(n):
            t = 0.0
            for a in range(i + 1):
                t += W[i, a] * k[a]
            v[i, c] = t
            mean[c] += t * beta[i]
    for r in range(m):
        fill_point(codes_new, r, level_starts, kinds, z_levels, point)
        prior_covariances(
            x_new, point, kinds, inverse_lengthscales, signal, trend, form, family, k_new, scratch_new, difference_new, bits_new
        )
        for c in range(index(r), index(m)):
            covariance[r, c] = k_new[c]
        covariance[r, r] = prior_variance(point, kinds, signal, trend)
        for i in range(n):
            own = v[i, r]
            for c in range(index(r), index(m)):
                covariance[r, c] -= own * v[i, c]
