"""The upper bound that rules cells out: above the exact value everywhere, and close to it."""

import math

import numba
import numpy as np
import pytest
from core.problems import from_python
from scipy.special import log_ndtr as scipy_log_ndtr
from scipy.special import logsumexp

from bayestuner._core import normal
from bayestuner._core.options import FAST
from bayestuner._core.screen import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, screen, value_at

log_h = from_python(normal.log_h)
MODES = [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE]


@numba.njit(fastmath=FAST, error_model="numpy")
def both(
    mode, mean, variance, known, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, floor, scratch, upper,
    exact,
):  # fmt: skip
    screen(
        mode, upper.size, mean, variance, known, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, floor,
        scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5], scratch[6], scratch[7], upper,
    )  # fmt: skip
    for c in range(upper.size):
        exact[c] = value_at(
            mode, mean, variance, known, c, objective, best, bound_model, bound_sign, bound_limit, bound_extra, log_shares, floor
        )  # fmt: skip


class Case:
    """Random moments of several models at many cells, and bounds on them, with S samples."""

    def __init__(self, seed, samples=1, bounds=2, cells=4000, spread=3.0, modelled=True):
        rng = np.random.default_rng(seed)
        models = samples * 3
        self.mean = rng.standard_normal((models, cells)) * spread
        self.variance = 10.0 ** rng.uniform(-12 if spread > 10 else -3, 1, (models, cells))
        self.known = rng.uniform(-2, 4, cells)
        self.objective = np.arange(samples) * 3 if modelled else np.full(samples, -1)
        self.best = rng.uniform(-1, 1, samples)
        self.bound_model = rng.integers(0, models, (samples, bounds))
        self.bound_sign = rng.choice([-1.0, 1.0], bounds)
        self.bound_limit = rng.standard_normal((samples, bounds)) * spread / 2
        self.bound_extra = rng.choice([0.0, 0.1, 1.0], bounds)
        self.log_shares = np.zeros((2, samples))

    def run(self, mode, floor=-1e300):
        cells = self.known.size
        upper, exact = np.empty(cells, dtype=np.float32), np.empty(cells)
        both(
            mode, self.mean, self.variance, self.known, self.objective, self.best, self.bound_model, self.bound_sign, self.bound_limit,
            self.bound_extra, self.log_shares, floor, np.empty((8, cells), dtype=np.float32), upper, exact,
        )  # fmt: skip
        return upper.astype(np.float64), exact

    def parts(self):
        """log P and log EI (samples, cells), and the largest quad of each cell, by scipy."""
        log_p, log_ei, quads = [], [], np.zeros(self.known.size)
        for s in range(self.objective.size):
            total, quad = np.zeros(self.known.size), np.zeros(self.known.size)
            for j, m in enumerate(self.bound_model[s]):
                z = self.bound_sign[j] * (self.mean[m] - self.bound_limit[s, j]) / np.sqrt(self.variance[m] + self.bound_extra[j])
                total += scipy_log_ndtr(z)
                quad += 0.5 * np.minimum(z, 0) ** 2
            m = self.objective[s]
            if m >= 0:
                std = np.sqrt(self.variance[m])
                u = (self.best[s] - self.mean[m]) / std
                gain = np.log(std) + np.array([log_h(x) for x in u])
                quad += 0.5 * np.minimum(u, 0) ** 2
            else:
                with np.errstate(divide="ignore", invalid="ignore"):
                    gain = np.where(self.known < self.best[s], np.log(self.best[s] - self.known), -np.inf)
            log_p.append(total)
            log_ei.append(gain + total)
            quads = np.maximum(quads, quad)
        return np.array(log_p), np.array(log_ei), quads


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bounds", [0, 1, 3])
@pytest.mark.parametrize("modelled", [True, False])
@pytest.mark.parametrize("spread", [0.5, 3.0, 1e4])
def test_the_bound_lies_above_the_value_and_close(mode, samples, bounds, modelled, spread):
    case = Case(hash((mode, samples, bounds)) % 1000, samples, bounds, spread=spread, modelled=modelled)
    upper, exact = case.run(mode)
    assert not np.isnan(upper).any()
    assert (upper >= exact).all()
    _, _, quad = case.parts()
    finite = np.isfinite(exact) & (quad < 4e5)  # beyond, the tails' values at 1e3 deviations are only bounds
    slack = 1e-4 + 1e-5 * quad + (5e-6 * np.abs(case.mean).max() if mode == LOWEST_MEAN else 0.0)
    assert (upper[finite] <= (exact + slack)[finite]).all()


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("modelled", [True, False])
def test_the_value_is_the_mean_over_samples(samples, modelled):
    case = Case(5, samples, 2, modelled=modelled)
    log_p, log_ei, _ = case.parts()
    shift = math.log(samples)
    np.testing.assert_allclose(case.run(MOST_FEASIBLE)[1], logsumexp(log_p, axis=0) - shift, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(case.run(EXPECTED_IMPROVEMENT)[1], logsumexp(log_ei, axis=0) - shift, rtol=1e-10, atol=1e-12)
    lowest = -case.mean[case.objective].mean(axis=0) if modelled else -case.known
    np.testing.assert_allclose(case.run(LOWEST_MEAN)[1], lowest, rtol=1e-12, atol=1e-14)


def test_samples_count_by_their_weight_and_in_their_unit():
    case = Case(5, 3, 2)
    case.log_shares[:] = np.log([[2.4, 0.3, 0.3], [1.0, 5.0, 0.01]])
    weight, unit = case.log_shares[:, :, None] - [[[math.log(3)]], [[0.0]]]
    log_p, log_ei, quad = case.parts()
    upper, exact = case.run(EXPECTED_IMPROVEMENT)
    np.testing.assert_allclose(exact, logsumexp(log_ei + weight + unit, axis=0), rtol=1e-10, atol=1e-12)
    assert (upper >= exact).all()
    assert (upper <= exact + 1e-4 + 1e-5 * quad).all()
    upper, exact = case.run(MOST_FEASIBLE)
    np.testing.assert_allclose(exact, logsumexp(log_p + weight, axis=0), rtol=1e-10, atol=1e-14)
    assert (upper >= exact).all()
    upper, exact = case.run(LOWEST_MEAN)
    np.testing.assert_allclose(exact, -(np.exp(weight) * case.mean[case.objective]).sum(axis=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("mode", MODES)
def test_below_the_floor_a_cell_is_worth_nothing(samples, mode):
    case = Case(6, samples, 1)
    log_p, _, _ = case.parts()
    below = logsumexp(log_p, axis=0) - math.log(samples) < math.log(0.5)
    assert 0 < below.sum() < below.size
    upper, exact = case.run(mode, math.log(0.5))
    np.testing.assert_array_equal(exact == -np.inf, below)
    assert (upper >= exact).all()
    certainly = logsumexp(log_p, axis=0) - math.log(samples) < math.log(0.5) - 1e-3
    assert (upper[certainly] == -np.inf).all()


def test_cells_all_but_certain_to_be_feasible_are_told_apart():
    case = Case(8, 1, 1, cells=500)
    case.bound_sign[:], case.bound_limit[:], case.bound_extra[:], case.variance[:] = 1.0, 0.0, 0.0, 1.0
    case.mean[:] = np.linspace(5.0, 12.0, 500)
    upper, exact = case.run(MOST_FEASIBLE)
    assert (upper >= exact).all()
    assert (upper <= exact * (1 - 1e-3)).all()


def test_extremes_keep_the_order():
    case = Case(7, 1, 1, cells=8)
    case.objective[:], case.bound_model[:] = 0, 1
    case.mean[0] = [0, 1e3, 1e9, 1e30, -1e9, -1e30, 0, 0]
    case.mean[1] = [0, 0, 0, 0, 0, 0, 1e300, -1e300]
    case.variance[:], case.bound_sign[:] = 1e-12, 1.0
    for mode in (EXPECTED_IMPROVEMENT, MOST_FEASIBLE):
        upper, exact = case.run(mode)
        assert not np.isnan(upper).any()
        assert (upper >= exact).all()
    case.bound_limit[:] = -1e300  # a limit in the transform's infinity: always met
    upper, exact = case.run(MOST_FEASIBLE)
    assert (exact[:7] == 0.0).all()
    assert (upper[:7] == 0.0).all()
