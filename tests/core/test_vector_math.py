"""The vector functions against the library's and mpmath's, and the plain stand-ins of the vector kernels against the compiled ones."""

import math

import mpmath as mp
import numba
import numpy as np
import pytest
from scipy.special import erfcx

from bayestuner._core import simd, vector_math
from bayestuner._core.options import FAST


def over(function, x):
    """The function at every x, compiled into a loop as scoring uses it."""

    @numba.njit(fastmath=FAST, error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


FAR = np.concatenate([np.linspace(0, 20, 20001), np.logspace(1.3, 3, 20001)]).astype(np.float32)


def test_exp32():
    x = np.linspace(-87, 0, 200_001, dtype=np.float32)
    np.testing.assert_allclose(over(vector_math.exp32, x), np.exp(x.astype(np.float64)), rtol=6e-7)
    assert over(vector_math.exp32, np.array([-1e30, -np.inf], dtype=np.float32)) == pytest.approx(math.exp(-87), rel=1e-6)


def test_log32():
    x = np.logspace(-37.8, 38, 200_001).astype(np.float32)
    np.testing.assert_allclose(over(vector_math.log32, x), np.log(x.astype(np.float64)), rtol=3e-7, atol=3e-7)
    assert over(vector_math.log32, np.zeros(1, dtype=np.float32))[0] == pytest.approx(math.log(1.2e-38), rel=1e-6)


def test_tail32():
    np.testing.assert_allclose(over(vector_math.tail32, FAR), math.sqrt(math.pi / 2) * erfcx(FAR / math.sqrt(2)), rtol=2e-6)


def test_shortfall32():
    a = FAR[::23]
    mp.mp.dps = 40
    exact = [
        float(1 - mp.mpf(x) * mp.sqrt(mp.pi / 2) * mp.exp(mp.mpf(x) ** 2 / 2) * mp.erfc(mp.mpf(x) / mp.sqrt(2))) for x in map(float, a)
    ]
    np.testing.assert_allclose(over(vector_math.shortfall32, a), exact, rtol=3e-6)


def test_exp_negative():
    x = -np.concatenate([np.linspace(0, 708, 100_001), np.logspace(-300, 0, 1001)])
    np.testing.assert_allclose(over(vector_math.exp_negative, x), np.exp(x), rtol=5e-16)


def test_the_strip_kernel_equals_its_plain_form():
    rng = np.random.default_rng(0)
    n_blocks, row = 3, 80
    n = n_blocks * simd.ROWS
    packed = rng.standard_normal(7 + n * (n + simd.ROWS) // 2)
    k, p = rng.standard_normal((n, row)), rng.standard_normal((n, row))
    t, beta = rng.standard_normal(n + 1), rng.standard_normal(n + 2)

    @numba.njit(error_model="numpy")
    def run(mean, variance, p_row):
        simd.posterior_strip(packed, 7, k, 5, row, p, 3, p_row, t, 1, beta, 2, n_blocks, mean, variance, 9, 0.5)

    for p_row in (0, row):
        fast, plain = ((np.zeros(100), np.full(100, 150.0)) for _ in range(2))
        run(*fast, p_row)
        simd._plain_strip(packed, 7, k, 5, row, p, 3, p_row, t, 1, beta, 2, n_blocks, *plain, 9, 0.5)
        np.testing.assert_allclose(fast[0], plain[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(fast[1], plain[1], rtol=1e-12, atol=1e-10)
        assert (fast[1] == 0.5).any()
        assert (fast[1][9 + simd.COLUMNS :] == 150.0).all()


@pytest.mark.parametrize("product", [True, False])
def test_the_tile_kernel_equals_its_plain_form(product):
    rng = np.random.default_rng(1)
    n, sizes = 2 * simd.LANES, [5, 7, 3]
    starts = np.concatenate([[0], np.cumsum([2 * n * s for s in sizes])]).astype(np.int64)
    tables = rng.standard_normal(4 + starts[-1])
    groups = np.stack([rng.integers(0, s, 11) for s in sizes], axis=1).astype(np.int32)
    kernel = simd.product_tile if product else simd.sum_tile

    @numba.njit(error_model="numpy")
    def run(out, trend, first):
        kernel(tables, 4 + simd.LANES, n, groups, starts, first, 11, 3, out, 2, trend, 1, 40)

    for first in (0, 6):  # the second reaches over the last row
        fast, plain = ((np.zeros(40 * simd.LANES), np.zeros(40 * simd.LANES)) for _ in range(2))
        run(*fast, first)
        simd._plain_tile(product)(tables, 4 + simd.LANES, n, groups, starts, first, 11, 3, plain[0], 2, plain[1], 1, 40)
        np.testing.assert_allclose(fast[0], plain[0], rtol=1e-14)
        np.testing.assert_allclose(fast[1], plain[1], rtol=1e-14)
        assert np.count_nonzero(fast[0]) == simd.LANES**2
