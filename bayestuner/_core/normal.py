"""The normal distribution in logarithms: log Phi(z) and log h(u), the parts of log constrained expected improvement.

h(u) = u Phi(u) + phi(u), so that EI = sigma h((best - mean) / sigma) (Jones et al. 1998, eq. 15); its logarithm in the stable form of
Ament et al. 2023 ("Unexpected improvements to expected improvement", eq. 9), valid for u in [-1e100, 1e100].
"""

from __future__ import annotations

import math

from bayestuner._core.options import inlined

SQRT_HALF = math.sqrt(0.5)
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


@inlined()
def mills_tail(x):
    """Phi(-x) / phi(x) for x >= 5, by its continued fraction (Abramowitz and Stegun 26.2.14); relative error < 1e-15."""
    f = x
    for k in range(60, 0, -1):
        f = x + k / f
    return 1.0 / f


@inlined()
def log_ndtr(z):
    """log Phi(z), for any z; -inf only at -inf."""
    if z > -5.0:
        if z > 0.0:
            return math.log1p(-0.5 * math.erfc(z * SQRT_HALF))
        return math.log(0.5 * math.erfc(-z * SQRT_HALF))
    if z < -1e100:
        return -math.inf if z == -math.inf else -1e200
    return -0.5 * z * z - LOG_SQRT_2PI + math.log(mills_tail(-z))


@inlined()
def log_h(u):
    """log(u Phi(u) + phi(u)) for u in [-1e100, 1e100]."""
    if u > -1.0:
        return math.log(u * 0.5 * math.erfc(-u * SQRT_HALF) + INV_SQRT_2PI * math.exp(-0.5 * u * u))
    x = -u
    if x > 1e100:
        return -1e200
    if x > 1e4:  # h ~ phi(x) / x^2 (1 - 3/x^2)
        return -0.5 * x * x - LOG_SQRT_2PI - 2.0 * math.log(x)
    if x >= 5.0:  # 1 - x m(x) without cancellation: with m = 1/(x + 1/(x + 2/(...))), 1 - x m = m/(x + 2/(x + 3/(...)))
        f = x
        for k in range(60, 1, -1):
            f = x + k / f
        return -0.5 * x * x - LOG_SQRT_2PI + math.log(1.0 / (x * f + 1.0))
    phi = INV_SQRT_2PI * math.exp(-0.5 * u * u)
    return math.log(phi - x * 0.5 * math.erfc(x * SQRT_HALF))


@inlined()
def log_ei(mean, std, best):
    """log of the expected improvement below `best` of a normal variable; -inf where it is certain not to improve."""
    gain = best - mean
    if std <= 0.0:
        return math.log(gain) if gain > 0.0 else -math.inf
    return math.log(std) + log_h(gain / std)
