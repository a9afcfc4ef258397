"""The maximum-a-posteriori fit of the hyperparameters theta: BFGS from several starts.

Steps are taken in the f free entries of theta (those without a fixed prior), each in units of its prior's standard deviation, so that the
prior's part of the Hessian is the identity.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.likelihood import make_problem, make_scratch, negative_log_posterior, posterior_gradient
from bayestuner._core.options import compiled, inlined

MAX_STEP = 2.0  # of any entry of theta: a factor of 7 in a lengthscale
N_HALVINGS = 12  # of a step, before the run ends
ARMIJO = 1e-4  # share of the predicted decrease that a step must bring (the Armijo condition)
FIRST_SCALE = 0.3  # of the first inverse Hessian; the prior alone would make it 1
SAME_MAXIMUM = 0.3  # prior standard deviations: a run this close, in every entry, to where an earlier one ended would end there too
MAX_DROP_RATIO = 4.0  # a run is given up that needs more than this times the decrease predicted by a quadratic model to become the best


@inlined()
def free_entries(prior_sd):
    """Indices of the entries of theta that are not fixed."""
    free = np.empty(prior_sd.size, dtype=np.int64)
    size = 0
    for a in range(prior_sd.size):
        if prior_sd[a] > 0.0:
            free[size] = a
            size += 1
    return free[:size]


@inlined()
def copy(source, target):
    """Copy element by element: `target[:] = source` would also compile the code of its error message, which takes seconds."""
    for a in range(source.size):
        target[a] = source[a]


@inlined()
def reset_metric(H):
    """Fill H (f, f), the inverse Hessian, with a multiple of what the prior alone would make it."""
    for a in range(H.shape[0]):
        for b in range(H.shape[0]):
            H[a, b] = FIRST_SCALE if a == b else 0.0


@inlined(fast=True)
def update_metric(H, s, change, Hc):
    """Update the inverse Hessian H (Nocedal and Wright 2006, eq. 6.17) after a step s (f,) that changed the gradient by `change` (f,).

    H stays as it is where the curvature along the step is not positive. Hc (f,) is scratch.
    """
    size = s.size
    curvature = 0.0
    for a in range(size):
        curvature += s[a] * change[a]
    if curvature <= 1e-10:
        return
    through = 0.0
    for a in range(size):
        Hc[a] = 0.0
        for b in range(size):
            Hc[a] += H[a, b] * change[b]
        through += change[a] * Hc[a]
    c = (1.0 + through / curvature) / curvature
    for a in range(size):
        for b in range(size):
            H[a, b] += c * s[a] * s[b] - (Hc[a] * s[b] + s[a] * Hc[b]) / curvature


@inlined(fast=True)
def downhill(H, g, step, sd, free):
    """Fill step (f,) = -H g, shortened to MAX_STEP; returns its slope g . step, which is negative where the step descends."""
    slope = 0.0
    longest = 0.0
    for a in range(g.size):
        step[a] = 0.0
        for b in range(g.size):
            step[a] -= H[a, b] * g[b]
        slope += step[a] * g[a]
        longest = max(longest, abs(step[a]) * sd[free[a]])
    if longest > MAX_STEP:
        share = MAX_STEP / longest
        slope *= share
        for a in range(g.size):
            step[a] *= share
    return slope


@inlined()
def distance(theta, other, sd, free):
    """The largest difference of two thetas in any free entry, in standard deviations of its prior."""
    far = 0.0
    for a in range(free.size):
        far = max(far, abs(theta[free[a]] - other[free[a]]) / sd[free[a]])
    return far


@compiled(fast=True)
def maximise_posterior(starts, codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family, max_iter, tol):
    """Minimise `negative_log_posterior` from each row of starts (s, p) by BFGS with backtracking.

    A run stops when a step lowered the value by less than `tol`, when the next is predicted to lower it by less than 2 `tol`, and when it
    can be foreseen that it will not end below an earlier run (SAME_MAXIMUM, MAX_DROP_RATIO). Runs after the first begin with the inverse
    Hessian that the one before ended with. Returns (theta, value, number of evaluations) of the best run; the value is +inf where no start
    had a positive definite K.
    """
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family)
    scratch = make_scratch(p)
    n_columns = scratch.U.shape[1]
    free = free_entries(prior_sd)
    size = free.size
    gradient = np.empty(prior_sd.size)
    g, g_new, step, Hc = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    H = np.empty((size, size))
    theta, trial = np.empty(prior_sd.size), np.empty(prior_sd.size)
    best_theta = starts[0].copy()
    best_value = math.inf
    n_eval = 0
    reset_metric(H)
    for start in range(starts.shape[0]):
        # one loop for the start and all steps from it, so that `negative_log_posterior` is compiled in only once
        for a in range(theta.size):
            theta[a] = starts[start, a]
            trial[a] = theta[a]
        value, slope, share = math.inf, 0.0, 0.0
        n_steps, n_halvings = 0, 0
        while n_steps <= max_iter:
            value_new = negative_log_posterior(trial, p, scratch, n_columns)
            n_eval += 1
            first = n_steps == 0
            if first and not value_new < math.inf:
                break
            if first or value_new <= value + ARMIJO * share * slope:
                posterior_gradient(trial, p, scratch, gradient)
                for a in range(size):
                    g_new[a] = gradient[free[a]] * prior_sd[free[a]]
                if not first:
                    for a in range(size):
                        step[a] *= share
                        g[a] = g_new[a] - g[a]
                    update_metric(H, step, g, Hc)
                drop = value - value_new
                value = value_new
                copy(trial, theta)
                copy(g_new, g)
                if drop < tol:
                    break
                slope = downhill(H, g, step, prior_sd, free)
                if slope > -4.0 * tol:  # a quadratic model drops by half the slope
                    break
                if best_value < math.inf and (
                    value + MAX_DROP_RATIO * 0.5 * slope > best_value or distance(theta, best_theta, prior_sd, free) < SAME_MAXIMUM
                ):
                    break
                n_steps += 1
                n_halvings, share = 0, 1.0
            else:
                n_halvings += 1
                share *= 0.5
                if n_halvings == N_HALVINGS:
                    break
            for a in range(size):
                trial[free[a]] = theta[free[a]] + share * step[a] * prior_sd[free[a]]
        if value < best_value:
            best_value = value
            copy(theta, best_theta)
    return best_theta, best_value, n_eval
