"""A failure that was a fluke must not close the optimum's neighbourhood for ever; a real one is doubted rarely, and once."""

import math

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.search.engine.hints import Hints
from bayestuner.search.engine.recheck import FLUKE_RATE, probability_of_fluke

SPACE = bt.Space(bt.Integer("cores", 1, 12), bt.Integer("memory_gib", 1, 8, more_is="safer"))
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 70"])


def server(config):
    cores, memory = config["cores"], config["memory_gib"]
    if memory < 2:
        raise bt.RunFailed("oom")
    return {"power_w": 25 + 6 * cores + 0.5 * memory + 3 * math.sin(2 * cores), "throughput": 15 * cores**0.8}


def optimum():
    return min((c for c in SPACE if c["memory_gib"] >= 2 and GOAL.feasible(server(c))), key=lambda c: server(c)["power_w"])


def search(seed, runs, fluke_at=None, **options):
    """A search in which the first run with so many cores is killed for memory, whatever it has of it."""
    tuner, flukes = bt.Tuner(SPACE, GOAL, seed=seed, **options), 0
    for _ in range(runs):
        trial = tuner.ask()
        try:
            metrics = server(trial.config)
            if trial.config["cores"] == fluke_at and not flukes:
                flukes += 1
                raise bt.RunFailed("oom")
        except bt.RunFailed as failure:
            tuner.tell_failed(trial, failure.kind)
        else:
            tuner.tell(trial, metrics)
    return tuner


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(6))
def test_one_fluke_does_not_hide_the_optimum(seed):
    tuner = search(seed, 20, fluke_at=optimum()["cores"])
    failed = [t for t in tuner.trials if t.state == "failed" and t.config["memory_gib"] > 1]
    assert len(failed) == 1
    assert tuner.best_feasible.metrics["power_w"] <= 1.02 * server(optimum())["power_w"]


@pytest.mark.compiled
def test_a_failure_is_run_again_where_it_hides_the_best_and_says_so():
    tuner = search(1, 20, fluke_at=optimum()["cores"])
    again = [t for t in tuner.trials if tuner.explain(t).reason == "recheck"]
    assert again
    assert all(t.repeat for t in again)
    first = next(t for t in tuner.trials if t.row == again[0].row)
    assert first.state == "failed"
    assert again[0].state == "measured"


@pytest.mark.compiled
def test_real_failures_are_hardly_ever_run_again():
    rechecks = [sum(tuner.explain(t).reason == "recheck" for t in tuner.trials) for tuner in (search(seed, 20) for seed in range(8))]
    assert np.mean(rechecks) <= 0.5


@pytest.mark.compiled
def test_a_safe_search_doubts_no_failure():
    cores = optimum()["cores"]
    tuners = [search(seed, 20, fluke_at=cores, min_p_feasible=0.5) for seed in range(4)]
    assert any(t.state == "failed" and t.config["cores"] == cores for tuner in tuners for t in tuner.trials)
    assert all(tuner.explain(t).reason != "recheck" for tuner in tuners for t in tuner.trials)


def test_a_failure_that_happens_again_is_believed():
    tuner = search(0, 6)
    config = {"cores": 6, "memory_gib": 5}
    for n in range(2):
        assert (SPACE.row(config) in tuner._candidates.doubtful()) == (n == 1)
        tuner.tell_failed(tuner.adopt(config), "oom")
    assert SPACE.row(config) not in tuner._candidates.doubtful()


SMALL = bt.Space(bt.Integer("memory", 1, 4, more_is="safer"), bt.Integer("cores", 1, 2))


def row(memory, cores):
    return SMALL.row({"memory": memory, "cores": cores})


def test_only_a_failure_without_another_one_of_its_kind_is_doubtful():
    hints = Hints(SMALL)
    assert hints.doubtful() == []
    hints.failed(row(2, 1))
    hints.failed(row(4, 2))
    assert hints.doubtful() == [row(2, 1), row(4, 2)]
    hints.failed(row(3, 1))  # rules the first one out
    assert hints.doubtful() == [row(4, 2)]
    hints.failed(row(4, 2))
    assert hints.doubtful() == []


def test_a_row_that_runs_after_all_rules_nothing_out_and_keeps_the_hint():
    hints = Hints(SMALL)
    hints.failed(row(4, 2))
    hints.failed(row(1, 1))
    assert hints.ran(row(4, 2)) == []
    assert hints.active
    assert len(hints.boxes()) == 1


def test_the_probability_of_a_fluke_is_bayes_rule():
    runs = 200_000
    rng = np.random.default_rng(0)
    viable = rng.random(runs) < 0.8
    failed = ~viable | (rng.random(runs) < FLUKE_RATE)
    assert probability_of_fluke(0.8) == pytest.approx(viable[failed].mean(), abs=0.01)
    assert probability_of_fluke(0.0) == 0.0
    assert probability_of_fluke(1.0) == pytest.approx(1.0)


def test_rows_ruled_out_by_a_failure_are_those_of_its_box():
    tuner = bt.Tuner(SPACE, bt.Goal(minimize="power_w", subject_to=["memory_gib >= 3"]), seed=0)
    tuner.tell_failed(tuner.adopt({"cores": 4, "memory_gib": 6}), "oom")
    codes = tuner._candidates.doubtful()[SPACE.row({"cores": 4, "memory_gib": 6})]
    configs = [SPACE.config(SPACE.find(code)) for code in codes]
    assert sorted(c["memory_gib"] for c in configs) == [3, 4, 5, 6]  # without those that break the bound
    assert {c["cores"] for c in configs} == {4}
