"""What scoring computes once for each call: covariances of every observation with every level of every knob, and W packed for `simd`.

With zc = z - 1/2 (0 for a category), an observation's covariance with a cell is  signal * k + 1 + trend * sum_d zc_d zc'_d. W times it is a
sum of W (signal * k), of W 1, and of one vector for each knob; the last two make up `slopes`. Only the first differs from cell to cell.
"""

from __future__ import annotations

import math

from bayestuner._core.covariance import CATEGORICAL, MATERN32, MATERN52, PRODUCT, SQRT3, SQRT5
from bayestuner._core.options import inlined
from bayestuner._core.simd import COLUMNS, ROWS
from bayestuner._core.vector_math import exp_negative


@inlined()
def correlate(s, family, scale):
    """Replace squared scaled distances s (m,) by scale * f(s), in place; `covariance.correlation` as vector code."""
    if family == MATERN52:
        for i in range(s.size):
            q = SQRT5 * math.sqrt(s[i])
            s[i] = scale * ((1.0 + q + q * q * (1.0 / 3.0)) * exp_negative(-q))
    elif family == MATERN32:
        for i in range(s.size):
            q = SQRT3 * math.sqrt(s[i])
            s[i] = scale * ((1.0 + q) * exp_negative(-q))
    else:
        for i in range(s.size):
            s[i] = scale * exp_negative(-0.5 * s[i])


@inlined()
def level_tables(theta, codes, n, level_starts, kinds, form, family, z_levels, corr, centred):
    """Fill corr (sum of L, at least n), by level and observation: the factor f in product form, the addend u^2 / l^2 in ard form.

    codes (at least n, d); centred (sum of L,) gets zc. Entries of corr beyond the n observations are filled because whole vectors are
    computed; they have no meaning.
    """
    for a in range(kinds.size):
        scale = math.exp(theta[a])
        other, same = 1.0 / (scale * scale), 0.0
        if form == PRODUCT:
            other, same = math.exp(-1.0 / scale), 1.0
        for t in range(level_starts[a], level_starts[a + 1]):
            categorical = kinds[a] == CATEGORICAL
            centred[t] = 0.0 if categorical else z_levels[t] - 0.5
            for i in range(n):
                own = level_starts[a] + codes[i, a]
                u = (z_levels[own] - z_levels[t]) / scale
                corr[t, i] = (same if own == t else other) if categorical else u * u
            for i in range(n, corr.shape[1]):
                corr[t, i] = 0.0
            if form == PRODUCT and not categorical:
                correlate(corr[t], family, 1.0)


@inlined()
def pack_factor(W, n, packed, at):
    """Copy the lower triangle of W (n, n), in the order `posterior_strip` reads it, into the flat array `packed` from `at` on.

    It goes block by block of ROWS rows, in each block column by column up to the diagonal, with zeros where W has no entry.
    """
    for block in range((n + ROWS - 1) // ROWS):
        for a in range((block + 1) * ROWS):
            for r in range(ROWS):
                i = block * ROWS + r
                packed[at] = W[i, a] if i < n and a <= i else 0.0
                at += 1


@inlined(optimised=True)
def scale_factor(packed, begin, n, scales, out):
    """Fill out with the packed W at flat offset `begin`, its column a multiplied by scales[a]; scales (n rounded up to ROWS,)."""
    at = 0
    for block in range((n + ROWS - 1) // ROWS):
        for a in range((block + 1) * ROWS):
            s = scales[a]
            for r in range(ROWS):
                out[at + r] = packed[begin + at + r] * s
            at += ROWS


@inlined()
def trend_slopes(W, codes, n, level_starts, centred, trend, slopes):
    """Fill slopes (at least n, d + 1) with W 1 and, for each knob, trend * W zc."""
    for a in range(-1, codes.shape[1]):
        for i in range(n):
            total = 0.0
            for b in range(i + 1):
                total += W[i, b] * (1.0 if a < 0 else trend * centred[level_starts[a] + codes[b, a]])
            slopes[i, a + 1] = total


@inlined()
def inner_tables(corr, centred, slopes, trend, level_starts, shape, first, n, form, inner, cells, joined, prior):
    """Tables over the `inner` inner cells of a product grid: knobs `first` and on, the last one fastest.

    cells (n rounded up to ROWS, inner rounded up to COLUMNS) gets the inner knobs' part of the correlation, `joined` of the same shape
    their trend's part of W k, and prior (inner rounded up,) their trend's part of the prior variance. Padding is 0.
    """
    d = shape.size
    last = shape[d - 1]
    for i in range(cells.shape[0]):
        for c in range(cells.shape[1]):
            cells[i, c] = 0.0
            joined[i, c] = 0.0
    for c in range(prior.size):
        prior[c] = 0.0
    for head in range(inner // last):
        base = head * last
        for i in range(n):
            part, add = 1.0 if form == PRODUCT else 0.0, 0.0
            share = 0.0
            rest = head
            for a in range(d - 2, first - 1, -1):
                level = level_starts[a] + rest % shape[a]
                rest //= shape[a]
                zc = centred[level]
                part = part * corr[level, i] if form == PRODUCT else part + corr[level, i]
                add += slopes[i, a + 1] * zc
                share += trend * zc * zc
            begin, slope = level_starts[d - 1], slopes[i, d]
            if form == PRODUCT:
                for t in range(last):
                    cells[i, base + t] = part * corr[begin + t, i]
            else:
                for t in range(last):
                    cells[i, base + t] = part + corr[begin + t, i]
            for t in range(last):
                joined[i, base + t] = add + slope * centred[begin + t]
            if i == 0:
                for t in range(last):
                    prior[base + t] = share + trend * centred[begin + t] * centred[begin + t]


@inlined(optimised=True)
def outer_tables(corr, centred, slopes, trend, signal, level_starts, codes, n_outer, n, form, scales, offsets):
    """For one outer cell of a product grid: fill scales (n,) with the outer knobs' part of the correlation (in product form times the
    signal variance), and offsets (n,) with their trend's part of W k. Returns the prior variance without the inner trend.
    """
    prior = signal + 1.0
    for i in range(n):
        scales[i] = signal if form == PRODUCT else 0.0
        offsets[i] = slopes[i, 0]
    for a in range(n_outer):
        level = level_starts[a] + codes[a]
        zc = centred[level]
        prior += trend * zc * zc
        for i in range(n):
            scales[i] = scales[i] * corr[level, i] if form == PRODUCT else scales[i] + corr[level, i]
            offsets[i] += slopes[i, a + 1] * zc
    return prior


@inlined()
def group_tables(corr, centred, codes, n, trend, signal, level_starts, shape, group_starts, table_at, n_wide, form, tables, prior):
    """Fill tables over groups of knobs, for listed rows.

    Group g holds knobs group_starts[g] to group_starts[g + 1] - 1, of which the last one varies fastest.

    tables holds, for each combined code, n_wide parts of the correlation and n_wide of the trend (see `simd`); the first group has the
    signal variance and the constant as well. prior holds each combined code's part of the prior variance. A group begins at table_at[g] in
    `tables`, and at table_at[g] / (2 n_wide) in `prior`.
    """
    for g in range(group_starts.size - 1):
        size = 1
        for a in range(group_starts[g], group_starts[g + 1]):
            size *= shape[a]
        for code in range(size):
            at = table_at[g] + 2 * n_wide * code
            share = signal + 1.0 if g == 0 else 0.0
            for i in range(n_wide):
                tables[at + i] = 0.0 if form != PRODUCT or i >= n else (signal if g == 0 else 1.0)
                tables[at + n_wide + i] = 1.0 if g == 0 and i < n else 0.0
            rest = code
            for a in range(group_starts[g + 1] - 1, group_starts[g] - 1, -1):
                level = level_starts[a] + rest % shape[a]
                rest //= shape[a]
                zc = centred[level]
                share += trend * zc * zc
                for i in range(n):
                    part = corr[level, i]
                    tables[at + i] = tables[at + i] * part if form == PRODUCT else tables[at + i] + part
                    tables[at + n_wide + i] += trend * zc * centred[level_starts[a] + codes[i, a]]
            prior[table_at[g] // (2 * n_wide) + code] = share


WIDTH = COLUMNS * (512 // COLUMNS)  # cells of one tile
