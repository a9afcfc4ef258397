"""The benchmark of decisions: its machine does what it says, and the race errs less than what it is held against."""

import numpy as np
import pytest

import bayestuner as bt
from benchmarks.decision.__main__ import RULES, line, wilson
from benchmarks.decision.machine import LUCK, Machine, Scenario
from benchmarks.decision.trials import default_row, good_row, trial
from benchmarks.search_quality.problems import Problem


@pytest.fixture
def problem():
    """A MADE-UP table: power grows with cores, throughput with cores and batch."""
    knobs = (bt.Integer("cores", 1, 8), bt.Ordinal("batch", [1, 2, 4, 8]))
    configs = [(c, b) for c in range(1, 9) for b in (1, 2, 4, 8)]
    power = np.array([20.0 + 7.0 * c + 0.2 * b for c, b in configs])
    rate = np.array([10.0 * c**0.8 * b / (b + 1) for c, b in configs])
    return Problem("toy", "toy", knobs, configs, power, rate, 25.0)


def test_the_machine_does_what_its_scenario_says(problem):
    def readings(row, n, **what):
        machine = Machine(problem, Scenario(0.0, **what), default_row(problem), 0)
        return np.array([machine.launch(row)["constraint"] for _ in range(n)]) / problem.constraint[row]

    assert np.allclose(readings(3, 5), 1.0)
    assert np.allclose(readings(3, 3, lucky=True), [LUCK, 1.0, 1.0])
    assert np.allclose(readings(default_row(problem), 3, lucky=True), 1.0)
    assert np.allclose(readings(3, 41, drift=0.15)[40], np.exp(-0.15))
    slow = readings(3, 200, slow=True)
    assert 0.05 < (slow < 0.8).mean() < 0.5
    assert problem.space.config(default_row(problem)) == {"cores": 8, "batch": 8}
    assert problem.feasible[good_row(problem)]


@pytest.mark.slow
def test_the_race_errs_less_than_the_best_of_the_search(problem):
    scenarios = [Scenario(0.05), Scenario(0.05, lucky=True)]
    outcomes = [o for s in scenarios for seed in range(20) for o in trial(problem, s, RULES, seed, "random")]
    wrong = {rule: sum(o.worse or o.misses for o in outcomes if o.rule == rule) for rule in RULES}
    assert wrong["race"] <= 1 < wrong["best of the search"]
    assert len([o for o in outcomes if o.rule == "race" and o.claimed]) > 10


def test_a_line_has_rates_with_intervals(problem):
    outcomes = trial(problem, Scenario(0.01), RULES, 0, "random")
    assert line("race", [o for o in outcomes if o.rule == "race"]).startswith("| race | 1 | 0.00 % (0.00 to 79.35) |")
    assert wilson(5, 100) == pytest.approx((0.0215, 0.1118), abs=1e-4)
