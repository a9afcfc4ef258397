"""Callers that change what they were given, results at the ends of double precision, interruptions, machines that keep failing."""

import json
import warnings

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidSpace, InvalidTell, SpaceExhausted
from bayestuner.trial import Measured, Reading


def space():
    return bt.Space(bt.Integer("a", 1, 12), bt.Integer("b", 1, 10), bt.Categorical("c", ["x", "y", "z"]))


def p_and_t(config):
    return 3.0 + (config["a"] - 4) ** 2 + config["b"] / 5, 2.0 * config["a"] + config["b"] + (config["c"] == "x")


def run(tuner, count, p_unit=1.0, t_unit=1.0, **sd):
    for _ in range(count):
        trial = tuner.ask()
        p, t = p_and_t(trial.config)
        tuner.tell(trial, p=Reading(p_unit * p, sd.get("p")), t=t_unit * t)
    return [t.row for t in tuner.trials]


def tuner(limit=12.0, **options):
    return bt.Tuner(space(), bt.Goal(minimize="p", subject_to=[f"t >= {limit!r}"]), **options)


# -- the ends of double precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [2.0**-970, 2.0**970])
def test_choices_do_not_change_when_metrics_are_scaled(unit):
    plain, scaled = tuner(), tuner(limit=12.0 * unit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(plain, 12) == run(scaled, 12, p_unit=unit, t_unit=unit)
        expected, there = plain.recommend(untried=True), scaled.recommend(untried=True)
    assert there.row == expected.row
    assert there.expected["p"].mean == pytest.approx(unit * expected.expected["p"].mean, rel=1e-6)


@pytest.mark.parametrize("values", [[1e300], [1e300, -1e300], [0.0], [-1e-300, 1e-300], [5e-324], [1.0, 1e300], [-1e300, 1.0]])
def test_figures_stay_finite_at_the_ends_of_double_precision(values):
    t = bt.Tuner(space(), bt.Goal(minimize="p", subject_to=["t >= 0", "u <= 1e300"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(10):
            trial = t.ask()
            value = values[i % len(values)]
            t.tell(trial, p=value, t=-value, u=value)
            why = t.explain(trial)
            assert all(np.isfinite([q.mean, q.low, q.high]).all() for q in (why.predicted or {}).values())
        for found in (t.recommend().expected, t.predict(space().config(7))):
            assert all(np.isfinite([q.mean, q.low, q.high]).all() for q in found.values())


def test_an_enormous_standard_deviation_is_as_good_as_none():
    t = tuner()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(t, 8, p=1e200)
        t.tell(t.adopt(t.trials[0].config), p=Reading(4.0, 1e200), t=20.0)
        assert np.isfinite(t.recommend().expected["p"].mean)


def test_numbers_beyond_are_refused_in_a_sentence():
    with pytest.raises(InvalidTell, match="between -1e300 and 1e300"):
        Reading(1.7e308)
    for value in (1.7e308, 10**400):
        with pytest.raises(InvalidSpace, match="at most 1e300"):
            bt.Ordinal("x", [1.0, value])


# -- what callers may change, or not ------------------------------------------------------------------------------------------


def test_what_was_told_can_not_be_changed_from_outside():
    t, mine = tuner(), {"p": Reading(3.0), "t": Reading(30.0)}
    trial = t.tell_outcome(t.ask(), Measured(mine))
    mine["p"] = Reading(99.0)
    assert t.best_feasible.metrics["p"] == 3.0
    with pytest.raises(TypeError, match="can't be changed"):
        trial.outcome.metrics["p"] = Reading(99.0)


def test_values_of_knobs_are_plain_python():
    knobs = [
        bt.Ordinal("f", np.array([0.5, 0.75], dtype=np.float32)),
        bt.Categorical("b", np.array([True, False])),
        bt.Integer("i", np.int64(1), 2),
    ]
    assert json.dumps(bt.Space(*knobs).config(0)) == '{"f": 0.5, "b": true, "i": 1}'


def test_a_knob_is_what_the_configuration_says_even_where_a_run_reports_it():
    t = bt.Tuner(space(), bt.Goal(minimize="a", subject_to=["t >= 5"]))
    trial = t.tell(t.ask(), a=0.25, t=30.0)
    assert t.values_of(trial)["a"] == trial.config["a"]


# -- interrupted, out of order ------------------------------------------------------------------------------------------------


def test_a_tell_that_is_interrupted_keeps_its_result_and_the_next_ask_makes_up_for_it(monkeypatch):
    undisturbed, disturbed = tuner(), tuner()
    run(undisturbed, 5)
    run(disturbed, 4)
    trial = disturbed.ask()
    p, t = p_and_t(trial.config)
    with monkeypatch.context() as patched:
        patched.setattr(type(disturbed), "_make_plan", lambda self: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            disturbed.tell(trial, p=p, t=t)
    assert disturbed.trials[trial.number].metrics == {"p": p, "t": t}
    with pytest.raises(InvalidTell, match="already told, and its result is kept"):
        disturbed.tell(trial, p=p, t=t)
    assert disturbed.ask().row == undisturbed.ask().row


def test_a_trial_that_was_out_while_the_goal_changed_is_told_what_it_was_asked_for():
    t = tuner()
    for _ in range(4):
        trial = t.ask()
        p, throughput = p_and_t(trial.config)
        t.tell(trial, p=p, t=throughput, u=float(trial.config["b"]))
    out = t.ask()
    t.retarget(bt.Goal(minimize="u", subject_to=["t >= 12"]))
    told = t.tell(out, p=1.0, t=30.0)
    assert told.row not in {t.best_feasible.row, t.ask().row}
    with pytest.raises(InvalidTell, match="also needs u"):
        t.tell(t.ask(), p=1.0, t=30.0)
    t.retarget(bt.Goal(minimize="p", subject_to=["t >= 12"]))
    assert t.best_feasible.row == t.recommend().row == told.row


# -- transient failures -------------------------------------------------------------------------------------------------------


def test_a_row_that_keeps_failing_transiently_is_left_for_later():
    t = tuner()
    rows = []
    for _ in range(24):
        trial = t.ask()
        rows.append(trial.row)
        if trial.row == rows[0]:
            t.tell_failed(trial, "transient")
        else:
            p, throughput = p_and_t(trial.config)
            t.tell(trial, p=p, t=throughput)
    assert rows[:2] == 2 * rows[:1]
    assert 2 <= rows.count(rows[0]) <= 4


def test_rows_after_rows_are_asked_where_all_fail_transiently():
    t = tuner()
    rows = []
    for _ in range(20):
        trial = t.ask()
        rows.append(trial.row)
        t.tell_failed(trial, "transient")
    assert rows == [row for row in dict.fromkeys(rows) for _ in range(2)]


def test_a_row_left_for_later_is_asked_again_when_no_other_is_left_and_once_it_ran_never():
    t = bt.Tuner(bt.Space(bt.Integer("a", 1, 2)), bt.Goal(minimize="p"))
    first = t.ask()
    t.tell_failed(first, "transient")
    t.tell_failed(t.ask(), "transient")
    other = t.ask()
    assert other.row != first.row
    t.tell(other, p=1.0)
    again = t.ask()
    assert again.row == first.row
    t.tell(again, p=2.0)
    with pytest.raises(SpaceExhausted):
        t.ask()
