"""The acquisition in two ways: exactly at one cell, and as an upper bound for a whole tile in single precision, which rules most cells out.

log Phi and log h are split into  -quad + log(rest), where quad is half the square of a negative argument and rest is of moderate size, so
that a cell takes one logarithm however many bounds there are. The upper bound is above the exact value, by less than 1e-4 + 1e-5 quad (a
test holds it to that): a cell whose upper bound is not above the best value found can't be the best, and the others are computed exactly.

S samples (of the hyperparameters, or whole other models) give S values each; the acquisition is their weighted mean of EI * P. Arrays are
over samples, bounds: objective, best (S,); bound_model, bound_limit (S, J); bound_sign, bound_extra (J,). log_shares (2, S) holds the
logarithms of each sample's weight, as a multiple of 1 / S, and of the unit of its improvement; all 0 for samples that count the same.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.normal import INV_SQRT_2PI, log_ei, log_ndtr
from bayestuner._core.options import inlined
from bayestuner._core.vector_math import F32, HALF, ONE, TINY, exp32, log32, shortfall32, tail32

EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE = 0, 1, 2

ZERO = F32(0.0)
DENSITY = F32(INV_SQRT_2PI)
FARTHEST = F32(1e3)  # for a larger argument the tail's value at this one serves as the upper bound
SHRINK = F32(1.0 - 4e-6)  # relative rounding error of a sum of squares in single precision: the bound must stay an upper one
MARGIN = F32(1e-5)  # absolute error of log32, for the same reason
CLOSE = F32(1.0 - 2e-4)  # allows for the relative error of miss, whose exponent may be as large as 80
LARGEST = F32(1e36)
UNDERFLOW = F32(80.0)  # for larger exponents exp32 is not accurate
LOWEST = F32(-3e38)
INFINITE = F32(np.inf)
ROUNDING = F32(2e-6)


@inlined(fast=True)
def screen_bound(m, mean, variance, sign, limit, extra, width, quad, rest, miss):
    """Multiply in Phi(sign (mean - limit) / sqrt(variance + extra)) of model m at every cell of a tile.

    miss gets the sum of 1 - Phi over the bounds that are more likely met than not.
    """
    for c in range(width):
        z = np.float32(sign * (mean[m, c] - limit)) / math.sqrt(np.float32(variance[m, c] + extra))
        half_square = min(HALF * z * z, LARGEST)
        tail = DENSITY * tail32(min(abs(z), FARTHEST))
        x = exp32(-half_square) * tail
        rest[c] *= tail if z < ZERO else ONE - x
        miss[c] += x if z >= ZERO and half_square < UNDERFLOW else ZERO
        quad[c] += half_square if z < ZERO else ZERO


@inlined(fast=True)
def screen_improvement(m, mean, variance, best, width, quad, rest):
    """Multiply in the expected improvement on `best` by model m at every cell of a tile."""
    for c in range(width):
        std = math.sqrt(np.float32(variance[m, c]))
        u = np.float32(best - mean[m, c]) / std
        half_square = min(HALF * u * u, LARGEST)
        short = DENSITY * shortfall32(min(abs(u), FARTHEST))
        rest[c] *= std * (short if u < ZERO else u + exp32(-half_square) * short)
        quad[c] += half_square if u < ZERO else ZERO


@inlined(fast=True)
def join(quad, rest, width, upper):
    """The upper bound of -quad + log(rest)."""
    for c in range(width):
        upper[c] = MARGIN - SHRINK * quad[c] + log32(rest[c])


@inlined(fast=True)
def add_sample(upper, log_share, first, width, top, total):
    """Keep the maximum `top` and the sum `total` of exp(upper + log_share - top) over samples."""
    shift = np.float32(log_share)
    for c in range(width):
        value = max(upper[c] + shift, LOWEST)
        highest = value if first else max(top[c], value)
        total[c] = (ZERO if first else total[c] * exp32(top[c] - highest)) + exp32(value - highest)
        top[c] = highest


@inlined(fast=True)
def mean_of_samples(top, total, n_samples, width, upper):
    """The upper bound of the logarithm of the mean over samples."""
    shift = np.float32(MARGIN - math.log(n_samples))
    for c in range(width):
        upper[c] = top[c] + log32(total[c]) + shift


@inlined(fast=True)
def screen_lowest(m, mean, known, share, width, size, upper):
    """Add to `upper` minus the objective's mean times `share`, one sample's weight; `size` sums its magnitude, for the rounding error."""
    for c in range(width):
        value = np.float32(mean[m, c] if m >= 0 else known[c]) * share
        size[c] += abs(value)
        upper[c] -= value


@inlined(fast=True, optimised=True)
def screen(
    mode, width, mean, variance, known, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, min_log_p,
    quad, rest, miss, log_p, top_p, total_p, top, total, upper,
):  # fmt: skip
    """Fill upper (width,) with an upper bound of `value_at` at every cell of a tile.

    mean, variance (models, width); known (width,) where the objective is a knob. The single-precision arrays (width,) from quad to total
    are scratch.
    """
    n_samples = objective.size
    need_log_p = mode != EXPECTED_IMPROVEMENT or min_log_p > -1e299
    for s in range(n_samples):
        m = objective[s]
        for c in range(width):
            quad[c] = ZERO
            rest[c] = ONE
            miss[c] = ZERO
        for j in range(bound_sign.size):
            screen_bound(bound_model[s, j], mean, variance, bound_sign[j], bound_limit[s, j], bound_extra[j], width, quad, rest, miss)
        if need_log_p:
            join(quad, rest, width, log_p)
            for c in range(width):  # log P <= -miss: this bound tells cells apart that are almost certainly feasible
                log_p[c] = min(log_p[c], -CLOSE * miss[c])
            if n_samples > 1:
                add_sample(log_p, log_shares[0, s], s == 0, width, top_p, total_p)
        if mode == EXPECTED_IMPROVEMENT:
            if m >= 0:
                screen_improvement(m, mean, variance, best[s], width, quad, rest)
            else:
                for c in range(width):
                    rest[c] *= max(np.float32(best[s] - known[c]), TINY)
                    quad[c] += ZERO if best[s] > known[c] else INFINITE
            join(quad, rest, width, upper)
            if n_samples > 1:
                add_sample(upper, log_shares[0, s] + log_shares[1, s], s == 0, width, top, total)
    if n_samples > 1 and need_log_p:
        mean_of_samples(top_p, total_p, n_samples, width, log_p)
    if n_samples > 1 and mode == EXPECTED_IMPROVEMENT:
        mean_of_samples(top, total, n_samples, width, upper)
    if mode == LOWEST_MEAN:
        for c in range(width):
            quad[c] = TINY
            upper[c] = ZERO
        for s in range(n_samples):
            share = np.float32(math.exp(log_shares[0, s]) / n_samples)
            screen_lowest(objective[s], mean, known, share, width, quad, upper)
    if need_log_p:
        for c in range(width):
            value = log_p[c] if mode == MOST_FEASIBLE else (upper[c] + ROUNDING * quad[c] if mode == LOWEST_MEAN else upper[c])
            upper[c] = value if log_p[c] >= min_log_p else -INFINITE


@inlined()
def log_feasible(mean, variance, c, s, bound_model, bound_sign, bound_limit, bound_extra):
    """Sum over the bounds of log Phi at cell c of a tile, by sample s."""
    total = 0.0
    for j in range(bound_sign.size):
        m = bound_model[s, j]
        total += log_ndtr(bound_sign[j] * (mean[m, c] - bound_limit[s, j]) / math.sqrt(variance[m, c] + bound_extra[j]))
    return total


@inlined()
def add_log(total, value):
    """log(exp(total) + exp(value))."""
    if value == -math.inf:
        return total
    high, low = max(total, value), min(total, value)
    return high + math.log1p(math.exp(low - high))


@inlined()
def value_at(mode, mean, variance, known, c, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, min_log_p):
    """The value to maximise at cell c of a tile.

    mode EXPECTED_IMPROVEMENT: log of the mean over samples of EI * P; LOWEST_MEAN: minus the mean over samples of the mean;
    MOST_FEASIBLE: log of the mean of P. A cell whose log of the mean of P is below `min_log_p` is worth -inf. objective[s] < 0: the
    objective is known, `known` (width,), and its improvement certain. All means are weighted.
    """
    n_samples = objective.size
    total_p = total = -math.inf
    objective_mean = 0.0
    for s in range(n_samples):
        log_p = log_feasible(mean, variance, c, s, bound_model, bound_sign, bound_limit, bound_extra)
        total_p = add_log(total_p, log_p + log_shares[0, s])
        m = objective[s]
        if mode == EXPECTED_IMPROVEMENT:
            if m >= 0:
                gain = log_ei(mean[m, c], math.sqrt(variance[m, c]), best[s])
            else:
                gain = math.log(best[s] - known[c]) if known[c] < best[s] else -math.inf
            total = add_log(total, gain + log_p + (log_shares[0, s] + log_shares[1, s]))
        elif mode == LOWEST_MEAN:
            objective_mean += math.exp(log_shares[0, s]) * (mean[m, c] if m >= 0 else known[c]) / n_samples
    shift = math.log(n_samples)
    if total_p - shift < min_log_p:
        return -math.inf
    if mode == LOWEST_MEAN:
        return -objective_mean
    return (total if mode == EXPECTED_IMPROVEMENT else total_p) - shift
