"""A reading without noise that meets a bound meets it, however the models transform readings and limits."""

import math

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.search.engine import posterior
from bayestuner.search.strategies.trade_off import TradeOff
from bayestuner.surrogate.transform import Transform

SPACE = bt.Space(bt.Integer("cores", 1, 8), bt.Integer("batch", 1, 8))


def told(goal, readings, make=bt.Tuner):
    """A tuner told metrics at (cores, batch) of the caller's choice."""
    tuner = make(SPACE, goal, seed=0)
    for (cores, batch), metrics in readings.items():
        tuner.tell(tuner.adopt({"cores": cores, "batch": batch}), metrics)
    return tuner


def test_no_errors_at_all_is_feasible():
    tuner = told(
        bt.Goal(minimize="p", subject_to=["errors <= 0"]),
        {(c, c): {"p": 5.0 + c, "errors": float(c < 2)} for c in (8, 2, 1)},
    )
    found = tuner.recommend()
    assert found.config == tuner.best_feasible.config == {"cores": 2, "batch": 2}
    assert found.p_feasible == 1.0


@pytest.mark.parametrize("bound", ["t >= 20", "t <= 20"])
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("power", ["log", "plain"])
def test_rounding_of_the_transformed_limit_decides_nothing(monkeypatch, bound, side, power):
    exact = Transform.forward_limit
    monkeypatch.setattr(Transform, "forward_limit", lambda self, limit: float(np.nextafter(exact(self, limit), side * math.inf)))
    low = -5.0 if power == "plain" else 5.0  # a metric that is negative somewhere is modelled as it is
    first, last = (low, 33.0) if ">" in bound else (40.0, low)
    tuner = told(
        bt.Goal(minimize="p", subject_to=[bound]),
        {(c, c): {"p": 5.0 + c, "t": t} for c, t in ((1, first), (3, 20.0), (6, 20.0), (8, last))},
    )
    assert tuner.recommend().config == tuner.best_feasible.config == {"cores": 3, "batch": 3}
    assert tuner.recommend().p_feasible == 1.0
    incumbent = tuner._posterior.incumbent(tuner.goal)
    assert incumbent.feasible
    assert SPACE.config(incumbent.row) == {"cores": 3, "batch": 3}


def test_a_reading_that_misses_by_the_last_bit_misses():
    just_below = float(np.nextafter(20.0, 0.0))
    tuner = told(
        bt.Goal(minimize="p", subject_to=["t >= 20"]),
        {(c, c): {"p": 5.0 + c, "t": t} for c, t in ((1, just_below), (3, 20.0), (8, 33.0))},
    )
    assert tuner.recommend().config == {"cores": 3, "batch": 3}
    only = told(bt.Goal(minimize="p", subject_to=["t >= 20"]), {(1, 1): {"p": 6.0, "t": just_below}, (3, 3): {"p": 7.0, "t": 12.0}})
    assert only.recommend().config == {"cores": 1, "batch": 1}  # where nothing is feasible the nearest is named
    assert only.recommend().p_feasible < 1e-6
    assert only.remaining_gain() is None


def test_a_noisy_reading_at_the_limit_is_an_even_chance():
    tuner = told(
        bt.Goal(minimize="p", subject_to=["t >= 20"]),
        {(c, c): {"p": 5.0 + c, "t": bt.Reading(t, sd=1.0)} for c, t in ((1, 8.0), (3, 20.0), (5, 26.0), (8, 33.0))},
    )
    log_p = tuner._posterior.log_feasible_measured(tuner.goal, tuner._posterior.noise_free_estimates(tuner.goal))
    assert math.exp(log_p[1]) == pytest.approx(0.5, abs=0.2)
    assert tuner.recommend().config == {"cores": 5, "batch": 5}


def test_equal_readings_of_a_repeated_configuration_keep_their_value():
    tuner = told(bt.Goal(minimize="p", subject_to=["t <= 0.1"]), {(c, c): {"p": 5.0 + c, "t": t} for c, t in ((1, 0.4), (6, 0.05))})
    for _ in range(3):  # their sum over three is above 0.1
        tuner.tell(tuner.adopt({"cores": 2, "batch": 2}), p=7.0, t=0.1)
    assert tuner.recommend().config == {"cores": 2, "batch": 2}
    assert tuner.recommend().expected["t"].high == 0.1


def test_rows_exactly_at_a_limit_count_in_the_regret():
    """All that is feasible is exactly at the limit; the best of it is known, so that nothing is left to regret."""
    space = bt.Space(bt.Integer("a", 1, 6))
    tuner = bt.Tuner(space, bt.Goal(minimize="p", subject_to=["t >= 20"]), seed=0)
    for a in range(1, 7):
        tuner.tell(tuner.adopt({"a": a}), p=10.0 + a, t=20.0 if a > 2 else 13.0)
    assert tuner.remaining_gain().best_value == pytest.approx(13.0)
    assert tuner.remaining_gain().regrets(64).max() == 0.0


def test_a_trade_off_keeps_rows_exactly_at_its_other_bounds():
    goal = bt.Goal(minimize="p", subject_to=["t >= 10", "errors <= 0"])
    search = told(goal, {(c, c): {"p": 5.0 + c, "t": 4.0 * c, "errors": float(c < 3)} for c in (1, 2, 4, 8)}, TradeOff)
    assert search.explain(search.ask()).reason == "hypervolume improvement"
    assert sorted(t.config["cores"] for t in search.front) == [4, 8]


# -- metrics that are discrete or saturate at the limit ---------------------------------------------------------------

GRID = bt.Space(bt.Integer("cores", 1, 14), bt.Integer("batch", 1, 12))


def saturating(config):
    raw = 18.0 * config["cores"] ** 0.8 * config["batch"] / (config["batch"] + 2)
    return {"p": 25 + 6 * config["cores"] + 0.7 * config["batch"] + 3 * math.sin(config["cores"]), "t": min(100.0, raw)}


def counting(config):
    metrics = saturating(config)
    return {"p": metrics["p"], "t": float(max(0, round(6 - metrics["t"] / 12)))}


def search(evaluate, bound, runs, **options):
    tuner = bt.Tuner(GRID, bt.Goal(minimize="p", subject_to=[bound]), **options)
    for _ in range(runs):
        trial = tuner.ask()
        tuner.tell(trial, evaluate(trial.config))
    return tuner


def test_the_limit_of_a_discrete_metric_is_moved_half_a_step_for_rows_not_measured():
    def limit(*readings):
        tuner = told(bt.Goal(minimize="p", subject_to=["t <= 2"]), {(n + 1, n + 1): {"p": 5.0 + n, "t": t} for n, t in enumerate(readings)})
        ((_, _, limit),) = tuner._posterior.limits(tuner.goal)
        return tuner._posterior.models["t"].transform.backward(limit)

    assert limit(0.0, 2.0, 2.0, 5.0) == pytest.approx(3.0)
    assert limit(0.0, 2.0, 5.0) == pytest.approx(2.0)  # one reading there may be chance
    assert limit(0.0, 2.0, bt.Reading(2.0, sd=0.1), 5.0) == pytest.approx(2.0)
    assert limit(2.0, 2.0, 2.0) == pytest.approx(2.0)


@pytest.mark.compiled
@pytest.mark.parametrize(("evaluate", "bound"), [(saturating, "t >= 100"), (counting, "t <= 0")], ids=["saturates", "counts"])
def test_a_safe_search_goes_on_to_improve_on_a_plateau_at_the_limit(monkeypatch, evaluate, bound):
    best = min(m["p"] for m in map(evaluate, GRID) if bt.Goal(minimize="p", subject_to=[bound]).feasible(m))

    def searches():
        """Mean distance from the optimum, and the share of choices that were made to improve instead of to be feasible at all."""
        tuners = [search(evaluate, bound, 20, seed=seed, min_p_feasible=0.9) for seed in range(6)]
        reasons = [tuner.explain(t).reason for tuner in tuners for t in tuner.trials[3:]]
        return np.mean([t.best_feasible.metrics["p"] / best - 1 for t in tuners]), reasons.count("expected improvement") / len(reasons)

    distance, improving = searches()
    monkeypatch.setattr(posterior, "MIN_AT_LIMIT", 1000)
    distance_before, improving_before = searches()
    assert distance < 0.9 * distance_before
    assert improving > 0.5 > improving_before


def test_an_untried_row_of_the_plateau_can_be_recommended():
    tuner = search(saturating, "t >= 100", 10, seed=2)
    found = tuner.recommend(untried=True)
    assert found.p_feasible >= 0.9
    assert saturating(found.config)["t"] >= 99.0
