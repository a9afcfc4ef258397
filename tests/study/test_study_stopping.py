"""A study takes the search's stopping rules beside its own, and decides the same after it was closed and opened."""

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.goal import Goal
from bayestuner.search.engine.stopping import ExpectedImprovement, RegretBound, StoppingRule, WallClock
from bayestuner.study.study import Study
from bayestuner.trial import Measured, Reading

RULES = [RegretBound(0.02), ExpectedImprovement(0.002)]


def go_on(study, rules, runs=None):
    told = 0
    while told != runs and (trial := study.ask(rules)) is not None:
        study.tell(trial, pretend_run(trial.config))
        told += 1
    return study


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_model_ends_a_study_early_and_again_after_opening(tmp_path, rule):
    with Study.create(tmp_path / "whole", small_space(), small_goal(), "bayes", seed=3, budget=40) as study:
        go_on(study, [rule])
        reason = study.stop_reason([rule])
        assert study.stop_reason() is None
        n = len(study.records())
        assert n < 30
        assert study.ask([rule]) is None
    with Study.create(tmp_path / "parts", small_space(), small_goal(), "bayes", seed=3, budget=40) as study:
        go_on(study, [rule], n - 1)
    with Study.open(tmp_path / "parts") as study:
        assert study.stop_reason([rule]) is None
        go_on(study, [rule], 1)
    with Study.open(tmp_path / "parts", read_only=True) as study:
        assert study.stop_reason([rule]) == reason
    with Study.open(tmp_path / "parts") as study:
        assert study.ask([rule]) is None
        assert study.ask() is not None


@pytest.mark.parametrize("rule", [RegretBound(0.99), ExpectedImprovement(0.99)])
def test_without_a_model_they_never_hold(tmp_path, rule):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", seed=3, budget=20) as study:
        assert len(go_on(study, [rule]).records()) == 20


def test_the_budget_comes_first_and_records_are_not_shown_to_the_rule(tmp_path):
    class Seen(StoppingRule):
        def __init__(self):
            self.strategies = []

        def reason(self, strategy):
            self.strategies.append(strategy)
            return "seen enough" if len(strategy.trials) == 4 else None

    rule = Seen()
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", seed=3, budget=6) as study:
        assert len(go_on(study, [rule]).records()) == 4
        assert study.stop_reason([rule]) == "seen enough"
        assert all(s is study.strategy() for s in rule.strategies)
        go_on(study, [])
        assert "budget of 6" in study.stop_reason([rule])


def test_before_the_baseline_only_the_clock_can_stop(tmp_path):
    goal = Goal(minimize="power_w", subject_to=["throughput >= 60%"])
    with Study.create(tmp_path / "s", small_space(), goal, "bayes", seed=0, budget=9) as study:
        assert study.stop_reason([RegretBound(0.99)]) is None
        assert study.ask([WallClock(0.0)]) is None
        trial = study.adopt(small_space().config(len(small_space()) - 1), "baseline")
        study.tell(trial, Measured({"power_w": Reading(50.0), "throughput": Reading(40.0)}))
        assert study.ask([RegretBound(0.01)]) is not None
