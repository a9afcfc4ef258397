"""Standard normal numbers from uniform ones by Box and Muller's transform, in loops that LLVM vectorises.

Sums must not be reordered here (`options.STRICT`), for the reason given in exponential.py.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.options import compiled, inlined

LN2 = math.log(2.0)
HALF_PI = 0.5 * math.pi
MANTISSA_BITS = 52
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD  # sqrt(1/2) as a double

S3, S5, S7, S9, S11, S13, S15 = ((-1.0) ** (i // 2) / math.factorial(i) for i in range(3, 17, 2))
C2, C4, C6, C8, C10, C12, C14, C16 = ((-1.0) ** (i // 2) / math.factorial(i) for i in range(2, 18, 2))
A1, A2, A3, A4, A5, A6, A7, A8, A9, A10 = (1.0 / (2 * i + 1) for i in range(1, 11))


@inlined()
def log_of_mantissa(m):
    """log(m) for m in [sqrt(1/2), sqrt(2)): 2 artanh(s), s = (m - 1) / (m + 1), by its series."""
    s = (m - 1.0) / (m + 1.0)
    s2 = s * s
    s4 = s2 * s2
    even = A2 + s4 * (A4 + s4 * (A6 + s4 * (A8 + s4 * A10)))
    odd = A1 + s4 * (A3 + s4 * (A5 + s4 * (A7 + s4 * A9)))
    return 2.0 * s * (1.0 + s2 * (odd + s2 * even))


@compiled()
def normals_from_uniforms(u, out):
    """Fill out (2 h,) with standard normal numbers from uniform ones u (2 h,) in [0, 1)."""
    half = u.size // 2
    mantissa, exponent = np.empty(half), np.empty(half)
    bits = mantissa.view(np.int64)
    for i in range(half):
        mantissa[i] = 1.0 - u[i]  # never 0
    for i in range(half):
        b = bits[i]
        k = (b - ROOT_HALF_BITS) >> MANTISSA_BITS
        exponent[i] = k
        bits[i] = b - (k << MANTISSA_BITS)
    for i in range(half):
        radius = math.sqrt(-2.0 * (exponent[i] * LN2 + log_of_mantissa(mantissa[i])))
        t = 4.0 * u[half + i]
        quarter = (1.0 if t >= 0.5 else 0.0) + (1.0 if t >= 1.5 else 0.0) + (1.0 if t >= 2.5 else 0.0) + (1.0 if t >= 3.5 else 0.0)
        r = (t - quarter) * HALF_PI
        r2 = r * r
        sine = r * (1.0 + r2 * (S3 + r2 * (S5 + r2 * (S7 + r2 * (S9 + r2 * (S11 + r2 * (S13 + r2 * S15)))))))
        cosine = 1.0 + r2 * (C2 + r2 * (C4 + r2 * (C6 + r2 * (C8 + r2 * (C10 + r2 * (C12 + r2 * (C14 + r2 * C16)))))))
        odd = abs(abs(quarter - 2.0) - 1.0) < 0.5
        x = sine if odd else cosine
        y = cosine if odd else sine
        out[i] = radius * (-x if 0.5 < quarter < 2.5 else x)
        out[half + i] = radius * (-y if 1.5 < quarter < 3.5 else y)
