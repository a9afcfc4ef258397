"""The posterior of the hyperparameters around its mode: slice samples of it, its values, and its Hessian.

As in the fit, free entries of theta are measured in standard deviations of their priors. Compiled when first used, not in the warm-up.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.bfgs import copy, free_entries
from bayestuner._core.likelihood import make_problem, make_scratch, negative_log_posterior, posterior_gradient
from bayestuner._core.options import compiled, inlined

MAX_STEPS_OUT = 8  # of the slice's interval, which begins one prior standard deviation wide
MAX_SHRINKS = 60  # of that interval, before the entry keeps its value
TO_UNIT = 2.0**-53


@inlined()
def next_uniform(state):
    """A number in (0, 1) from an xorshift generator (Marsaglia 2003); state (1,) of uint64, never 0, is advanced."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return (np.float64(x >> np.uint64(11)) + 0.5) * TO_UNIT


@inlined()
def value_along(entry, t, sd, theta, trial, p, s):
    """The negative log posterior with one entry of theta moved by t prior standard deviations; +inf for NaN."""
    trial[entry] = theta[entry] + t * sd
    value = negative_log_posterior(trial, p, s, p.y.size + 1)
    return value if value < math.inf else math.inf


@inlined()
def move_along(entry, value, sd, state, theta, trial, p, s):
    """Sample one entry of theta given the others, by stepping out and shrinkage (Neal 2003, figures 3 and 5).

    Returns the new negative log posterior.
    """
    ceiling = value - math.log(next_uniform(state))
    left = -next_uniform(state)
    right = left + 1.0
    to_left = int(MAX_STEPS_OUT * next_uniform(state))
    to_right = MAX_STEPS_OUT - 1 - to_left
    # one loop for both ends (stages 0 and 1) and the candidates (stage 2), so that `value_along` is compiled in only once
    stage = 0
    for _ in range(MAX_STEPS_OUT + MAX_SHRINKS):
        if stage == 0 and to_left <= 0:
            stage = 1
        if stage == 1 and to_right <= 0:
            stage = 2
        t = left if stage == 0 else right if stage == 1 else left + next_uniform(state) * (right - left)
        inside = value_along(entry, t, sd, theta, trial, p, s)
        if stage == 0:
            left, to_left = (left - 1.0, to_left - 1) if inside < ceiling else (left, 0)
        elif stage == 1:
            right, to_right = (right + 1.0, to_right - 1) if inside < ceiling else (right, 0)
        elif inside < ceiling:
            theta[entry] = trial[entry]
            return inside
        elif t < 0.0:
            left = t
        else:
            right = t
    trial[entry] = theta[entry]  # the interval has shrunk to nothing around where it began
    return value


@compiled(fast=True)
def slice_sample(
    theta, burn_in, thin, seed, codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family, out
):  # fmt: skip
    """Fill out (S, p) with samples of theta's posterior, one after every `thin` sweeps over its free entries, after `burn_in` sweeps.

    Starts at theta (p,), which is not changed. Returns 0, or 1 where K is not positive definite there.
    """
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family)
    s = make_scratch(p)
    free = free_entries(prior_sd)
    here, trial = theta.copy(), theta.copy()
    value = negative_log_posterior(here, p, s, y.size + 1)
    if not value < math.inf:
        return 1
    state = np.empty(1, dtype=np.uint64)
    state[0] = seed
    for sweep in range(burn_in + thin * out.shape[0]):
        for a in range(free.size):
            value = move_along(free[a], value, prior_sd[free[a]], state, here, trial, p, s)
        done = sweep + 1 - burn_in
        if done > 0 and done % thin == 0:
            copy(here, out[done // thin - 1])
    return 0


@compiled(fast=True)
def posterior_values(thetas, codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family, out):
    """Fill out (S,) with the negative log posterior at each row of thetas (S, p)."""
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family)
    s = make_scratch(p)
    for i in range(out.size):
        out[i] = negative_log_posterior(thetas[i], p, s, y.size + 1)


@compiled(fast=True)
def posterior_hessian(theta, step, codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family, out):
    """Fill out (f, f), in prior standard deviations of the free entries, by central differences of the gradient.

    Returns 0, or 1 where K is not positive definite somewhere on the way.
    """
    p = make_problem(codes, y, reps, known_noise, levels, level_starts, kinds, prior_mean, prior_sd, form, family)
    s = make_scratch(p)
    free = free_entries(prior_sd)
    trial, gradient = theta.copy(), np.empty(theta.size)
    for a in range(free.size):
        for b in range(free.size):
            out[a, b] = 0.0
    for side in range(2 * free.size):
        a = side // 2
        h = step if side % 2 == 0 else -step
        trial[free[a]] = theta[free[a]] + h * prior_sd[free[a]]
        if not negative_log_posterior(trial, p, s, s.U.shape[1]) < math.inf:
            return 1
        posterior_gradient(trial, p, s, gradient)
        trial[free[a]] = theta[free[a]]
        for b in range(free.size):  # entries (a, b) and (b, a) each get half of every difference
            t = gradient[free[b]] * prior_sd[free[b]] / (4.0 * h)
            out[a, b] += t
            out[b, a] += t
    return 0
