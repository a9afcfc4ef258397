"""Speed of the surrogate: one evaluation, a fit, an append, integration over hyperparameters, joint samples.

Run it with ``python -m pytest benchmarks/bench_fit.py``. Compiling happens before the clock starts; each benchmark checks what it computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from bayestuner._core.likelihood import objective
from bayestuner.space import Integer, Ordinal, Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import fit
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.integrate import Evidence, ccd_nodes, condition_all, mixture, slice_samples
from bayestuner.surrogate.sampling import joint_samples

SIZES = [10, 20, 50, 100, 200]
PAPER = Space(Integer("cores", 1, 28), Integer("memory_gib", 1, 8), Integer("batch_size", 1, 32))  # 7168 cells
FOUR = Space(*PAPER.knobs, Ordinal("gpu_mhz", [300, 600, 900, 1200, 1500]))


@dataclass
class Case:
    """n readings of a smooth function with a little noise, and a process fitted to them."""

    space: Space
    n: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.n)
        self.codes = self.space.codes(rng.choice(self.space.n_rows, self.n + 1, replace=False))
        x = self.codes / (np.array(self.space.shape) - 1)
        y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] - 0.5 * x[:, -1] ** 2 + 0.03 * rng.standard_normal(self.n + 1)
        self.y = (y - y.mean()) / y.std()
        self.geometry = Geometry.of(self.space)
        self.evidence = Evidence(self.geometry, self.codes[: self.n], self.y[: self.n], np.ones(self.n), np.zeros(self.n))
        self.mean, self.sd = self.evidence.prior
        self.gp = GaussianProcess(self.geometry)
        self.gp.fit(self.codes[: self.n], self.y[: self.n], np.ones(self.n), np.zeros(self.n))

    def fit(self, starts: np.ndarray) -> tuple[np.ndarray, float]:
        e = self.evidence
        return fit(self.geometry, e.codes, e.y, e.reps, e.known_noise, starts=starts, prior_mean=self.mean, prior_sd=self.sd)


@pytest.fixture(scope="module", params=SIZES, ids=lambda n: f"n={n}")
def case(request):
    return Case(FOUR, request.param)


@pytest.fixture(scope="module")
def paper():
    return Case(PAPER, 20)


def test_value_and_gradient(benchmark, case):
    value, gradient = benchmark(objective, case.mean, *case.evidence.arguments)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_fit_from_the_last_theta_and_the_prior_mean(benchmark, case):
    last = Case(FOUR, case.n - 1).gp.theta if case.n > 1 else case.mean
    theta, value = benchmark(case.fit, np.stack([last, case.mean]))
    assert value <= objective(case.mean, *case.evidence.arguments)[0]
    assert theta.shape == case.mean.shape


def test_condition_without_a_fit(benchmark, case):
    e = case.evidence
    gp = GaussianProcess(case.geometry, theta=case.gp.theta)
    benchmark(gp.fit, e.codes, e.y, e.reps, e.known_noise)
    np.testing.assert_allclose(gp.beta, case.gp.beta, rtol=1e-9)


def test_append_one(benchmark, case):
    e = case.evidence

    def fresh():
        gp = GaussianProcess(case.geometry, theta=case.gp.theta)
        gp.fit(e.codes, e.y, e.reps, e.known_noise)
        return (gp,), {}

    def append(gp):
        assert gp.extend(case.codes[case.n], case.y[case.n], gp.noise_variance)

    benchmark.pedantic(append, setup=fresh, rounds=200, warmup_rounds=5)


@pytest.mark.parametrize("space", [PAPER, FOUR], ids=["3 knobs", "4 knobs"])
def test_ten_slice_samples_from_the_last_ones(benchmark, space):
    case = Case(space, 20)
    rng = np.random.default_rng(0)
    start = slice_samples(case.evidence, case.gp.theta, 1, rng, burn_in=20)[0]
    theta = benchmark(slice_samples, case.evidence, start, 10, rng)
    assert len(np.unique(theta[:, 0])) == 10


@pytest.mark.parametrize("corners", [True, False])
def test_design_nodes(benchmark, paper, corners):
    theta, weights = benchmark(ccd_nodes, paper.evidence, paper.gp.theta, corners=corners)
    assert len(theta) == (147 if corners else 19)
    assert weights.sum() == pytest.approx(1.0)


def test_condition_a_process_at_every_node(benchmark, paper):
    theta, weights = ccd_nodes(paper.evidence, paper.gp.theta, corners=False)
    processes = benchmark(condition_all, paper.evidence, theta)
    mean, variance = mixture(processes, weights, paper.codes[:20])
    assert np.abs(mean - paper.y[:20]).max() < 0.5
    assert (variance > 0).all()


@pytest.mark.parametrize("n", [20, 50, 200])
def test_64_joint_samples_of_7168_cells(benchmark, n):
    case = Case(PAPER, n)
    rng = np.random.default_rng(0)
    samples = benchmark(joint_samples, case.gp, PAPER, 64, rng)
    assert samples.shape == (64, 7168)
    mean, _ = case.gp.predict(case.codes)
    assert np.abs(samples[:, rows_of(case.codes)].mean(axis=0) - mean).max() < 0.6


def test_64_joint_samples_of_500_listed_rows(benchmark, paper):
    rng = np.random.default_rng(0)
    rows = rng.choice(PAPER.n_rows, 500, replace=False)
    assert benchmark(joint_samples, paper.gp, PAPER, 64, rng, rows).shape == (64, 500)


def rows_of(codes: np.ndarray) -> np.ndarray:
    """Rows of the paper's grid."""
    return np.ravel_multi_index(tuple(codes.T), PAPER.shape)
