"""Log constrained expected improvement at every cell of the grid, and its exact argmax, without an array over the cells.

Several posteriors (one for each metric and sample of the hyperparameters, and one for viability) are scored together, one tile of cells
after another:

    cross-covariances  k (n, tile)  ->  v = W k  ->  mean = beta . v, variance = prior - v . v  ->  acquisition  ->  best cells so far

On a product grid a cell has an outer part (leading knobs) and an inner part (trailing knobs), and in the product form its covariance with
an observation is a product of one factor for each. The outer factor is multiplied into W, the inner factors are the same for all outer
cells, and no covariance is computed for a single cell. For listed rows, table entries of groups of knobs are multiplied. The acquisition is
bounded from above for the whole tile in single precision, and computed in double precision where the bound says that a cell may be the
best.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.covariance import PRODUCT
from bayestuner._core.options import compiled, inlined
from bayestuner._core.screen import screen, value_at
from bayestuner._core.simd import COLUMNS, LANES, ROWS, posterior_strip, product_tile, sum_tile
from bayestuner._core.tables import (
    WIDTH,
    correlate,
    group_tables,
    inner_tables,
    level_tables,
    outer_tables,
    pack_factor,
    scale_factor,
    trend_slopes,
)

MIN_VARIANCE = 1e-12


@inlined()
def among(rows, row):
    """Whether `row` is in the sorted array `rows`."""
    low, high = 0, rows.size
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < rows.size and rows[low] == row


@inlined()
def is_excluded(row, table, shape, level_starts, allowed, taken, boxes, infeasible_levels):
    """Whether a row must not be suggested (see `score`)."""
    if allowed.size > 0 and not allowed[row]:
        return True
    if among(taken, row):
        return True
    if boxes.shape[0] == 0 and infeasible_levels.size == 0:
        return False
    d = shape.size
    code = np.empty(d, dtype=np.int64)
    rest = row
    for a in range(d - 1, -1, -1):
        code[a] = table[row, a] if table.shape[0] > 0 else rest % shape[a]
        rest //= shape[a]
        if infeasible_levels.size > 0 and infeasible_levels[level_starts[a] + code[a]]:
            return True
    for b in range(boxes.shape[0]):
        inside = True
        for a in range(d):
            inside = inside and boxes[b, a, 0] <= code[a] <= boxes[b, a, 1]
        if inside:
            return True
    return False


@inlined()
def insert(rows, values, row, value):
    """Insert a row into the ranking rows, values (k,), best first, in place of the last one, whose value must be lower."""
    at = rows.size - 1
    while at > 0 and values[at - 1] < value:
        rows[at], values[at] = rows[at - 1], values[at - 1]
        at -= 1
    rows[at], values[at] = row, value


@inlined()
def listed_tile(groups, row, last, n, group_starts, table_at, tables, m, prior, form, family, signal, n_wide, k, trend_part, variance):
    """Cross-covariances k (at least n, WIDTH) and prior variances of listed rows row .. last - 1 under model m."""
    n_groups = group_starts.size - 1
    width = last - row
    padded = (width + COLUMNS - 1) // COLUMNS * COLUMNS  # the last row is repeated
    for i in range(0, n, LANES):
        for c in range(0, padded, LANES):
            at, begin = i * WIDTH + c, m * tables.shape[1] + i
            if form == PRODUCT:
                product_tile(tables, begin, n_wide, groups, table_at, row + c, last, n_groups, k, at, trend_part, at, WIDTH)
            else:
                sum_tile(tables, begin, n_wide, groups, table_at, row + c, last, n_groups, k, at, trend_part, at, WIDTH)
    if form != PRODUCT:
        for i in range(n):
            correlate(k[i, :padded], family, signal)
            for c in range(padded):
                k[i, c] += trend_part[i, c]
    for c in range(width):
        variance[c] = 0.0
        for g in range(n_groups):
            variance[c] += prior[m, table_at[g] // (2 * n_wide) + groups[row + c, g]]


@inlined()
def single():
    """An array over a tile, for `screen`."""
    return np.empty(WIDTH, dtype=np.float32)


@compiled()
def score(
    mode, first, last, table, shape, level_starts, kinds, n_inner_knobs, groups, group_starts,
    allowed, taken, boxes, infeasible_levels,
    n_obs, codes, theta, z_levels, W, beta, form, family, noise,
    objective, known_rows, known_knob, known_levels, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, min_log_p,
    top_rows, top_values, out_mean, out_variance, out_value,
):  # fmt: skip
    """Score rows first .. last - 1 and fill top_rows, top_values (k,) with the best, best first, ties by the lowest row.

    What is not filled stays as it was given: -1 and -inf.

    Space: table (n_rows, d) int32 lists the rows, or has no rows for a product grid of the given shape (d,), of which the last
    n_inner_knobs are inner; groups (n_rows, g) int32 are the listed rows' combined codes, and group i holds knobs group_starts[i] to
    group_starts[i + 1] - 1. Rows not to suggest: allowed (n_rows,) bool or empty; taken, sorted rows; boxes (b, d, 2), lowest and highest
    code of each knob; infeasible_levels (sum of L,) bool or empty, with the levels of knob a from level_starts[a] on.
    Models: n_obs, form, family (models,); codes (models, n, d); theta (models, p); z_levels (models, sum of L); W (models, n, n);
    beta (models, n); noise (models,), added to the posterior variance at every cell. Acquisition: see `screen`; a known objective is
    known_rows (n_rows,), or knob known_knob's values known_levels.
    out_mean, out_variance (models, last - first), out_value (last - first,): filled where they are not empty; no row is then excluded.
    """
    n_models, n_max, d = codes.shape
    listed = table.shape[0] > 0
    n_wide = (n_max + LANES - 1) // LANES * LANES
    n_outer_knobs = d - n_inner_knobs
    inner = 1
    for a in range(n_outer_knobs, d):
        inner *= shape[a]
    padded = (inner + COLUMNS - 1) // COLUMNS * COLUMNS
    n_packed = n_wide * (n_wide + ROWS) // 2
    table_at = np.zeros(group_starts.size, dtype=np.int64)
    for g in range(group_starts.size - 1):
        size = 1
        for a in range(group_starts[g], group_starts[g + 1]):
            size *= shape[a]
        table_at[g + 1] = table_at[g] + 2 * n_wide * size
    n_entries = table_at[group_starts.size - 1]
    if listed:
        inner, padded = WIDTH, 0
    filled = listed  # whether covariances are computed cell by cell
    for m in range(n_models):
        filled = filled or form[m] != PRODUCT

    corr, centred = np.empty((n_models, z_levels.shape[1], n_wide)), np.empty((n_models, z_levels.shape[1]))
    packed = np.empty(n_models * n_packed)
    slopes, weights = np.empty((n_models, n_wide, d + 1)), np.zeros((n_models, n_wide))
    cells, joined = np.empty(n_models * n_wide * padded), np.empty(n_models * n_wide * padded)
    prior = np.empty((n_models, padded))
    tables, group_prior = np.empty((n_models, n_entries)), np.empty((n_models, n_entries // (2 * max(n_wide, 1))))
    signal, trend = np.empty(n_models), np.empty(n_models)
    for m in range(n_models):
        n = n_obs[m]
        n_own = (n + ROWS - 1) // ROWS * ROWS
        signal[m], trend[m] = math.exp(theta[m, d]), math.exp(theta[m, d + 2])
        level_tables(theta[m], codes[m], n, level_starts, kinds, form[m], family[m], z_levels[m], corr[m], centred[m])
        pack_factor(W[m], n, packed, m * n_packed)
        for i in range(n):
            weights[m, i] = beta[m, i]
        if listed:
            group_tables(
                corr[m], centred[m], codes[m], n, trend[m], signal[m], level_starts, shape, group_starts, table_at, n_wide, form[m],
                tables[m], group_prior[m],
            )  # fmt: skip
        else:
            trend_slopes(W[m], codes[m], n, level_starts, centred[m], trend[m], slopes[m])
            begin, end = m * n_wide * padded, (m * n_wide + n_own) * padded
            inner_tables(
                corr[m], centred[m], slopes[m], trend[m], level_starts, shape, n_outer_knobs, n, form[m], inner,
                cells[begin:end].reshape(n_own, padded), joined[begin:end].reshape(n_own, padded), prior[m],
            )  # fmt: skip

    factor = np.empty(n_packed)
    scales, offsets = np.ones(n_wide), np.zeros(n_wide)
    scratch = np.empty(n_wide * WIDTH if filled else 0)
    k = scratch.reshape(n_wide if filled else 0, WIDTH)
    part = np.empty((n_wide if listed else 0, WIDTH))
    nothing = np.zeros(COLUMNS)
    mean, variance = np.zeros((n_models, WIDTH)), np.zeros((n_models, WIDTH))
    known = np.zeros(WIDTH)
    quad, remainder, miss, log_p, upper = single(), single(), single(), single(), single()
    top_p, total_p, top, total = single(), single(), single(), single()
    outer_codes = np.zeros(d, dtype=np.int64)
    n_tops = top_rows.size
    keep_all = out_value.size > 0
    row = first
    while row < last:
        offset = 0 if listed else row % inner // COLUMNS * COLUMNS
        width = min(WIDTH, last - row) if listed else min(WIDTH, inner - offset)
        base = row if listed else row // inner * inner + offset
        full = (width + COLUMNS - 1) // COLUMNS * COLUMNS
        rest = base // inner
        infeasible = False
        for a in range(n_outer_knobs - 1, -1, -1):
            outer_codes[a] = rest % shape[a]
            rest //= shape[a]
            infeasible = infeasible or (infeasible_levels.size > 0 and infeasible_levels[level_starts[a] + outer_codes[a]])
        end = min(base + width, last)
        if infeasible and not listed and not keep_all and out_mean.shape[1] == 0:
            row = end
            continue
        for m in range(n_models):
            n = n_obs[m]
            n_blocks = (n + ROWS - 1) // ROWS
            source, source_at, source_row = scratch, 0, WIDTH
            share, share_at, share_row = nothing, 0, 0
            if listed:
                listed_tile(
                    groups, base, end, n, group_starts, table_at, tables, m, group_prior, form[m], family[m], signal[m], n_wide, k, part,
                    variance[m],
                )  # fmt: skip
            else:
                above = outer_tables(
                    corr[m], centred[m], slopes[m], trend[m], signal[m], level_starts, outer_codes, n_outer_knobs, n, form[m],
                    scales, offsets,
                )  # fmt: skip
                for i in range(n, n_blocks * ROWS):
                    scales[i], offsets[i] = 1.0, 0.0
                for c in range(full):
                    variance[m, c] = above + prior[m, offset + c]
                share, share_at, share_row = joined, m * n_wide * padded + offset, padded
                if form[m] == PRODUCT:
                    source, source_at, source_row = cells, share_at, padded
                else:
                    for i in range(n_blocks * ROWS):
                        for c in range(full):
                            k[i, c] = scales[i] + cells[share_at + i * padded + c] if i < n else 0.0
                        if i < n:
                            correlate(k[i, :full], family[m], signal[m])
                        scales[i] = 1.0
            scale_factor(packed, m * n_packed, n, scales, factor)
            step = 1 if share_row > 0 else 0
            for c in range(0, full, COLUMNS):
                posterior_strip(
                    factor, 0, source, source_at + c, source_row, share, share_at + step * c, share_row, offsets, 0, weights, m * n_wide,
                    n_blocks, mean, variance, m * WIDTH + c, MIN_VARIANCE,
                )  # fmt: skip
            for c in range(full):
                variance[m, c] += noise[m]
        if known_rows.size > 0:
            for c in range(width):
                known[c] = known_rows[base + c]
        elif known_knob >= 0:
            repeat = 1
            for a in range(known_knob + 1, d):
                repeat *= shape[a]
            for c in range(width):
                known[c] = known_levels[table[base + c, known_knob] if listed else (base + c) // repeat % shape[known_knob]]
        begin, end = row - base, end - base
        for m in range(n_models if out_mean.shape[1] > 0 else 0):
            for c in range(begin, end):
                out_mean[m, base + c - first] = mean[m, c]
                out_variance[m, base + c - first] = variance[m, c]
        row = base + end
        if n_tops == 0 and not keep_all:
            continue
        screen(
            mode, full, mean, variance, known, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, min_log_p,
            quad, remainder, miss, log_p, top_p, total_p, top, total, upper,
        )  # fmt: skip
        for c in range(begin, end):
            if keep_all or upper[c] > top_values[n_tops - 1]:
                if not keep_all and is_excluded(base + c, table, shape, level_starts, allowed, taken, boxes, infeasible_levels):
                    continue
                value = value_at(
                    mode, mean, variance, known, c, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares,
                    min_log_p,
                )  # fmt: skip
                if keep_all:
                    out_value[base + c - first] = value
                if n_tops > 0 and value > top_values[n_tops - 1]:
                    insert(top_rows, top_values, base + c, value)
    return 0
