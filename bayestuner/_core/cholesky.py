"""Cholesky factors in place and the inverses of triangular ones; status 0, or 1 + the row whose pivot is not positive.

No reordering of sums here (`options.STRICT`): the sign of a pivot must not depend on how a loop was vectorised.
"""

from __future__ import annotations

import math

from bayestuner._core.options import inlined


@inlined()
def factor(K, n):
    """Factor K = L L^T in place: the lower triangle of K[:n, :n] becomes L (upper left untouched). Returns a status."""
    for i in range(n):
        for j in range(i):
            t = K[i, j]
            for a in range(j):
                t -= K[i, a] * K[j, a]
            K[i, j] = t / K[j, j]
        t = K[i, i]
        for a in range(i):
            t -= K[i, a] * K[i, a]
        if not t > 0.0:
            return i + 1
        K[i, i] = math.sqrt(t)
    return 0


@inlined()
def append_row(L, n, k, kappa):
    """Append a row to a factor in place.

    Given K = L L^T of size n in L[:n, :n], computes row n of the factor of [[K, k], [k^T, kappa]] into L[n, :n + 1].
    Returns 0, or n + 1 when kappa - l.l <= 0; rows before n are never changed.
    """
    rest = kappa
    for i in range(n):
        t = k[i]
        for a in range(i):
            t -= L[i, a] * L[n, a]
        L[n, i] = t / L[i, i]
        rest -= L[n, i] * L[n, i]
    if not rest > 0.0:
        return n + 1
    L[n, n] = math.sqrt(rest)
    return 0


@inlined()
def invert_row(L, W, i):
    """Row i of W = L^-1, given rows before it: W[i, :i] = -(L[i, :i] W[:i, :i]) / L[i, i]. Zeros above the diagonal are not written."""
    inverse = 1.0 / L[i, i]
    for j in range(i):
        W[i, j] = 0.0
    for a in range(i):
        factor_a = L[i, a]
        for j in range(a + 1):
            W[i, j] += factor_a * W[a, j]
    for j in range(i):
        W[i, j] *= -inverse
    W[i, i] = inverse


@inlined()
def invert(L, W, n):
    """W[:n, :n] = L^-1, lower triangle only."""
    for i in range(n):
        invert_row(L, W, i)
