"""The negative log posterior of the hyperparameters with its gradient, and its minimisation by BFGS.

theta (2 d + 3,) holds logarithms of lengthscales (d,), signal_variance, noise_variance, trend_variance, then the warps (d,), which are no
logarithms. Each has a normal prior; a prior standard deviation of 0 keeps an entry fixed.

The likelihood is Rasmussen and Williams 2006, eq. 2.30, and its gradient eq. 5.9.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.cholesky import factor, invert
from bayestuner._core.covariance import CATEGORICAL, pair_gradient, warp_levels
from bayestuner._core.options import compiled, inlined

JITTER = 1e-10


@inlined()
def observation_noise(noise_variance, reps, known, i):
    """Variance of observation i's noise: the common one over its repeats, plus what is known of it."""
    return noise_variance / reps[i] + known[i]


@inlined(fast=True)
def negative_log_posterior(theta, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family, gradient, work):
    """-log p(y | theta) - log p(theta) up to a constant; fills `gradient` (p,). +inf where K is not positive definite.

    codes (n, d), y, reps, known (n,); `work` (3 + 2 d, n, n) is scratch.
    """
    n, d = codes.shape
    n_levels = levels.size
    z_levels = np.empty(n_levels)
    dz_levels = np.empty(n_levels)
    warp_levels(levels, starts, kinds, theta[d + 3 :], z_levels, dz_levels)
    z = np.empty((n, d))
    dz = np.empty((n, d))
    for i in range(n):
        for a in range(d):
            z[i, a] = z_levels[starts[a] + codes[i, a]]
            dz[i, a] = dz_levels[starts[a] + codes[i, a]]
    lengthscales = np.exp(theta[:d])
    signal = math.exp(theta[d])
    noise = math.exp(theta[d + 1])
    trend = math.exp(theta[d + 2])
    K, W, base = work[0], work[1], work[2]
    by_scale = np.empty(d)
    by_warp = np.empty(d)
    for i in range(n):
        for j in range(i + 1):
            linear = 0.0
            for a in range(d):
                if kinds[a] != CATEGORICAL:
                    linear += (z[i, a] - 0.5) * (z[j, a] - 0.5)
            k = pair_gradient(z[i], z[j], dz[i], dz[j], codes[i], codes[j], kinds, lengthscales, form, family, by_scale, by_warp)
            K[i, j] = signal * k + 1.0 + trend * linear
            base[i, j] = signal * k
            base[j, i] = trend * linear  # the upper triangle carries the trend; the diagonal's is recomputed below
            for a in range(d):
                work[3 + a, i, j] = signal * by_scale[a]
                slope = 0.0
                if kinds[a] != CATEGORICAL:
                    slope = trend * (dz[i, a] * (z[j, a] - 0.5) + (z[i, a] - 0.5) * dz[j, a])
                work[3 + d + a, i, j] = signal * by_warp[a] + slope
        base[i, i] = signal
        K[i, i] += observation_noise(noise, reps, known, i) + JITTER
    if factor(K, n) != 0:
        gradient[:] = 0.0
        return math.inf
    invert(K, W, n)
    value = 0.0
    half = np.empty(n)
    for i in range(n):
        t = 0.0
        for a in range(i + 1):
            t += W[i, a] * y[a]
        half[i] = t
        value += 0.5 * t * t + math.log(K[i, i])
    alpha = np.zeros(n)
    for i in range(n):
        for a in range(i + 1):
            alpha[a] += W[i, a] * half[i]
    # weights of dK in the gradient: (K^-1 - alpha alpha^T) / 2, the lower triangle counted twice; K's storage takes them
    for i in range(n):
        for j in range(i + 1):
            K[i, j] = 0.0
    for k_row in range(n):
        for i in range(k_row + 1):
            w = W[k_row, i]
            for j in range(i + 1):
                K[i, j] += w * W[k_row, j]
    for i in range(n):
        for j in range(i):
            K[i, j] -= alpha[i] * alpha[j]
        K[i, i] = 0.5 * (K[i, i] - alpha[i] * alpha[i])
    gradient[:] = 0.0
    for a in range(d):
        by_l = 0.0
        by_w = 0.0
        for i in range(n):
            for j in range(i + 1):
                by_l += K[i, j] * work[3 + a, i, j]
                by_w += K[i, j] * work[3 + d + a, i, j]
        gradient[a] = by_l
        gradient[d + 3 + a] = by_w
    by_signal = 0.0
    by_noise = 0.0
    by_trend = 0.0
    for i in range(n):
        for j in range(i + 1):
            by_signal += K[i, j] * base[i, j]
            if j < i:
                by_trend += K[i, j] * base[j, i]
        linear = 0.0
        for a in range(d):
            if kinds[a] != CATEGORICAL:
                linear += (z[i, a] - 0.5) * (z[i, a] - 0.5)
        by_trend += K[i, i] * trend * linear
        by_noise += K[i, i] * noise / reps[i]
    gradient[d] = by_signal
    gradient[d + 1] = by_noise
    gradient[d + 2] = by_trend
    for p in range(theta.size):
        if prior_sd[p] > 0.0:
            t = (theta[p] - prior_mean[p]) / prior_sd[p]
            value += 0.5 * t * t
            gradient[p] += t / prior_sd[p]
        else:
            gradient[p] = 0.0
    return value


@compiled(fast=True)
def objective(theta, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family):
    """`negative_log_posterior` and its gradient, for tests and for sampling: returns (value, gradient)."""
    n, d = codes.shape
    gradient = np.empty(theta.size)
    work = np.empty((3 + 2 * d, n, n))
    value = negative_log_posterior(theta, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family, gradient, work)
    return value, gradient


MAX_STEP = 2.0  # in any coordinate: a factor of 7 in a lengthscale
N_HALVINGS = 12
ARMIJO = 1e-4


@inlined()
def reset_metric(H, prior_sd):
    """Start BFGS with the prior's own scale; fixed entries get no step."""
    H[:] = 0.0
    for p in range(prior_sd.size):
        H[p, p] = 0.3 * prior_sd[p] * prior_sd[p]


@inlined(fast=True)
def update_metric(H, s, g_change):
    """The BFGS update of the inverse Hessian (Nocedal and Wright 2006, eq. 6.17), left out where curvature is not positive."""
    curvature = np.dot(s, g_change)
    if curvature <= 1e-10:
        return
    Hg = H @ g_change
    c = (1.0 + np.dot(g_change, Hg) / curvature) / curvature
    for a in range(s.size):
        for b in range(s.size):
            H[a, b] += c * s[a] * s[b] - (Hg[a] * s[b] + s[a] * Hg[b]) / curvature


@compiled(fast=True)
def maximise_posterior(starts_theta, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family, max_iter, tol):
    """Minimise `negative_log_posterior` from each row of starts_theta (s, p) by BFGS with backtracking.

    Stops a run when a step lowers the value by less than `tol`. Returns (theta, value, number of evaluations) of the best run; the value
    is +inf where no start gave a positive definite K.
    """
    n, d = codes.shape
    size = starts_theta.shape[1]
    work = np.empty((3 + 2 * d, n, n))
    g = np.empty(size)
    g_new = np.empty(size)
    H = np.empty((size, size))
    best_theta = starts_theta[0].copy()
    best_value = math.inf
    n_eval = 0
    for start in range(starts_theta.shape[0]):
        theta = starts_theta[start].copy()
        value = negative_log_posterior(theta, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family, g, work)
        n_eval += 1
        if not value < math.inf:
            continue
        reset_metric(H, prior_sd)
        for _ in range(max_iter):
            step = -(H @ g)
            slope = np.dot(step, g)
            if slope >= 0.0:
                reset_metric(H, prior_sd)
                step = -(H @ g)
                slope = np.dot(step, g)
                if slope >= 0.0:
                    break
            longest = np.max(np.abs(step))
            if longest > MAX_STEP:
                step *= MAX_STEP / longest
                slope *= MAX_STEP / longest
            share = 1.0
            accepted = False
            trial = theta
            value_new = value
            for _ in range(N_HALVINGS):
                trial = theta + share * step
                value_new = negative_log_posterior(
                    trial, codes, y, reps, known, levels, starts, kinds, prior_mean, prior_sd, form, family, g_new, work
                )
                n_eval += 1
                if value_new <= value + ARMIJO * share * slope:
                    accepted = True
                    break
                share *= 0.5
            if not accepted:
                break
            drop = value - value_new
            update_metric(H, trial - theta, g_new - g)
            theta = trial
            value = value_new
            g[:] = g_new
            if drop < tol:
                break
        if value < best_value:
            best_value = value
            best_theta = theta
    return best_theta, best_value, n_eval
