"""Factor and invert: against numpy, and their statuses."""

import numpy as np
import pytest
from core.problems import from_python

from bayestuner._core import cholesky

factor, invert = from_python(cholesky.factor), from_python(cholesky.invert)


def spd(n, seed=0):
    a = np.random.default_rng(seed).standard_normal((n, n + 2))
    return a @ a.T


SIZES = [*range(1, 13), 40, 67]  # every remainder of the groups of four


@pytest.mark.parametrize("n", SIZES)
def test_factor_equals_numpy(n):
    K = spd(n)
    U = K.copy()
    assert factor(U, n, n) == 0
    np.testing.assert_allclose(np.triu(U), np.linalg.cholesky(K).T, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(np.tril(U, -1), np.tril(K, -1))


@pytest.mark.parametrize("n", SIZES)
def test_columns_beside_the_matrix_are_solved(n):
    K = spd(n)
    B = np.random.default_rng(1).standard_normal((n, 3))
    U = np.hstack([K, B])
    assert factor(U, n, n + 2) == 0
    np.testing.assert_allclose(U[:, n : n + 2], np.linalg.solve(np.linalg.cholesky(K), B[:, :2]), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(U[:, n + 2], B[:, 2])


def test_factor_names_the_first_bad_row():
    K = spd(5)
    K[3] = K[:, 3] = K[1]
    K[3, 3] = K[1, 1] - 1e-6
    assert factor(K.copy(), 5, 5) == 4


def test_factor_refuses_nan():
    K = spd(4)
    K[2, 2] = np.nan
    assert factor(K, 4, 4) == 3


@pytest.mark.parametrize("n", SIZES)
def test_invert_equals_numpy_and_keeps_the_zeros(n):
    L = np.linalg.cholesky(spd(n))
    W = np.zeros((n, n))
    W[np.tril_indices(n)] = 7.0  # what an earlier call left
    invert(L.T.copy(), W, n)
    np.testing.assert_allclose(W, np.linalg.inv(L), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(np.triu(W, 1), np.zeros((n, n)))
