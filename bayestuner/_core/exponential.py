"""exp and expm1 of arrays, in loops that LLVM vectorises; math.exp would be a call for every element.

x = k ln 2 + r with k whole and |r| <= ln(2) / 2, so exp(x) = 2^k (1 + g(r)) with g(r) = expm1(r), a polynomial. Adding SHIFT to x / ln 2
rounds it to k and leaves k + 1023 in the lowest bits, from where a shift moves it to the exponent of a double. Relative errors stay below
3e-16 and 1e-15 (tests). Sums must not be reordered here (`options.STRICT`): the compiler would remove the rounding.
"""

from __future__ import annotations

import math

from bayestuner._core.options import inlined

LOG2_E = 1.0 / math.log(2.0)
SHIFT = 1.5 * 2.0**52 + 1023.0
LN2_HIGH = 6.93147180369123816490e-01  # the upper 32 bits of ln 2, so that k LN2_HIGH is exact; LN2_LOW is the rest
LN2_LOW = 1.90821492927058770002e-10
LOWEST, HIGHEST = -708.0, 709.0  # where 2^k is still a normal number
MANTISSA_BITS = 52

C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (1.0 / math.factorial(i) for i in range(2, 14))


@inlined()
def expm1_small(r):
    """exp(r) - 1 for |r| <= ln(2) / 2: Taylor's polynomial of degree 13, split in two halves that the processor computes side by side."""
    r2 = r * r
    even = C2 + r2 * (C4 + r2 * (C6 + r2 * (C8 + r2 * (C10 + r2 * C12))))
    odd = C3 + r2 * (C5 + r2 * (C7 + r2 * (C9 + r2 * (C11 + r2 * C13))))
    return r + r2 * (even + r * odd)


@inlined()
def reduce_all(x, scale, bits):
    """x[i] = g(r) and scale[i] = 2^k of x[i] = k ln 2 + r, for x clipped to [-708, 709]; NaN stays. bits = scale.view(int64)."""
    for i in range(x.size):
        t = x[i]
        t = LOWEST if t < LOWEST else t
        t = HIGHEST if t > HIGHEST else t
        shifted = t * LOG2_E + SHIFT
        k = shifted - SHIFT
        scale[i] = shifted
        x[i] = expm1_small((t - k * LN2_HIGH) - k * LN2_LOW)
    for i in range(x.size):
        bits[i] = bits[i] << MANTISSA_BITS


@inlined()
def exp_all(x, scale, bits):
    """x[i] = exp(x[i]), for x clipped to [-708, 709]; NaN stays. scale is scratch of x's size, bits = scale.view(int64)."""
    reduce_all(x, scale, bits)
    for i in range(x.size):
        x[i] = scale[i] + scale[i] * x[i]


@inlined()
def expm1_all(x, scale, bits):
    """x[i] = exp(x[i]) - 1, as `exp_all`; accurate near 0."""
    reduce_all(x, scale, bits)
    for i in range(x.size):
        x[i] = (scale[i] - 1.0) + scale[i] * x[i]
