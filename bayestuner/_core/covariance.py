"""Covariance of two configurations, its derivatives, and tables of it over the levels of each knob.

With u_d the difference of two configurations in knob d's warped coordinate z_d (0 or 1 for a categorical knob):

    product form   k = prod_d f(u_d^2 / l_d^2)      and exp(-1 / l_d) for two categories
    ard form       k = f(sum_d u_d^2 / l_d^2)
    whole          signal_variance k + 1 + trend_variance sum_d (z_d - 1/2)(z'_d - 1/2)

where f is Matern 5/2, Matern 3/2 or the squared exponential (Rasmussen and Williams 2006, eqs. 4.14, 4.17, 4.9), as a function of the
squared scaled distance s. The 1 is the prior variance of the constant mean, for standardised outputs.

A knob's levels are positive numbers v_0 < v_1 < ...; warping them by w gives z = (r^w - 1) / (R^w - 1) with r = v / v_0 and R the last r:
the identity at w = 1, the logarithm at w = 0 (Box and Cox 1964, scaled to [0, 1]).
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.exponential import exp_all, expm1_all
from bayestuner._core.options import inlined

MATERN52, MATERN32, RBF = 0, 1, 2
PRODUCT, ARD = 0, 1
FIXED, WARPED, CATEGORICAL = 0, 1, 2  # kinds of a knob's coordinate

SQRT5 = math.sqrt(5.0)
SQRT3 = math.sqrt(3.0)


@inlined()
def coefficients(family):
    """(c1, c2, e1, e2) of f(s) = (1 + c1 q + c2 q^2) exp(-e1 q - e2 q^2) with q = sqrt(s), so that one loop serves every family."""
    if family == MATERN52:
        return SQRT5, 5.0 / 3.0, SQRT5, 0.0
    if family == MATERN32:
        return SQRT3, 0.0, SQRT3, 0.0
    return 0.0, 0.0, 0.0, 0.5


@inlined()
def slope_coefficients(c1, c2, e1, e2):
    """(n0, n1, n2) of -df/dq = (n0 + n1 q + n2 q^2) exp(-e1 q - e2 q^2)."""
    return e1 - c1, e1 * c1 + 2.0 * e2 - 2.0 * c2, e1 * c2 + 2.0 * e2 * c1


@inlined()
def correlation(s, family):
    """f(s), and h(s) = -2 df/ds; both are finite at s = 0."""
    c1, c2, e1, e2 = coefficients(family)
    _, n1, n2 = slope_coefficients(c1, c2, e1, e2)
    q = math.sqrt(s)
    e = math.exp(-q * (e1 + q * e2))
    return (1.0 + q * (c1 + q * c2)) * e, (n1 + q * n2) * e


SMALL_WARP = 1e-5  # for smaller w the first two terms of the warp's series in w are exact to rounding


@inlined(fast=True)
def warp(levels, log_range, w, z, slope, scale, bits):
    """Fill z (n,) with warped coordinates of levels log(v / v_0) (n,), and slope (n,) with their derivatives by w.

    log_range is the knob's last level; scale (n,) is scratch, bits = scale.view(int64).
    """
    n = levels.size
    if log_range == 0.0:
        for i in range(n):
            z[i], slope[i] = 0.0, 0.0
        return
    if abs(w) < SMALL_WARP:
        for i in range(n):
            z[i] = levels[i] / log_range
            slope[i] = 0.5 * z[i] * (levels[i] - log_range)
            z[i] += w * slope[i]
        return
    for i in range(n):
        z[i] = w * levels[i]
    expm1_all(z, scale, bits)
    big = math.expm1(w * log_range)
    inverse = 1.0 / big
    at_end = log_range * (big + 1.0) * inverse
    for i in range(n):
        slope[i] = (levels[i] * (z[i] + 1.0) - at_end * z[i]) * inverse
        z[i] *= inverse


@inlined()
def warp_levels(levels, level_starts, kinds, warps, z):
    """Fill z (sum of L,) with the warped coordinate of every level; 0 for a categorical knob.

    `levels` holds log(v / v_0) for a warped knob, z itself for a fixed one, anything for a categorical one. level_starts (d + 1,) says
    where each knob's levels begin.
    """
    slope, scale = np.empty(levels.size), np.empty(levels.size)
    bits = scale.view(np.int64)
    for a in range(kinds.size):
        first, last = level_starts[a], level_starts[a + 1]
        n = last - first
        if kinds[a] == WARPED:
            warp(levels[first:last], levels[last - 1], warps[a], z[first:last], slope[:n], scale[:n], bits[:n])
        else:
            for i in range(first, last):
                z[i] = levels[i] if kinds[a] == FIXED else 0.0


@inlined(fast=True)
def correlate(inverse_lengthscales, difference, kinds, form, family, k, h, exponent, scale, bits):
    """Fill k (m,) with the correlations of m pairs of given differences (d, m), and in the ard form h (m,) with -2 df/ds.

    A difference is 0 or 1 for a categorical knob. In the product form the polynomials of all knobs are multiplied and their exponents
    added, so that a pair takes one exponential. exponent and scale (m,) are scratch, bits = scale.view(int64).
    """
    m = k.size
    product = form == PRODUCT
    for i in range(m):
        k[i] = 1.0 if product else 0.0
        exponent[i] = 0.0
    c1, c2, e1, e2 = coefficients(family)
    for a in range(kinds.size):
        inverse = inverse_lengthscales[a]
        if product:
            b1, b2, f1, f2 = (0.0, 0.0, 1.0, 0.0) if kinds[a] == CATEGORICAL else (c1, c2, e1, e2)
            for i in range(m):
                q = inverse * abs(difference[a, i])
                k[i] *= 1.0 + q * (b1 + q * b2)
                exponent[i] -= q * (f1 + q * f2)
        else:
            for i in range(m):
                u = inverse * difference[a, i]
                k[i] += u * u
    if not product:
        _, n1, n2 = slope_coefficients(c1, c2, e1, e2)
        for i in range(m):
            q = math.sqrt(k[i])
            k[i] = 1.0 + q * (c1 + q * c2)
            exponent[i] = -q * (e1 + q * e2)
            h[i] = n1 + q * n2
    exp_all(exponent, scale, bits)
    for i in range(m):
        k[i] *= exponent[i]
    if not product:
        for i in range(m):
            h[i] *= exponent[i]
