"""Student's t distribution; scipy is not loaded for it, so that a study can be shown without."""

from __future__ import annotations

import math
from functools import lru_cache

_STEPS = 300
_TINY = 1e-300
_CLOSE = 1e-14


def cdf(t: float, dof: float) -> float:
    """Chance that a t-distributed variable is at most `t`, for any positive number of degrees of freedom."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    tail = 0.5 * _incomplete_beta(dof / (dof + t * t), 0.5 * dof, 0.5)
    return 1.0 - tail if t > 0 else tail


@lru_cache(maxsize=256)
def quantile(p: float, dof: float) -> float:
    """The point that a t-distributed variable is below with chance `p` (0.5 < p < 1)."""
    low, high = 0.0, 1.0
    while cdf(high, dof) < p:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if cdf(middle, dof) < p else (low, middle)
    return 0.5 * (low + high)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function (Abramowitz and Stegun 26.5.8 by Lentz's method)."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction converges slowly
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    f, c, d = 1.0, 1.0, 0.0
    for i in range(_STEPS):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 + term * d
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = 1.0 + term / c
        c = c if abs(c) > _TINY else _TINY
        f *= c * d
        if abs(1.0 - c * d) < _CLOSE:
            break
    return front * (f - 1.0)
