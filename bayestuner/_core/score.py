"""Log constrained expected improvement of every cell of the grid, and its exact argmax, without an array per cell.

Several posteriors (one per metric, and one for viability) are scored together. A block of cells is scored at a time:

    cross-covariances  (n, block)  ->  v = W k  ->  mean = v.beta, variance = prior - v.v  ->  acquisition  ->  best cell so far

On a product grid a cell is an outer part (leading knobs) and an inner part (trailing knobs), and in the product form its covariance with
an observation is a product of one entry for each: no distance and no exponential is computed per cell.

Per bound j on model m, with limit t and sign s: log Phi(s (mean - t) / sqrt(variance + extra)) is added. `extra` is 1 for the viability
model's probit, else 0. The objective's part is log EI below `best`, or nothing where there is no objective model.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.covariance import CATEGORICAL, PRODUCT, correlation
from bayestuner._core.normal import log_ei, log_h, log_ndtr
from bayestuner._core.options import compiled, inlined

BLOCK = 256
MIN_VARIANCE = 1e-12

EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE = 0, 1, 2


@inlined()
def observation_tables(theta, codes, starts, kinds, form, family, z_levels, corr, linear, prior_linear):
    """Per observation and level: the knob's part of the correlation and of the trend.

    corr, linear (n, sum of L): in product form the factor f, in ard form the addend u^2 / l^2; linear holds
    trend_variance (z - 1/2)(z' - 1/2). prior_linear (sum of L,) holds trend_variance (z - 1/2)^2.
    """
    n, d = codes.shape
    trend = math.exp(theta[d + 2])
    for a in range(d):
        scale = math.exp(theta[a])
        for t in range(starts[a], starts[a + 1]):
            centred = z_levels[t] - 0.5
            prior_linear[t] = 0.0 if kinds[a] == CATEGORICAL else trend * centred * centred
            for i in range(n):
                own = starts[a] + codes[i, a]
                if kinds[a] == CATEGORICAL:
                    linear[i, t] = 0.0
                    s = 0.0 if own == t else 1.0 / scale
                    corr[i, t] = math.exp(-s) if form == PRODUCT else s * s
                else:
                    linear[i, t] = trend * centred * (z_levels[own] - 0.5)
                    u = (z_levels[own] - z_levels[t]) / scale
                    corr[i, t] = correlation(u * u, family)[0] if form == PRODUCT else u * u


@inlined()
def join_tables(table, starts, first, last, form_product, out):
    """Combine the tables of knobs first..last-1 (n, sum of L) into one over their product, out (n, prod of L), last knob fastest."""
    n = table.shape[0]
    for i in range(n):
        size = 1
        out[i, 0] = 1.0 if form_product else 0.0
        for a in range(first, last):
            n_levels = starts[a + 1] - starts[a]
            for s in range(size - 1, -1, -1):
                value = out[i, s]
                for t in range(n_levels - 1, -1, -1):
                    entry = table[i, starts[a] + t]
                    out[i, s * n_levels + t] = value * entry if form_product else value + entry
            size *= n_levels


@inlined(fast=True)
def solve_block(k, W, beta, n, width, prior, mean, variance, v):
    """Mean and variance (width,) of a block from its cross-covariances k (n, width) and prior variances (width,)."""
    for c in range(width):
        mean[c] = 0.0
        variance[c] = prior[c]
    for i in range(n):
        for c in range(width):
            v[c] = 0.0
        a = 0
        while a + 4 <= i + 1:
            w0, w1, w2, w3 = W[i, a], W[i, a + 1], W[i, a + 2], W[i, a + 3]
            k0, k1, k2, k3 = k[a], k[a + 1], k[a + 2], k[a + 3]
            for c in range(width):
                v[c] += w0 * k0[c] + w1 * k1[c] + w2 * k2[c] + w3 * k3[c]
            a += 4
        while a <= i:
            w0 = W[i, a]
            k0 = k[a]
            for c in range(width):
                v[c] += w0 * k0[c]
            a += 1
        b = beta[i]
        for c in range(width):
            mean[c] += b * v[c]
            variance[c] -= v[c] * v[c]
    for c in range(width):
        variance[c] = max(variance[c], MIN_VARIANCE)


@inlined()
def ceiling(table, u):
    """An upper bound of a rising function from its values at u = -8, -8 + 1/64, ... 8; +inf above 8."""
    position = math.floor((u + 8.0) * 64.0) + 1
    if position <= 0:
        return table[0]
    if position >= table.size:
        return math.inf
    return table[position]


@inlined()
def log_feasible(mean, variance, c, bound_model, bound_sign, bound_limit, bound_extra):
    """Sum over the bounds of log Phi at cell c of a block; mean, variance (models, block)."""
    total = 0.0
    for j in range(bound_model.size):
        m = bound_model[j]
        total += log_ndtr(bound_sign[j] * (mean[m, c] - bound_limit[j]) / math.sqrt(variance[m, c] + bound_extra[j]))
    return total


@inlined()
def acquisition(
    mode,
    mean,
    variance,
    c,
    best,
    objective,
    known,
    bound_model,
    bound_sign,
    bound_limit,
    bound_extra,
    log_floor,
    top,
    log_h_ceiling,
    log_ndtr_ceiling,
):
    """The value to maximise at cell c, or -inf where it is known to be no more than `top` (then it isn't worked out).

    mode EXPECTED_IMPROVEMENT: log EI + log P; LOWEST_MEAN: -mean where log P >= log_floor, else -inf; MOST_FEASIBLE: log P. A cell whose
    log P is below `log_floor` is never better than -inf. objective < 0: the objective is known, `known`, and not modelled.
    """
    log_p_ceiling = 0.0
    for j in range(bound_model.size):
        m = bound_model[j]
        z = bound_sign[j] * (mean[m, c] - bound_limit[j]) / math.sqrt(variance[m, c] + bound_extra[j])
        log_p_ceiling += min(ceiling(log_ndtr_ceiling, z), 0.0)
    if log_p_ceiling < log_floor:
        return -math.inf
    value = 0.0
    if mode == EXPECTED_IMPROVEMENT and objective < 0:
        value = math.log(best - known) if known < best else -math.inf
        if value + log_p_ceiling <= top:
            return -math.inf
    elif mode == EXPECTED_IMPROVEMENT:
        std = math.sqrt(variance[objective, c])
        u = (best - mean[objective, c]) / std
        if log_p_ceiling + math.log(std) + ceiling(log_h_ceiling, u) <= top:
            return -math.inf
        value = log_ei(mean[objective, c], std, best)
    elif mode == LOWEST_MEAN:
        value = -mean[objective, c] if objective >= 0 else -known
        if value <= top:
            return -math.inf
    elif log_p_ceiling <= top:
        return -math.inf
    log_p = log_feasible(mean, variance, c, bound_model, bound_sign, bound_limit, bound_extra)
    if log_p < log_floor:
        return -math.inf
    return value if mode == LOWEST_MEAN else value + log_p


@compiled(fast=True)
def score(
    mode, first, last, table, shape, starts, kinds, skip, n_obs, codes, theta, z_levels, W, beta, form, family,
    objective, known, best, bound_model, bound_sign, bound_limit, bound_extra, log_floor, n_inner_knobs, log_h_ceiling, log_ndtr_ceiling,
    out_mean, out_variance,
):  # fmt: skip
    """Score rows first..last-1 and return (row, value) of the best one not in `skip`; (-1, -inf) where none has a value above -inf.

    Ties go to the lowest row. table (n_rows, d) int32 lists the rows, or has no rows for a product grid of the given shape (d,).
    n_obs (models,); codes (models, n, d); theta (models, p); z_levels (models, sum of L); W (models, n, n); beta (models, n);
    form, family (models,). objective: its model, or -1 where known (n_rows,) holds it. bound_* (bounds,).
    Where out_mean and out_variance (models, last - first) are not empty, they are filled.
    """
    n_models, n_max, d = codes.shape
    n_levels = z_levels.shape[1]
    listed = table.shape[0] > 0
    inner = 1
    for a in range(d - n_inner_knobs, d):
        inner *= shape[a]
    if listed:
        inner = 1
    corr = np.empty((n_models, n_max, n_levels))
    linear = np.empty((n_models, n_max, n_levels))
    prior_linear = np.empty((n_models, 1, n_levels))
    corr_inner = np.empty((n_models, n_max, inner))
    linear_inner = np.empty((n_models, n_max, inner))
    prior_inner = np.empty((n_models, 1, inner))
    signal = np.empty(n_models)
    for m in range(n_models):
        n = n_obs[m]
        observation_tables(theta[m], codes[m, :n], starts, kinds, form[m], family[m], z_levels[m], corr[m], linear[m], prior_linear[m, 0])
        signal[m] = math.exp(theta[m, d])
        if not listed:
            join_tables(corr[m, :n], starts, d - n_inner_knobs, d, form[m] == PRODUCT, corr_inner[m])
            join_tables(linear[m, :n], starts, d - n_inner_knobs, d, False, linear_inner[m])
            join_tables(prior_linear[m], starts, d - n_inner_knobs, d, False, prior_inner[m])
    k = np.empty((n_max, BLOCK))
    v = np.empty(BLOCK)
    prior = np.empty(BLOCK)
    mean = np.empty((n_models, BLOCK))
    variance = np.empty((n_models, BLOCK))
    outer_codes = np.zeros(d, dtype=np.int64)
    best_row = -1
    best_value = -math.inf
    row = first
    while row < last:
        offset = row % inner
        width = min(BLOCK, last - row) if listed else min(BLOCK, last - row, inner - offset)
        if not listed:
            rest = row // inner
            for a in range(d - n_inner_knobs - 1, -1, -1):
                outer_codes[a] = rest % shape[a]
                rest //= shape[a]
        for m in range(n_models):
            n = n_obs[m]
            product = form[m] == PRODUCT
            if listed:
                for c in range(width):
                    prior[c] = signal[m] + 1.0
                    for a in range(d):
                        prior[c] += prior_linear[m, 0, starts[a] + table[row + c, a]]
                for i in range(n):
                    for c in range(width):
                        s = 1.0 if product else 0.0
                        t = 1.0
                        for a in range(d):
                            at = starts[a] + table[row + c, a]
                            s = s * corr[m, i, at] if product else s + corr[m, i, at]
                            t += linear[m, i, at]
                        k[i, c] = signal[m] * (s if product else correlation(s, family[m])[0]) + t
            else:
                base = signal[m] + 1.0
                for a in range(d - n_inner_knobs):
                    base += prior_linear[m, 0, starts[a] + outer_codes[a]]
                for c in range(width):
                    prior[c] = base + prior_inner[m, 0, offset + c]
                for i in range(n):
                    s = signal[m] if product else 0.0
                    t = 1.0
                    for a in range(d - n_inner_knobs):
                        at = starts[a] + outer_codes[a]
                        s = s * corr[m, i, at] if product else s + corr[m, i, at]
                        t += linear[m, i, at]
                    if product:
                        for c in range(width):
                            k[i, c] = s * corr_inner[m, i, offset + c] + (t + linear_inner[m, i, offset + c])
                    else:
                        for c in range(width):
                            f = correlation(s + corr_inner[m, i, offset + c], family[m])[0]
                            k[i, c] = signal[m] * f + (t + linear_inner[m, i, offset + c])
            solve_block(k, W[m], beta[m], n, width, prior, mean[m], variance[m], v)
        if out_mean.shape[1] > 0:
            for m in range(n_models):
                for c in range(width):
                    out_mean[m, row - first + c] = mean[m, c]
                    out_variance[m, row - first + c] = variance[m, c]
        for c in range(width):
            if skip[row + c]:
                continue
            known_value = known[row + c] if objective < 0 else 0.0
            value = acquisition(
                mode, mean, variance, c, best, objective, known_value, bound_model, bound_sign, bound_limit, bound_extra, log_floor,
                best_value, log_h_ceiling, log_ndtr_ceiling,
            )  # fmt: skip
            if value > best_value:
                best_value = value
                best_row = row + c
        row += width
    return best_row, best_value


@compiled()
def ceilings(log_h_ceiling, log_ndtr_ceiling):
    """Fill the two tables that `ceiling` reads, (1025,) each."""
    for i in range(log_h_ceiling.size):
        u = -8.0 + i / 64.0
        log_h_ceiling[i] = log_h(u)
        log_ndtr_ceiling[i] = log_ndtr(u)
