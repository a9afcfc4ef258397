"""Simulated annealing walks as its sources say: one step on one knob, always downhill, uphill by Metropolis, ever colder."""

import math

import numpy as np
import pytest

from bayestuner.goal import Goal
from bayestuner.search.strategies import annealing
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.space import Categorical, Integer, Space

SPACE = Space(Integer("a", 0, 20), Integer("b", 0, 20), Categorical("kind", ["x", "y", "z"]))
GOAL = Goal(minimize="cost", subject_to=["speed >= 10"])


def metrics(config):
    return {"cost": 100.0 + (config["a"] - 7) ** 2 + (config["b"] - 12) ** 2, "speed": 5.0 + config["a"]}


def test_a_step_changes_one_knob_by_no_more_than_the_longest_step():
    walker = Annealing(SPACE, GOAL, seed=0)
    walker.tell(first := walker.ask(), metrics(first.config))
    here = SPACE.codes([walker._here])[0]
    changed = []
    for _ in range(500):
        row = walker._neighbour()
        if row is not None:
            step = SPACE.codes([row])[0] - here
            assert (step != 0).sum() == 1
            changed.append(step)
    longest = np.abs(np.array(changed)).max(axis=0)
    assert (longest[:2] <= round(annealing.LONGEST_STEP * 21)).all()
    assert {int(c[2]) + int(here[2]) for c in changed if c[2]} == {0, 1, 2} - {int(here[2])}  # any other category is one step away


def accepted(rise, runs, draws=4000):
    """The share of steps up by `rise` that are taken after so many runs of 20."""
    walker = Annealing(SPACE, GOAL, seed=1, budget=20)
    count = 0
    for _ in range(draws):
        walker._energy = {-k: 0.0 for k in range(3, runs + 1)} | {1: 0.0, 2: rise}
        walker._here = 1
        walker._move(2)
        count += walker._here == 2
    return count / draws


def test_a_step_up_is_taken_with_metropolis_chance():
    temperature = annealing.HOT * (annealing.COLD / annealing.HOT) ** (10 / 19)
    assert accepted(0.02, 10) == pytest.approx(math.exp(-0.02 / temperature), abs=0.03)
    assert accepted(-0.02, 10) == 1.0
    assert accepted(math.inf, 10) == 0.0  # a failed run


def test_it_gets_colder_with_every_run():
    shares = [accepted(0.02, runs, 1000) for runs in (2, 8, 14, 19)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.6
    assert shares[-1] < 0.1


def test_missing_a_bound_costs_more_than_the_objective_can_save():
    walker = Annealing(SPACE, GOAL, seed=0)
    for config in ({"a": 5, "b": 12, "kind": "x"}, {"a": 4, "b": 12, "kind": "x"}):  # cost 104 and 109; speed 10 and 9
        walker.tell(walker.adopt(config), metrics(config))
    good, bad = walker._energy.values()
    assert bad - good == pytest.approx((109 - 104) / 104 + annealing.PENALTY * 0.1)


def test_steps_onto_known_rows_cost_no_run():
    space = Space(Integer("a", 0, 2))
    walker = Annealing(space, Goal(minimize="cost"), seed=0)
    rows = []
    for _ in range(3):
        trial = walker.ask()
        rows.append(trial.row)
        walker.tell(trial, cost=float(trial.row))
    assert sorted(rows) == [0, 1, 2]


def test_it_comes_nearer_than_random_search_where_neighbours_are_alike():
    from bayestuner.search.strategies.random_search import RandomSearch

    def best(make, seed):
        strategy = make(SPACE, GOAL, seed=seed)
        for _ in range(40):
            trial = strategy.ask()
            strategy.tell(trial, metrics(trial.config))
        return strategy.best_feasible.metrics["cost"]

    costs = [np.mean([best(make, seed) for seed in range(30)]) for make in (Annealing, RandomSearch)]
    assert costs[0] < costs[1]
