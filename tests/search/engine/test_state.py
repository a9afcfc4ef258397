"""A tuner kept as JSON, pickled or copied goes on as the one it was taken of; many results are told at once."""

import contextlib
import copy
import json
import pickle
import warnings

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidSpace, InvalidState, InvalidTell
from bayestuner.search.strategies import (
    aimd,
    annealing,
    batch_sizer,
    cherry_pick,
    exhaustive,
    random_search,
    spearmint,
    trade_off,
)

GOAL = bt.Goal(minimize="p", subject_to=["t >= 12"])


def space():
    return bt.Space(
        bt.Integer("batch_size", 1, 12, more_is="riskier"),
        bt.Ordinal("memory", [1, 2, 4, 8]),
        bt.Categorical("c", ["x", "y"]),
        where=lambda c: c["memory"] > 1 or c["c"] == "x",
    )


def result(config):
    if config["batch_size"] > 3 * config["memory"]:
        return "oom"
    noise = 0.1 if config["c"] == "x" else None
    p = 3.0 + (config["batch_size"] - 4) ** 2 + config["memory"] / 5
    return {"p": bt.Reading(p, noise), "t": 2.0 * config["batch_size"] + config["memory"], "u": float(config["memory"])}


def step(tuner, trial=None):
    trial = trial if trial is not None else tuner.ask()
    outcome = result(trial.config)
    return tuner.tell_failed(trial, outcome) if isinstance(outcome, str) else tuner.tell(trial, outcome)


def used(**options):
    """A tuner with a life behind it: adopted, told, transient, read in between, retargeted, told many, and two trials out."""
    tuner = bt.Tuner(space(), GOAL, seed=3, **options)
    step(tuner, tuner.adopt({"batch_size": 6, "memory": 8, "c": "x"}))
    step(tuner)
    tuner.tell_failed(tuner.ask(), "transient")
    for _ in range(4):
        step(tuner)
    tuner.retarget(bt.Goal(minimize="p", subject_to=["u >= 2"]))
    tuner.tell_many([(c, result(c)) for c in ({"batch_size": 1, "memory": 8, "c": "y"}, {"batch_size": 12, "memory": 2, "c": "y"})])
    out = [tuner.ask(), tuner.ask()]
    step(tuner)
    tuner.retarget(GOAL)
    return tuner, out


def life(tuner, out):
    """Everything that can be seen of what a tuner does from here on."""
    seen = [step(tuner, trial) for trial in out] + [step(tuner) for _ in range(4)]
    theta = {metric: model.gp.theta.tobytes() for metric, model in tuner._posterior.models.items()}
    return tuner.trials, seen, tuner.explain(seen[-1]), tuner.recommend(untried=True), theta, tuner.best_feasible


RUNS = [({"batch_size": b}, {"p": 3.0 + b, "t": 2.0 * b}) for b in (2, 5, 9)]
EARLIER = [bt.History("earlier", bt.Space(bt.Integer("batch_size", 1, 12)), RUNS, GOAL)]


@pytest.mark.parametrize("options", [{}, {"samples": 3}, {"min_p_feasible": 0.8}, {"history": EARLIER}])
def test_a_restored_tuner_goes_on_bit_for_bit(options):
    tuner, out = used(**options)
    again = bt.Tuner.from_state(json.loads(json.dumps(tuner.state())))
    assert again.outstanding == tuner.outstanding == tuple(out)
    assert again.state() == tuner.state()
    assert life(again, again.outstanding) == life(tuner, out)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda tuner: pickle.loads(pickle.dumps(tuner))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_bit_for_bit_and_leaves_the_first_alone(way):
    tuner, out = used(threads=2)
    copied = way(tuner)
    assert life(copied, out) == life(way(tuner), out)
    assert life(copied.from_state(tuner.state()), out) == life(tuner, out)


OTHERS = [
    aimd.AIMD, annealing.Annealing, batch_sizer.BatchSizer, cherry_pick.CherryPick, exhaustive.ExhaustiveSearch, random_search.RandomSearch,
    spearmint.Spearmint, trade_off.TradeOff,
]  # fmt: skip


def steps(strategy, count):
    """At most so many trials more; some strategies end earlier."""
    with contextlib.suppress(bt.SpaceExhausted):
        for _ in range(count):
            step(strategy)
    return strategy.trials


@pytest.mark.parametrize("kind", OTHERS)
def test_every_strategy_can_be_pickled_and_copied(kind):
    strategy = kind(space(), GOAL, seed=1)
    steps(strategy, 3)
    copies = [pickle.loads(pickle.dumps(strategy)), copy.deepcopy(strategy)]
    assert [steps(c, 6) for c in copies] == 2 * [steps(strategy, 6)]
    assert len(strategy.trials) > 3


def test_reading_between_changes_nothing_of_what_follows():
    silent, read = (bt.Tuner(space(), GOAL, seed=5) for _ in range(2))
    for n in range(9):
        step(silent)
        step(read)
        if n >= 2:
            read.recommend(untried=True)
            read.predict({"batch_size": 2, "memory": 4, "c": "y"})
            read.remaining_gain()
    assert life(read, []) == life(silent, [])


def test_another_versions_choices_are_kept_and_said():
    tuner, _ = used()
    state = tuner.state()
    asked = next(event for event in state["events"] if event[0] == "ask")
    taken = {event[1] for event in state["events"] if event[0] in ("ask", "adopt")}
    asked[1] = next(row for row in range(96) if tuner.space.is_allowed(row) and row not in taken)
    with pytest.warns(UserWarning, match="would now be another configuration"):
        again = bt.Tuner.from_state(state)
    assert again.trials[1].row == asked[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: None,
        lambda state: "text",
        lambda state: {},
        lambda state: {**state, "format": 2},
        lambda state: {**state, "events": []},
        lambda state: {**state, "events": [*state["events"], ["sleep"]]},
        lambda state: {**state, "events": [*state["events"], ["tell", 999, {"state": "failed", "kind": "oom", "message": ""}]]},
        lambda state: {**state, "space": {}},
        lambda state: {**state, "options": {}},
    ],
)
def test_what_is_no_state_is_refused(change):
    with pytest.raises(InvalidState):
        bt.Tuner.from_state(change(bt.Tuner(space(), GOAL).state()))


def test_a_subclass_says_what_to_do_instead():
    with pytest.raises(InvalidState, match="pickle"):
        trade_off.TradeOff(space(), GOAL).state()


# -- many results at once -----------------------------------------------------------------------------------------------------


def test_many_results_are_learnt_from_at_once(monkeypatch):
    tuner = bt.Tuner(space(), GOAL)
    out = tuner.ask()
    made = []
    plan = type(tuner)._make_plan
    monkeypatch.setattr(type(tuner), "_make_plan", lambda self: made.append(1) or plan(self))
    configs = [c for c in space() if c["c"] == "x"][::3]
    told = tuner.tell_many([(out, result(out.config)), *((c, result(c)) for c in configs if c != out.config)])
    assert made == [1]
    assert told[0].number == out.number
    assert [t.config for t in told[1:]] == [c for c in configs if c != out.config]
    assert not tuner.outstanding
    assert tuner.ask().row not in {t.row for t in told}
    assert any(t.state == "failed" for t in told)
    assert tuner.explain(tuner.trials[-1]).p_viable < 1.0


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (({"batch_size": 99, "memory": 8, "c": "x"}, {"p": 1.0, "t": 1.0}), InvalidSpace, "can't be 99"),
        (({"batch_size": 9, "memory": 8, "c": "x"}, {"p": 1.0}), InvalidTell, "result 1 was told p, but the goal"),
        (({"batch_size": 9, "memory": 8, "c": "x"}, {"p": float("nan"), "t": 1.0}), InvalidTell, "finite"),
        (({"batch_size": 9, "memory": 8, "c": "x"}, "broken"), InvalidTell, "a failure is one of"),
        (({"batch_size": 9, "memory": 8, "c": "x"},), InvalidTell, "result 1 is a pair"),
        (3, InvalidTell, "result 1 is a pair"),
    ],
)
def test_of_many_results_none_is_taken_where_one_is_wrong(wrong, error, says):
    tuner = bt.Tuner(space(), GOAL)
    before = tuner.state()
    with pytest.raises(error, match=says):
        tuner.tell_many([({"batch_size": 1, "memory": 8, "c": "x"}, {"p": 1.0, "t": 1.0}), wrong])
    assert tuner.state() == before
    assert tuner.trials == ()


def test_a_trial_is_told_once_also_among_many():
    tuner = bt.Tuner(space(), GOAL)
    trial = tuner.ask()
    with pytest.raises(InvalidTell, match="told once"):
        tuner.tell_many(2 * [(trial, {"p": 1.0, "t": 1.0})])
    assert tuner.outstanding == (trial,)


def test_five_hundred_results_are_told_in_no_time():
    grid = bt.Space(bt.Integer("a", 1, 30), bt.Integer("b", 1, 30))
    tuner = bt.Tuner(grid, bt.Goal(minimize="p"))
    rows = np.random.default_rng(0).choice(900, 150, replace=False)
    tuner.tell_many((grid.config(int(row)), {"p": 1.0 + row % 30}) for row in rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bt.Tuner.from_state(tuner.state()).ask() == tuner.ask()
