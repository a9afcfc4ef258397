"""CherryPick and Spearmint's GP EI MCMC keep the rules of their publications; each test names the rule."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from bayestuner.errors import SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.strategies.cherry_pick import AFTER, CherryPick
from bayestuner.search.strategies.quasi_random import first_primes, halton, next_quasi_random
from bayestuner.search.strategies.spearmint import Spearmint
from bayestuner.space import Categorical, Integer, Space
from bayestuner.surrogate.covariance import FIXED, FORMS
from bayestuner.trial import Reading

SPACE = Space(Integer("cores", 1, 12), Integer("batch_size", 1, 10))
GOAL = Goal(minimize="power_w", subject_to=["throughput >= 20"])
CHERRY_PICK = partial(CherryPick, share=None)
COMPILED = pytest.mark.compiled  # slice sampling in plain Python takes minutes
PUBLISHED = [CHERRY_PICK, pytest.param(Spearmint, marks=COMPILED)]


def metrics(config):
    cores, batch = config["cores"], config["batch_size"]
    return {"power_w": 20.0 + 6.0 * cores + 0.5 * batch + 2.0 * math.sin(cores), "throughput": 9.0 * cores**0.7 * batch / (batch + 3.0)}


def run(strategy, n, evaluate=metrics):
    for _ in range(n):
        trial = strategy.ask()
        strategy.tell(trial, evaluate(trial.config))
    return strategy


def nothing_out(rows):
    return np.zeros(rows.size, dtype=bool)


# -- the start --------------------------------------------------------------------------------------------------------


def test_halton_points_are_the_published_ones():
    assert first_primes(5) == [2, 3, 5, 7, 11]
    points = [halton(n, 2) for n in range(1, 5)]
    assert np.array(points) == pytest.approx(np.array([[1 / 2, 1 / 3], [1 / 4, 2 / 3], [3 / 4, 1 / 9], [1 / 8, 4 / 9]]))


def test_quasi_random_rows_spread_evenly_and_skip_what_is_out():
    rows = [next_quasi_random(SPACE, nothing_out, n, seed=3) for n in range(12)]
    halves = SPACE.codes(rows) // np.array([6, 5])
    assert [((halves == corner).all(axis=1)).sum() for corner in ([0, 0], [0, 1], [1, 0], [1, 1])] == pytest.approx([3] * 4, abs=1)
    other = next_quasi_random(SPACE, lambda r: r == rows[0], 0, seed=3)
    assert other == rows[1]
    assert next_quasi_random(SPACE, lambda r: np.ones(r.size, dtype=bool), 0, seed=3) == -1


def test_quasi_random_rows_of_a_listed_space_run_over_its_rows():
    listed = Space.from_rows([Integer("a", 0, 99), Categorical("k", ["x", "y"])], [(a, "xy"[a % 2]) for a in range(0, 100, 7)])
    rows = {next_quasi_random(listed, nothing_out, n, seed=0) for n in range(8)}
    assert len(rows) >= 7
    assert max(rows) < len(listed)


@COMPILED
def test_cherry_pick_starts_with_three_quasi_random_points_and_spearmint_with_two():
    for make, count in ((CHERRY_PICK, 3), (Spearmint, 2)):
        strategy = run(make(SPACE, GOAL, seed=5), 4)
        reasons = [strategy.explain(t).reason for t in strategy.trials]
        assert reasons[:count] == ["design"] * count
        assert "design" not in reasons[count:]
        assert [t.row for t in strategy.trials[:count]] == [next_quasi_random(SPACE, nothing_out, n, 5) for n in range(count)]


# -- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", PUBLISHED)
def test_the_model_is_a_matern_of_one_scaled_distance_without_warp_or_trend(make):
    strategy = run(make(SPACE, GOAL, seed=0), 8)
    geometry = strategy._posterior.geometry
    assert geometry.form == FORMS["ard"]
    assert (geometry.kinds == FIXED).all()
    for model in strategy._posterior.models.values():
        assert math.exp(model.gp.theta[geometry.d + 2]) < 1e-15  # the trend's variance


@COMPILED
def test_cherry_pick_models_the_logarithm_and_spearmint_the_metric_always():
    def cubic(config):  # the evidence would choose neither for both
        return {**metrics(config), "power_w": (5.0 + config["cores"]) ** 3}

    for make, power in ((CHERRY_PICK, 0.0), (Spearmint, 1.0)):
        strategy = run(make(SPACE, GOAL, seed=0), 13, cubic)
        assert {model.transform.power for model in strategy._posterior.models.values()} == {power}


@COMPILED
def test_spearmint_samples_its_hyperparameters():
    strategy = run(Spearmint(SPACE, GOAL, seed=0), 6)
    for model in strategy._posterior.models.values():
        assert len(model.processes) == 10
        assert len({tuple(gp.theta) for gp in model.processes}) == 10


# -- the choice -------------------------------------------------------------------------------------------------------


def expected_values(strategy, objective_and_bound):
    """EI x P(throughput >= 20) at every row, worked out with scipy from pairs of processes, averaged over them."""
    rows = np.arange(SPACE.n_rows)
    power, throughput = (strategy._posterior.models[m] for m in ("power_w", "throughput"))
    feasible = [t for t in strategy.trials if t.outcome and t.metrics["throughput"] >= 20.0]
    best = min(float(power.transform.forward(np.array([t.metrics["power_w"]]))[0]) for t in feasible)
    limit = throughput.transform.forward_limit(20.0)
    total = np.zeros(rows.size)
    for objective, bound in objective_and_bound:
        mean, variance = objective.predict(SPACE.codes(rows))
        sd = np.sqrt(variance + objective.noise_variance)
        u = (best - mean) / sd
        other, spread = bound.predict(SPACE.codes(rows))
        p = norm.cdf((other - limit) / np.sqrt(spread + bound.noise_variance))
        total += sd * (u * norm.cdf(u) + norm.pdf(u)) * p
    total[[t.row for t in strategy.trials]] = 0.0
    return total / len(objective_and_bound)


@pytest.mark.parametrize("make", PUBLISHED)
def test_the_next_run_has_the_largest_expected_improvement_times_the_chance_to_meet_the_bound(make):
    strategy = run(make(SPACE, GOAL, seed=2), 9)
    models = strategy._posterior.models
    pairs = list(zip(models["power_w"].processes, models["throughput"].processes, strict=True))
    values = expected_values(strategy, pairs)
    assert values[strategy.ask().row] == pytest.approx(values.max(), rel=1e-6)


@pytest.mark.parametrize("make", PUBLISHED)
def test_while_nothing_is_feasible_the_most_likely_row_is_run(make):
    strategy = run(make(SPACE, Goal(minimize="power_w", subject_to=["throughput >= 1000"]), seed=1), 6)
    assert {strategy.explain(t).reason for t in strategy.trials[3:]} == {"most feasible"}


@pytest.mark.parametrize("make", PUBLISHED)
def test_no_hint_rules_rows_out(make):
    space = Space(Integer("memory_gib", 1, 8, more_is="safer"), Integer("batch_size", 1, 10))
    strategy = make(space, GOAL, seed=0)
    trial = strategy.adopt({"memory_gib": 6, "batch_size": 2})
    strategy.tell_failed(trial, "oom")
    assert not next(strategy._candidates.exclusions(())).boxes.size


@COMPILED
def test_spearmint_improves_on_a_row_only_if_it_meets_the_bound_with_high_probability():
    strategy = Spearmint(SPACE, GOAL, seed=0)
    for cores, power_w, throughput in ((4, 30.0, 20.4), (6, 50.0, 30.0), (9, 70.0, 40.0), (2, 20.0, 10.0)):
        trial = strategy.adopt({"cores": cores, "batch_size": 5})
        strategy.tell(trial, power_w=power_w, throughput=Reading(throughput, sd=1.0))
    doubtful, sure = (strategy._posterior.incumbent(GOAL, margin_sd) for margin_sd in (0.0, strategy._margin_sd))
    assert SPACE.config(doubtful.row)["cores"] == 4
    assert SPACE.config(sure.row)["cores"] == 6


# -- the end ----------------------------------------------------------------------------------------------------------


def test_cherry_pick_ends_when_less_than_a_tenth_is_to_be_gained_after_six_runs():
    strategy = CherryPick(SPACE, GOAL, seed=0)
    with pytest.raises(SpaceExhausted, match=r"cherry_pick has ended: the largest expected improvement left, .* is below 10 %"):
        run(strategy, 60)
    assert AFTER <= len(strategy.trials) < 60
    assert strategy.remaining_gain().largest_improvement() < 0.10
    with pytest.raises(SpaceExhausted):
        strategy.ask()


def test_cherry_pick_goes_on_while_more_is_to_be_gained_or_nothing_is_feasible():
    strategy = run(CherryPick(SPACE, Goal(minimize="power_w", subject_to=["throughput >= 1000"]), seed=0), 15)
    assert len(strategy.trials) == 15
    assert len(run(CherryPick(SPACE, GOAL, seed=0, share=None), 30).trials) == 30
