"""Cholesky factors, in place, and inverses of triangular ones. A status is 0, or 1 + the row whose pivot is not positive.

Factors are kept as U = L^T and inverses as W = L^-1, so that the innermost loops run along rows. Each entry is a sum of its own, added up
in the same order however a loop is vectorised (`options.STRICT`), because the sign of a pivot must not depend on vectorisation.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner._core.options import inlined


@inlined()
def index(i):
    """Mark an index as never negative: numba then needs no test for counting from the end, and LLVM can vectorise the loop."""
    return np.uint64(i)


@inlined()
def factor(U, n, n_columns):
    """Factor K = U^T U = L L^T in place: the upper triangle of U[:n, :n] holds K and becomes U; the lower one is untouched.

    Columns n to n_columns - 1 hold right-hand sides B and become L^-1 B. Returns a status.
    """
    for i in range(n):
        for group in range(i // 4):
            a = 4 * group
            u0, u1, u2, u3 = U[a, i], U[a + 1, i], U[a + 2, i], U[a + 3, i]
            for j in range(index(i), index(n_columns)):
                U[i, j] -= u0 * U[a, j] + u1 * U[a + 1, j] + u2 * U[a + 2, j] + u3 * U[a + 3, j]
        for a in range(i // 4 * 4, i):
            u0 = U[a, i]
            for j in range(index(i), index(n_columns)):
                U[i, j] -= u0 * U[a, j]
        t = U[i, i]
        if not t > 0.0:
            return i + 1
        pivot = math.sqrt(t)
        inverse = 1.0 / pivot
        for j in range(index(i), index(n_columns)):
            U[i, j] *= inverse
        U[i, i] = pivot
    return 0


@inlined()
def invert(U, W, n):
    """Fill the lower triangle of W[:n, :n] with L^-1, for U = L^T; the upper triangle must hold zeros, and keeps them."""
    for i in range(n):
        for j in range(i):
            W[i, j] = 0.0
        for group in range(i // 4):
            a = 4 * group
            u0, u1, u2, u3 = U[a, i], U[a + 1, i], U[a + 2, i], U[a + 3, i]
            for j in range(index(a + 4)):
                W[i, j] -= u0 * W[a, j] + u1 * W[a + 1, j] + u2 * W[a + 2, j] + u3 * W[a + 3, j]
        for a in range(i // 4 * 4, i):
            u0 = U[a, i]
            for j in range(index(a + 1)):
                W[i, j] -= u0 * W[a, j]
        inverse = 1.0 / U[i, i]
        for j in range(i):
            W[i, j] *= inverse
        W[i, i] = inverse
