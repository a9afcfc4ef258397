"""The front as text: only runs that none beats, with both metrics, and an estimate called one."""

from types import SimpleNamespace

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.errors import InvalidGoal
from bayestuner.goal import Goal
from bayestuner.report.front import front_text
from bayestuner.search.strategies.random_search import RandomSearch

IMAGES = SimpleNamespace(unit="image", metric_units={})


def searched(goal):
    strategy = RandomSearch(small_space(), goal, seed=0)
    for _ in range(30):
        trial = strategy.ask()
        strategy.tell_outcome(trial, pretend_run(trial.config))
    return strategy


def test_only_runs_that_none_beats_are_shown_with_both_metrics():
    strategy = searched(small_goal())
    text = front_text(strategy, strategy.goal, strategy.trials, IMAGES, estimated=True)
    head, _, *lines = text.splitlines()
    table = [line.split() for line in lines if line[:1].isdigit() or line.strip()[:1].isdigit()]
    n_measured = sum(bool(t.metrics) for t in strategy.trials)
    assert head == f"{len(table)} of {n_measured} measured runs are beaten by none in both, one reading each:"
    assert "power (estimated)" in text
    shown = [strategy.trials[int(cells[0]) - 1].metrics for cells in table]
    assert [m["power_w"] for m in shown] == sorted(m["power_w"] for m in shown)
    assert [m["throughput"] for m in shown] == sorted(m["throughput"] for m in shown)
    assert shown[-1]["throughput"] == max(t.metrics["throughput"] for t in strategy.trials if t.metrics)


def test_before_anything_is_measured_it_says_so_and_a_goal_without_a_bound_is_refused():
    fresh = RandomSearch(small_space(), small_goal())
    assert front_text(fresh, fresh.goal, fresh.trials, IMAGES, estimated=False).startswith("no run was measured yet")
    unbounded = searched(Goal(minimize="power_w"))
    with pytest.raises(InvalidGoal, match="a trade-off needs a bound"):
        front_text(unbounded, unbounded.goal, unbounded.trials, IMAGES, estimated=False)
