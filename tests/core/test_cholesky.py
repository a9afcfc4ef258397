"""Factor, append, invert: against numpy, and their statuses."""

import numpy as np
import pytest

from bayestuner._core.cholesky import append_row, factor, invert


def spd(n, seed=0):
    a = np.random.default_rng(seed).standard_normal((n, n + 2))
    return a @ a.T


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_factor_equals_numpy(n):
    K = spd(n)
    L = K.copy()
    assert factor(L, n) == 0
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(K), rtol=1e-10, atol=1e-12)


def test_factor_names_the_first_bad_row():
    K = spd(5)
    K[3] = K[:, 3] = K[1]
    K[3, 3] = K[1, 1] - 1e-6
    assert factor(K.copy(), 5) == 4


def test_factor_refuses_nan():
    K = spd(4)
    K[2, 2] = np.nan
    assert factor(K, 4) == 3


def test_appending_rows_one_by_one_equals_factoring_once():
    n = 30
    K = spd(n)
    L = np.zeros((n, n))
    for i in range(n):
        assert append_row(L, i, K[i, :i].copy(), K[i, i]) == 0
    np.testing.assert_allclose(L, np.linalg.cholesky(K), rtol=1e-9, atol=1e-11)


def test_append_of_a_duplicate_returns_a_status_and_changes_no_earlier_row():
    K = spd(4)
    L = np.zeros((5, 5))
    for i in range(4):
        append_row(L, i, K[i, :i].copy(), K[i, i])
    before = L[:4].copy()
    assert append_row(L, 4, K[2].copy(), K[2, 2] * (1 - 1e-12)) == 5
    np.testing.assert_array_equal(L[:4], before)


def test_invert_equals_numpy():
    L = np.linalg.cholesky(spd(25))
    W = np.zeros((25, 25))
    invert(L, W, 25)
    np.testing.assert_allclose(W, np.linalg.inv(L), rtol=1e-8, atol=1e-10)
