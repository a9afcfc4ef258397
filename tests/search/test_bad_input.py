"""Whatever a caller gives that has no meaning is refused in one sentence, with an error of the project's own, and changes nothing."""

import copy
import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import BayesTunerError, InvalidGoal, InvalidSpace, InvalidTell
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategies.trade_off import TradeOff

KNOBS = [bt.Integer("cores", 1, 4), bt.Integer("b", 1, 5)]
SPACE = bt.Space(*KNOBS)
GOAL = bt.Goal(minimize="p", subject_to=["t >= 3"])
HUGE = 10**400


def tuner(**options):
    return Tuner(SPACE, GOAL, **options)


def evaluate(config):
    return {"p": float(config["cores"]), "t": float(config["b"])}


NO_NUMBER = ["12.5", "x", b"1", None, [1.0], {}, 1j, math.nan, math.inf, HUGE, np.array([1.0, 2.0])]
NO_ROWS = [5, None, "ab", [5], [None], ["ab"], [[1]]]
NO_WHOLE_NUMBER = ["7", "x", None, 1.5, True, math.nan, -1, [1]]

REFUSED = [
    *((InvalidTell, f"Reading({value!r:.20})", lambda v=value: bt.Reading(v)) for value in NO_NUMBER),
    *((InvalidTell, f"sd {value!r:.20}", lambda v=value: bt.Reading(1.0, v)) for value in NO_NUMBER if value is not None),
    (InvalidTell, "negative sd", lambda: bt.Reading(1.0, -0.1)),
    *((InvalidGoal, f"AtLeast {value!r:.20}", lambda v=value: bt.AtLeast("t", v)) for value in NO_NUMBER),
    (InvalidGoal, "AtMost without a name", lambda: bt.AtMost(None, 3)),
    (InvalidGoal, "subject_to a number", lambda: bt.Goal(minimize="p", subject_to=5)),
    *((InvalidGoal, f"seed {value!r}", lambda v=value: tuner(seed=v)) for value in NO_WHOLE_NUMBER),
    *((InvalidGoal, f"budget {value!r}", lambda v=value: tuner(budget=v)) for value in [*NO_WHOLE_NUMBER, 0, -5]),
    *((InvalidGoal, f"annealing's budget {value!r}", lambda v=value: Annealing(SPACE, GOAL, budget=v)) for value in [*NO_WHOLE_NUMBER, 0]),
    *((InvalidGoal, f"threads {value!r}", lambda v=value: tuner(threads=v)) for value in [*NO_WHOLE_NUMBER, 0]),
    *((InvalidGoal, f"samples {value!r}", lambda v=value: tuner(samples=v)) for value in NO_WHOLE_NUMBER),
    *((InvalidGoal, f"confidence {value!r}", lambda v=value: tuner(confidence=v)) for value in ["x", None, 2.0, math.nan] if value),
    *((InvalidGoal, f"min_p_feasible {value!r}", lambda v=value: tuner(min_p_feasible=v)) for value in ["x", 1.0, [0.9]]),
    *((InvalidGoal, f"family {value!r}", lambda v=value: tuner(family=v)) for value in ["cubic", None, ["rbf"]]),
    (InvalidGoal, "a share of a trade-off", lambda: TradeOff(SPACE, GOAL, min_limit_share="x")),
    (InvalidGoal, "no goal", lambda: RandomSearch(SPACE, "minimize p")),
    (InvalidSpace, "no space", lambda: RandomSearch([1, 2], GOAL)),
    *((InvalidTell, f"ask({value!r})", lambda v=value: tuner().ask(v)) for value in ["2", 2.5, True, 0, -1]),
    *((InvalidTell, f"explain {value!r}", lambda v=value: tuner().explain(v)) for value in [None, 3, "x"]),
    *((InvalidSpace, f"rows {value!r}", lambda v=value: bt.Space.from_rows(KNOBS, v)) for value in NO_ROWS),
    (InvalidSpace, "knobs", lambda: bt.Space.from_rows(5, [[1, 2]])),
    *((InvalidGoal, f"optimize {value!r}", lambda v=value: bt.optimize(evaluate, SPACE, GOAL, budget=v)) for value in ["x", 0, -5, 2.5]),
    *((InvalidGoal, f"share {value!r}", lambda v=value: bt.RegretBound(v)) for value in ["x", None, 0.0, math.nan]),
    *((InvalidGoal, f"after {value!r}", lambda v=value: bt.ExpectedImprovement(0.1, after=v)) for value in ["x", None, 2.5]),
    *((InvalidGoal, f"limit_s {value!r}", lambda v=value: bt.WallClock(v)) for value in ["x", None, math.nan, -1.0]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "call"), [(e, c) for e, _, c in REFUSED], ids=[what for _, what, _ in REFUSED])
def test_what_has_no_meaning_is_refused_in_one_sentence(error, call):
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert 10 < len(text) < 300


@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda v: repr(v)[:20])
def test_a_tell_without_a_number_names_the_metric_and_changes_nothing(value):
    strategy = tuner()
    trial = strategy.ask()
    with pytest.raises(InvalidTell, match="metric 'p' of trial 0 must be a finite number"):
        strategy.tell(trial, p=value, t=1.0)
    with pytest.raises(InvalidTell):
        strategy.tell(trial, [("p", 1.0)])
    assert strategy.outstanding == (trial,)
    assert strategy.tell(trial, p=1.0, t=5.0).metrics == {"p": 1.0, "t": 5.0}


@pytest.mark.parametrize("value", [3, 2.5, True, np.float32(2.5), np.int64(3), np.bool_(True), Fraction(5, 2), np.array(2.5)], ids=repr)
def test_every_kind_of_number_is_taken_and_kept_as_a_float(value):
    reading = bt.Reading(value, sd=value)
    assert (reading.value, reading.sd) == (float(value), float(value))
    assert type(reading.value) is type(reading.sd) is float
    assert tuner(seed=np.int64(3), budget=np.int32(9)).seed == 3


# -- configurations and trials ----------------------------------------------------------------------------------------

CHANGES = [
    lambda c: c.pop("cores"),
    lambda c: c.update(cores=999),
    lambda c: c.__setitem__("cores", 999),
    lambda c: c.__delitem__("cores"),
    lambda c: c.setdefault("z", 1),
    lambda c: c.clear(),
    lambda c: c.popitem(),
    lambda c: c.__ior__({"cores": 999}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_trials_config_cant_be_changed_and_a_copy_can(change):
    strategy = tuner()
    trial = strategy.ask()
    before = dict(trial.config)
    with pytest.raises(TypeError, match=r"change a copy of it: dict\(trial.config\)"):
        change(trial.config)
    change(dict(trial.config))
    told = strategy.tell(trial, evaluate(trial.config))
    assert told.config == trial.config == before == strategy.best_feasible.config if strategy.best_feasible else before


def test_a_config_is_a_dict_to_all_who_read_it():
    trial = tuner().ask()
    assert json.loads(json.dumps(trial.config)) == trial.config
    for other in (pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), copy.copy(trial)):
        assert other == trial
        with pytest.raises(TypeError):
            other.config["cores"] = 1
    assert {**trial.config, "cores": 1}["cores"] == 1


def test_evaluate_may_take_its_config_apart():
    def taking_apart(config):
        return {"p": float(config.pop("cores")), "t": float(config.pop("b"))}

    result = bt.optimize(taking_apart, SPACE, GOAL, budget=6)
    assert all(set(t.config) == {"cores", "b"} for t in result.trials)


def test_a_trial_of_another_strategy_is_refused():
    other = Tuner(bt.Space(bt.Integer("zz", 1, 20)), bt.Goal(minimize="p"), seed=0)
    own, stranger = tuner(), other.ask()
    trial = own.adopt(SPACE.config(stranger.row))
    assert (trial.number, trial.row) == (stranger.number, stranger.row)
    for call in (lambda: own.tell(stranger, p=1.0, t=5.0), lambda: own.tell_failed(stranger), lambda: own.explain(stranger)):
        with pytest.raises(InvalidTell, match="was not asked here"):
            call()
    assert own.outstanding == (trial,)
    own.tell(pickle.loads(pickle.dumps(trial)), p=1.0, t=5.0)  # one that has been to another process is the same


def test_every_refusal_is_an_error_of_the_projects_own():
    assert all(issubclass(error, BayesTunerError) for error, _, _ in REFUSED)
