"""What the Tuner offers beyond the plain loop: batches, safe search, deliberate repeats, samples of the hyperparameters."""

import math

import numpy as np
import pytest
from scipy.stats import norm

import bayestuner as bt
from bayestuner.errors import InvalidGoal, InvalidTell, SpaceExhausted
from bayestuner.search.engine.measured import Incumbent
from bayestuner.search.engine.repeat import MAX_READINGS, log_repeat_gain
from bayestuner.search.engine.tuner import Tuner

SPACE = bt.Space(bt.Integer("cores", 1, 14), bt.Integer("batch_size", 1, 16))
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 90"])


def server(config):
    cores, batch = config["cores"], config["batch_size"]
    return {"power_w": 25 + 6 * cores + 0.4 * batch, "throughput": 20 * cores**0.8 * batch / (batch + 2)}


def run(tuner, n, evaluate=server):
    for _ in range(n):
        trial = tuner.ask()
        tuner.tell(trial, evaluate(trial.config))
    return tuner


# -- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_as_many_different_configurations():
    tuner = run(Tuner(SPACE, GOAL, seed=0), 6)
    batch = tuner.ask(5)
    assert len({t.row for t in batch}) == 5
    assert not {t.row for t in batch} & {t.row for t in tuner.trials[:6]}
    for trial in batch:
        tuner.tell(trial, server(trial.config))
    assert len(tuner.trials) == 11


def test_batches_search_nearly_as_well_as_one_at_a_time():
    best = []
    for seed in range(4):
        tuner = Tuner(SPACE, GOAL, seed=seed)
        for _ in range(5):
            for trial in tuner.ask(4):
                tuner.tell(trial, server(trial.config))
        best.append(tuner.best_feasible.metrics["power_w"])
    optimum = min(server(c)["power_w"] for c in SPACE if GOAL.feasible(server(c)))
    assert np.mean(best) <= 1.02 * optimum


def test_a_batch_ends_with_the_space():
    tuner = Tuner(bt.Space(bt.Integer("a", 1, 3)), bt.Goal(minimize="y"), seed=0)
    assert len(tuner.ask(10)) == 3
    with pytest.raises(SpaceExhausted):
        tuner.ask(2)
    with pytest.raises(InvalidTell, match="at least 1, not 0"):
        tuner.ask(0)


# -- safe search -----------------------------------------------------------------------------------------------------


def violations(min_p_feasible):
    count = 0
    for seed in range(6):
        tuner = run(Tuner(SPACE, GOAL, seed=seed, min_p_feasible=min_p_feasible), 20)
        count += sum(not GOAL.feasible(t.metrics) for t in tuner.trials[3:])
        assert tuner.best_feasible is not None
    return count


def test_safe_search_breaks_the_bound_far_less_often():
    assert violations(0.9) < 0.4 * violations(None)


@pytest.mark.parametrize("options", [{"min_p_feasible": 1.0}, {"min_p_feasible": 0.0}, {"confidence": 2.0}])
def test_probabilities_are_checked(options):
    with pytest.raises(InvalidGoal, match="a probability between 0 and 1"):
        Tuner(SPACE, GOAL, **options)


# -- deliberate repeats ----------------------------------------------------------------------------------------------


def test_repeat_gain_is_the_knowledge_gradient_by_simulation():
    incumbent = Incumbent(value=1.0, feasible=True, row=0, lead=0.05, variance=0.01)
    r = 0.02
    rng = np.random.default_rng(0)
    truth = rng.normal(1.0, 0.1, 400_000)
    reading = truth + rng.normal(0.0, math.sqrt(r), truth.size)
    updated = (1.0 / 0.01 + reading / r) / (1 / 0.01 + 1 / r)
    simulated = 1.0 - np.minimum(updated, 1.05).mean()
    assert math.exp(log_repeat_gain(incumbent, r)) == pytest.approx(simulated, rel=0.03)


@pytest.mark.parametrize("incumbent", [Incumbent(1.0, True, 0, math.inf, 0.1), Incumbent(1.0, True, 0, 0.1, 0.0)])
def test_nothing_is_gained_without_noise_or_without_a_rival(incumbent):
    assert log_repeat_gain(incumbent, 0.1) == -math.inf


def test_a_noisy_best_is_measured_again_and_says_so():
    rng = np.random.default_rng(1)
    tuner = Tuner(bt.Space(bt.Integer("a", 1, 40)), bt.Goal(minimize="y"), seed=0)
    repeats = []
    for _ in range(18):
        trial = tuner.ask()
        if trial.repeat:
            repeats.append(trial)
            assert tuner.explain(trial).reason == "repeat"
        tuner.tell(trial, y=bt.Reading(10 + 0.02 * (trial.config["a"] - 18) ** 2 + rng.normal(0, 0.5), sd=0.5))
    assert repeats
    rows = [t.row for t in tuner.trials]
    assert max(rows.count(r) for r in rows) <= MAX_READINGS


def test_without_noise_nothing_is_measured_twice():
    for sd in (None, 0.0):
        tuner = Tuner(bt.Space(bt.Integer("a", 1, 12)), bt.Goal(minimize="y"), seed=0)
        for _ in range(12):
            trial = tuner.ask()
            assert not trial.repeat
            tuner.tell(trial, y=bt.Reading(10 + 0.02 * (trial.config["a"] - 6) ** 2, sd=sd))


# -- hyperparameter samples ------------------------------------------------------------------------------------------


def test_averaging_over_hyperparameters_searches_and_is_reproducible():
    one, other = (run(Tuner(SPACE, GOAL, seed=3, samples=8), 16) for _ in range(2))
    assert [t.row for t in one.trials] == [t.row for t in other.trials]
    assert [t.row for t in one.trials] != [t.row for t in run(Tuner(SPACE, GOAL, seed=3), 16).trials]
    optimum = min(server(c)["power_w"] for c in SPACE if GOAL.feasible(server(c)))
    assert one.best_feasible.metrics["power_w"] <= 1.05 * optimum
    maximising = run(Tuner(SPACE, bt.Goal(maximize="throughput", subject_to=["power_w <= 70"]), seed=0, samples=4), 14)
    assert maximising.best_feasible.metrics["power_w"] <= 70


@pytest.mark.parametrize("family", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("form", ["product", "ard"])
def test_every_covariance_searches(family, form):
    tuner = run(Tuner(SPACE, GOAL, seed=0, family=family, form=form), 16)
    optimum = min(server(c)["power_w"] for c in SPACE if GOAL.feasible(server(c)))
    assert tuner.best_feasible.metrics["power_w"] <= 1.06 * optimum


def test_an_unknown_covariance_is_refused():
    with pytest.raises(InvalidGoal, match="family is 'matern52' or 'matern32' or 'rbf', not 'cubic'"):
        Tuner(SPACE, GOAL, family="cubic")


# -- recommendations and explanations --------------------------------------------------------------------------------


def test_a_configuration_never_measured_can_be_recommended():
    tuner = run(Tuner(SPACE, GOAL, seed=0), 12)
    told = tuner.recommend(untried=True)
    assert told.p_feasible >= 0.9
    assert told.expected["power_w"].mean <= tuner.recommend().expected["power_w"].mean + 1e-9
    assert told.trial is None or told.trial.row == told.row


def rugged(config):
    """A server whose configurations each have a deviation of their own, so that a smooth model is wrong about every one of them."""
    own = math.sin(37.0 * config["cores"] + 17.0 * config["batch_size"])
    metrics = server(config)
    return {"power_w": metrics["power_w"] * (1 + 0.1 * own), "throughput": metrics["throughput"] * (1 - 0.1 * own)}


@pytest.mark.parametrize("seed", range(4))
def test_exact_readings_are_not_overruled_by_the_model(seed):
    tuner = run(Tuner(SPACE, GOAL, seed=seed), 16, rugged)
    told = tuner.recommend()
    assert told.trial == tuner.best_feasible
    assert told.p_feasible == 1.0
    for metric, value in tuner.best_feasible.metrics.items():
        assert told.expected[metric].mean == pytest.approx(value)
        assert tuner.predict(told.config)[metric] == told.expected[metric]


def test_a_noisy_reading_is_drawn_towards_the_model():
    def noisy(config):
        return {m: bt.Reading(v, sd=0.1 * v) for m, v in rugged(config).items()}

    tuner = run(Tuner(SPACE, GOAL, seed=0), 16, noisy)
    lucky = min((t for t in tuner.trials if t.metrics), key=lambda t: t.metrics["power_w"] / server(t.config)["power_w"])
    model = tuner._posterior.models["power_w"]
    smooth = model.transform.backward(float(model.gp.predict(SPACE.codes([lucky.row]))[0][0]))
    drawn = tuner.predict(lucky.config)["power_w"]
    assert lucky.metrics["power_w"] < drawn.mean < smooth
    assert drawn.low < drawn.mean < drawn.high


def test_the_explanation_is_the_acquisition_at_that_row():
    tuner = run(Tuner(SPACE, GOAL, seed=0), 9)
    trial = tuner.ask()
    why = tuner.explain(trial)
    assert why.reason == "expected improvement"
    incumbent = tuner._posterior.incumbent(GOAL)
    model = tuner._posterior.models["power_w"]
    mean, variance = model.gp.predict(SPACE.codes([trial.row]))
    std = math.sqrt(variance[0] + model.gp.noise_variance)
    u = (incumbent.value - mean[0]) / std
    assert why.log_expected_improvement == pytest.approx(math.log(std * (u * norm.cdf(u) + norm.pdf(u))), rel=1e-4, abs=1e-6)
    assert not why.approximate


def test_the_incumbent_is_the_reading_without_noise_and_drawn_to_the_model_with_it():
    def incumbent(sd):
        tuner = Tuner(bt.Space(bt.Integer("a", 1, 30)), bt.Goal(minimize="y"), seed=0)
        for a in range(1, 30, 3):
            tuner.tell(tuner.adopt({"a": a}), y=bt.Reading(10.0 + 0.01 * a - (2.0 if a == 16 else 0.0), sd=sd))
        tuner._learn_all()
        best = tuner._posterior.incumbent(tuner.goal)
        return best, tuner._posterior.models["y"].transform.backward(best.value)

    exact, value = incumbent(None)
    assert value == pytest.approx(8.16) and exact.variance == 0.0
    noisy, drawn = incumbent(2.0)
    assert drawn > 8.5 and noisy.variance > 0.0


@pytest.mark.slow
def test_a_grid_of_a_hundred_million_rows_is_searched_and_said_to_be_approximate():
    space = bt.Space(bt.Integer("a", 1, 600), bt.Integer("b", 1, 600), bt.Integer("c", 1, 300))
    tuner = Tuner(space, bt.Goal(minimize="y", subject_to=["a >= 10"]), seed=0)

    def evaluate(c):
        return {"y": 5.0 + (c["a"] / 100 - 2) ** 2 + (c["b"] / 100 - 3) ** 2 + (c["c"] / 100 - 1) ** 2}

    run(tuner, 15, evaluate)
    assert tuner.explain(tuner.trials[-1]).approximate
    assert tuner.best_feasible.metrics["y"] < 5.2
