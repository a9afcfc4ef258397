"""Trade-off search: the front answers every threshold, and the search does not depend on the one it was given."""

import math

import numpy as np
import pytest

from bayestuner.errors import InvalidGoal, InvalidSpace
from bayestuner.goal import Goal
from bayestuner.search.strategies import trade_off
from bayestuner.search.strategies.pareto import front_of, hypervolume
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategies.trade_off import TradeOff
from bayestuner.space import Integer, Space

SPACE = Space(Integer("cores", 1, 16), Integer("batch_size", 1, 16))


def goal(limit=20):
    return Goal(minimize="power_w", subject_to=[f"throughput >= {limit}"])


def metrics(config):
    cores, batch = config["cores"], config["batch_size"]
    return {
        "power_w": 20.0 + 5.0 * cores + 4.0 * math.sin(batch) + 0.4 * batch,
        "throughput": 9.0 * cores**0.6 * batch / (batch + 3.0),
        "latency_s": batch / (9.0 * cores**0.6),
    }


def run(strategy, n, fails=lambda config: False):
    for _ in range(n):
        trial = strategy.ask()
        if fails(trial.config):
            strategy.tell_failed(trial, "oom")
        else:
            strategy.tell(trial, metrics(trial.config))
    return strategy


def points_of(strategy):
    return np.array([(t.metrics["power_w"], -t.metrics["throughput"]) for t in strategy.trials if t.metrics])


def test_the_limit_of_the_bound_plays_no_part_in_the_search():
    rows = [[t.row for t in run(TradeOff(SPACE, goal(limit), seed=1), 14).trials] for limit in (5, 40)]
    assert rows[0] == rows[1]


def test_it_dominates_more_than_random_search_and_most_of_what_there_is():
    reference = np.array([110.0, -12.0])  # a quarter of the largest throughput
    whole = hypervolume(np.array([(m["power_w"], -m["throughput"]) for m in map(metrics, SPACE)]), reference)
    own, random = (
        np.array([hypervolume(points_of(run(make(SPACE, goal(), seed=seed), 25)), reference) / whole for seed in range(5)])
        for make in (TradeOff, RandomSearch)
    )
    assert own.mean() > 0.94
    assert own.mean() > random.mean() + 0.05


def test_the_front_holds_the_best_trial_for_every_limit():
    search = run(TradeOff(SPACE, goal(), seed=2), 20)
    front = search.front
    assert len(front) > 5
    for limit in range(2, 45, 3):
        search.retarget(goal(limit))
        best = search.best_feasible
        assert best is None or best.metrics["power_w"] == min(t.metrics["power_w"] for t in front if t.metrics["throughput"] >= limit)


def test_the_next_run_is_by_hypervolume_and_says_so():
    search = run(TradeOff(SPACE, goal(), seed=0), 6)
    assert [search.explain(t).reason for t in search.trials] == ["design"] * 3 + ["hypervolume improvement"] * 3


def test_failures_and_further_bounds_are_kept_to():
    bounded = Goal(minimize="power_w", subject_to=["throughput >= 20", "latency_s <= 0.5", "batch_size <= 12"])
    search = run(TradeOff(SPACE, bounded, seed=0), 24, fails=lambda c: c["cores"] == 16)
    assert all(t.config["batch_size"] <= 12 for t in search.trials[3:])
    late = search.trials[12:]
    assert sum(t.metrics.get("latency_s", 1.0) <= 0.5 for t in late) > len(late) / 2
    assert all(t.metrics["latency_s"] <= 0.5 for t in search.front)


def test_a_knob_may_be_the_objective():
    search = run(TradeOff(SPACE, Goal(minimize="cores", subject_to=["throughput >= 20"]), seed=0), 20)
    found = {t.config["cores"]: t.metrics["throughput"] for t in search.front}
    true = {c: max(metrics({"cores": c, "batch_size": b})["throughput"] for b in range(1, 17)) for c in found}
    assert len(found) > 8
    assert np.mean([found[c] / true[c] for c in found]) > 0.97


def test_maximising_and_an_upper_bound_trade_off_too():
    search = run(TradeOff(SPACE, Goal(maximize="throughput", subject_to=["latency_s <= 0.3"]), seed=0), 20)
    latencies = [t.metrics["latency_s"] for t in search.front]
    assert latencies == sorted(latencies, reverse=True)  # the most throughput, and the most latency, first
    assert len(latencies) > 6


@pytest.mark.parametrize("bounds", [[], ["batch_size <= 4"], ["power_w <= 80"]])
def test_a_goal_without_a_second_metric_is_refused(bounds):
    with pytest.raises(InvalidGoal, match="a trade-off needs a bound on a second metric"):
        TradeOff(SPACE, Goal(minimize="power_w", subject_to=bounds))


def test_too_large_a_space_is_refused(monkeypatch):
    monkeypatch.setattr(trade_off, "MAX_ROWS", 100)
    with pytest.raises(InvalidSpace, match="at most 100 rows, and the space has 256"):
        TradeOff(SPACE, goal())


def test_the_search_leaves_limits_below_the_least_share_alone():
    counts = []
    for min_limit_share in (0.01, 0.6):
        late = run(TradeOff(SPACE, goal(), seed=0, min_limit_share=min_limit_share), 25).trials[5:]
        counts.append(sum(t.metrics["throughput"] >= 0.5 * 47.5 for t in late))
    assert counts[1] > counts[0] + 4
    with pytest.raises(InvalidGoal, match="min_limit_share is a share above 0 and below 1"):
        TradeOff(SPACE, goal(), min_limit_share=1.5)


def test_any_strategy_has_a_front():
    search = run(RandomSearch(SPACE, goal(), seed=0), 30)
    front = front_of(search, goal(), search.trials)
    powers = [t.metrics["power_w"] for t in front]
    assert powers == sorted(powers)
    assert front_of(search, goal(), []) == []
