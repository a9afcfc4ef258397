"""An objective that is a knob: its value is known at every row without a run, and no run is spent on a row that can't be better."""

import math

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import SpaceExhausted
from bayestuner.search.engine.knob_metrics import best_known_objective, margin_of
from bayestuner.search.engine.repeat import MAX_READINGS, row_to_measure_again

GOAL = bt.Goal(minimize="cores", subject_to=["t >= 20"])


def space():
    return bt.Space(bt.Integer("cores", 1, 8), bt.Integer("batch", 1, 8), bt.Ordinal("memory", [1, 2, 4], more_is="safer"))


def throughput(config):
    return 3.0 * config["cores"] * config["batch"] ** 0.5


def runs(tuner, count, noise=0.0, sd=None):
    rng = np.random.default_rng(0)
    for _ in range(count):
        trial = tuner.ask()
        tuner.tell(trial, t=bt.Reading(throughput(trial.config) + noise * rng.standard_normal(), sd))
    return tuner.trials


def best_so_far(trials):
    """For each trial the fewest cores of the trials before it that met the goal."""
    found, out = math.inf, []
    for trial in trials:
        out.append(found)
        if trial.metrics["t"] >= 20:
            found = min(found, trial.config["cores"])
    return out


@pytest.mark.parametrize("seed", range(4))
def test_no_row_is_asked_that_is_no_better_than_one_that_meets_the_goal(seed):
    tuner = bt.Tuner(space(), GOAL, seed=seed)
    trials = runs(tuner, 12)
    assert all(trial.config["cores"] < best for trial, best in zip(trials, best_so_far(trials), strict=True))
    assert tuner.best_feasible.config["cores"] == 3  # three cores reach 25, two 17


def test_the_search_ends_where_nothing_left_can_be_better():
    easy = bt.Goal(minimize="cores", subject_to=["t >= 1"])
    result = bt.optimize(lambda config: {"t": throughput(config)}, space(), easy, budget=40)
    assert result.best.config["cores"] == 1
    assert len(result.trials) < 12
    assert result.stop_reason == "no configuration that is left can be better than one found: cores = 1 meets the goal"
    tuner = bt.Tuner(space(), bt.Goal(maximize="batch"))
    tuner.tell(tuner.adopt({"cores": 1, "batch": 8, "memory": 1}), {})
    with pytest.raises(SpaceExhausted, match="batch = 8 meets the goal"):
        tuner.ask()


def test_a_batch_ends_where_nothing_left_can_be_better():
    tuner = bt.Tuner(bt.Space(bt.Integer("cores", 1, 5)), GOAL)
    tuner.tell(tuner.adopt({"cores": 4}), t=30.0)
    assert sorted(t.config["cores"] for t in tuner.ask(9)) == [1, 2, 3]


def test_of_equal_rows_the_frugal_one_is_recommended():
    tuner = bt.Tuner(space(), GOAL)
    for memory in (4, 1, 2):
        tuner.tell(tuner.adopt({"cores": 3, "batch": 8, "memory": memory}), t=25.0)
    tuner.tell(tuner.adopt({"cores": 2, "batch": 8, "memory": 1}), t=17.0)
    assert tuner.recommend().config == {"cores": 3, "batch": 8, "memory": 1}


def test_a_retarget_opens_what_can_be_better_again():
    tuner = bt.Tuner(bt.Space(bt.Integer("cores", 1, 5)), GOAL)
    tuner.tell_many([({"cores": 4}, {"t": 24.0}), ({"cores": 2}, {"t": 12.0})])
    assert tuner.ask().config == {"cores": 3}
    tuner.retarget(bt.Goal(minimize="cores", subject_to=["t >= 25"]))
    assert {"cores": 5} in [trial.config for trial in tuner.ask(2)]


def test_a_row_that_meets_the_goal_only_perhaps_does_not_shut_out_others_and_is_measured_again():
    tuner = bt.Tuner(bt.Space(bt.Integer("cores", 1, 6), bt.Integer("batch", 1, 4)), GOAL)
    tuner.tell_many([
        ({"cores": 6, "batch": 4}, {"t": bt.Reading(36.0, 1.0)}),
        ({"cores": 5, "batch": 1}, {"t": bt.Reading(15.0, 1.0)}),
        ({"cores": 3, "batch": 4}, {"t": bt.Reading(20.6, 1.0)}),
        ({"cores": 1, "batch": 4}, {"t": bt.Reading(6.0, 1.0)}),
    ])  # fmt: skip
    assert best_known_objective(tuner.space, GOAL, tuner.trials, margin_of(0.9)) == 6.0
    trials = runs(tuner, 6, noise=1.0, sd=1.0)
    assert any(t.repeat and tuner.explain(t).reason == "repeat" for t in trials)
    assert max(sum(t.row == row for t in trials) for row in {t.row for t in trials}) <= MAX_READINGS
    assert not any(t.config["cores"] == 6 for t in trials[4:])


def test_what_a_doubtful_row_gains_counts_times_its_probability():
    objective, log_p = np.array([1.0, 2.0, 3.0]), np.log([0.05, 0.5, 0.9])
    again = row_to_measure_again(objective, log_p, np.array([1, 1, 1]), 4.0, 1, -math.inf)
    assert again == 1  # the lead 2 times 1/2, against 1 times 0.9; the first is too unlikely
    assert row_to_measure_again(objective, log_p, np.array([1, MAX_READINGS, 1]), 4.0, 1, -math.inf) == 2
    assert row_to_measure_again(objective, log_p, np.array([1, 1, 1]), 4.0, 1, math.log(1.1)) is None
    assert row_to_measure_again(objective, log_p, np.array([1, 1, 1]), 2.0, 1, -math.inf) is None


def test_the_margin_is_that_of_the_normal_distribution():
    assert margin_of(0.975) == pytest.approx(1.959964, abs=1e-6)
    assert margin_of(0.3) == 0.0
