"""Covariance of two configurations, its derivatives, and tables of it over the levels of each knob.

With u_d the difference of two configurations in knob d's warped coordinate z_d (0 or 1 for a categorical knob):

    product form   k = prod_d f(u_d^2 / l_d^2)      and exp(-1 / l_d) for two categories
    ard form       k = f(sum_d u_d^2 / l_d^2)
    whole          signal_variance k + 1 + trend_variance sum_d (z_d - 1/2)(z'_d - 1/2)

where f is Matern 5/2, Matern 3/2 or the squared exponential (Rasmussen and Williams 2006, eqs. 4.14, 4.17, 4.9), as a function of the
squared scaled distance s. The 1 is the prior variance of the constant mean of standardised outputs.

A knob's levels are positive numbers v_0 < v_1 < ...; warping them by w gives z = (r^w - 1) / (R^w - 1) with r = v / v_0 and R the last r:
the identity at w = 1, the logarithm at w = 0 (Box and Cox 1964, scaled to [0, 1]).
"""

from __future__ import annotations

import math

from bayestuner._core.options import inlined

MATERN52, MATERN32, RBF = 0, 1, 2
PRODUCT, ARD = 0, 1
FIXED, WARPED, CATEGORICAL = 0, 1, 2  # kinds of a knob's coordinate

SQRT5 = math.sqrt(5.0)
SQRT3 = math.sqrt(3.0)


@inlined()
def correlation(s, family):
    """f(s), and h(s) = -2 df/ds, for s the squared scaled distance; both are finite at s = 0."""
    if family == MATERN52:
        q = SQRT5 * math.sqrt(s)
        e = math.exp(-q)
        return (1.0 + q + q * q / 3.0) * e, 5.0 / 3.0 * (1.0 + q) * e
    if family == MATERN32:
        q = SQRT3 * math.sqrt(s)
        e = math.exp(-q)
        return (1.0 + q) * e, 3.0 * e
    e = math.exp(-0.5 * s)
    return e, e


@inlined()
def warp_level(log_r, log_R, w):
    """Warped coordinate of a level and its derivative in w; log_r = log(v / v_0), log_R the last level's."""
    if log_R == 0.0:
        return 0.0, 0.0
    if abs(w) < 1e-5:
        z = log_r / log_R
        return z * (1.0 + 0.5 * w * (log_r - log_R)), 0.5 * z * (log_r - log_R)
    e, big = math.expm1(w * log_r), math.expm1(w * log_R)
    slope = (log_r * (e + 1.0) * big - e * log_R * (big + 1.0)) / (big * big)
    return e / big, slope


@inlined()
def warp_levels(levels, starts, kinds, warp, z, dz):
    """Warped coordinates z (sum of L,) of every level and their derivatives dz in that knob's warp.

    `levels` holds log(v / v_0) for a warped knob, z itself for a fixed one, anything for a categorical one; `starts` (d + 1,) says where
    each knob's levels begin.
    """
    for d in range(kinds.size):
        last = starts[d + 1] - 1
        for i in range(starts[d], starts[d + 1]):
            if kinds[d] == WARPED:
                z[i], dz[i] = warp_level(levels[i], levels[last], warp[d])
            elif kinds[d] == FIXED:
                z[i], dz[i] = levels[i], 0.0
            else:
                z[i], dz[i] = 0.0, 0.0


@inlined()
def pair(za, zb, ca, cb, kinds, lengthscales, form, family):
    """Correlation k of two configurations in coordinates za, zb (d,) and codes ca, cb (d,)."""
    k = 1.0
    s = 0.0
    for d in range(kinds.size):
        if kinds[d] == CATEGORICAL:
            if ca[d] != cb[d]:
                if form == PRODUCT:
                    k *= math.exp(-1.0 / lengthscales[d])
                else:
                    s += 1.0 / (lengthscales[d] * lengthscales[d])
        else:
            u = (za[d] - zb[d]) / lengthscales[d]
            if form == PRODUCT:
                k *= correlation(u * u, family)[0]
            else:
                s += u * u
    return k if form == PRODUCT else correlation(s, family)[0]


@inlined()
def pair_gradient(za, zb, dza, dzb, ca, cb, kinds, lengthscales, form, family, by_scale, by_warp):
    """Correlation k as `pair`; fills its derivatives by log lengthscale and by warp, both (d,)."""
    n_knobs = kinds.size
    k = 1.0
    s = 0.0
    for d in range(n_knobs):
        by_scale[d] = 0.0
        by_warp[d] = 0.0
        scale = lengthscales[d]
        if kinds[d] == CATEGORICAL:
            if ca[d] != cb[d]:
                if form == PRODUCT:
                    k *= math.exp(-1.0 / scale)
                    by_scale[d] = 1.0 / scale
                else:
                    s += 1.0 / (scale * scale)
                    by_scale[d] = 1.0 / (scale * scale)
            continue
        u = (za[d] - zb[d]) / scale
        du = (dza[d] - dzb[d]) / scale
        if form == PRODUCT:
            f, h = correlation(u * u, family)
            k *= f
            ratio = h / f if f > 0.0 else 0.0
        else:
            s += u * u
            ratio = 1.0
        by_scale[d] = ratio * u * u
        by_warp[d] = -ratio * u * du
    h = k
    if form == ARD:
        k, h = correlation(s, family)
    for d in range(n_knobs):
        by_scale[d] *= h
        by_warp[d] *= h
    return k
