"""Expected hypervolume improvement of two objectives in closed form, row by row.

The area that a point (a, b) adds to what a front dominates below a reference point is the integral of 1[a <= u] 1[b <= v] over the points
(u, v) not yet dominated. Its expectation under independent normals factors in every strip between neighbours of the front, and the integral
of P(a <= u) from -inf to x is the expected improvement EI_a(x) (Emmerich, Deutz and Klinkenberg 2011; Yang et al. 2019 for the strips):

    EHVI = sum over strips of (EI_a(right) - EI_a(left)) EI_b(height)

Compiled when first used, not in the warm-up.
"""

from __future__ import annotations

import math

from bayestuner._core.normal import INV_SQRT_2PI, SQRT_HALF, log_ndtr
from bayestuner._core.options import compiled, inlined


@inlined()
def improvement_below(mean, std, limit):
    """Expected improvement of a normal variable below `limit`."""
    gain = limit - mean
    if std <= 0.0:
        return max(gain, 0.0)
    u = gain / std
    # in the far tail the two terms cancel to rounding, which may be negative
    return max(gain * 0.5 * math.erfc(-u * SQRT_HALF) + std * INV_SQRT_2PI * math.exp(-0.5 * u * u), 0.0)


@compiled()
def expected_hypervolume_improvement(mean, std, front, reference, out):
    """Fill out (m,) with the improvement expected of each row, from mean and std (2, m); both objectives are minimised.

    front (k, 2): points none of which dominates another, by rising first objective, all below reference (2,); k may be 0.
    """
    k = front.shape[0]
    for i in range(out.size):
        total, left = 0.0, 0.0
        height = reference[1]
        for j in range(k + 1):
            right = improvement_below(mean[0, i], std[0, i], front[j, 0] if j < k else reference[0])
            total += max(right - left, 0.0) * improvement_below(mean[1, i], std[1, i], height)
            left = right
            if j < k:
                height = front[j, 1]
        out[i] = total


@compiled()
def add_log_probability(mean, variance, sign, limit, extra, out):
    """Add to out (m,) the log of P(sign * (value - limit) >= 0), from mean and variance (m,); `extra` is added to the variance."""
    for i in range(out.size):
        out[i] += log_ndtr(sign * (mean[i] - limit) / max(math.sqrt(variance[i] + extra), 1e-9))
