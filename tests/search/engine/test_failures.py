"""Failures: learnt with many knobs, ruled out by hints."""

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.codec import outcome_from_json, outcome_to_json, space_from_json, space_to_json
from bayestuner.errors import InvalidSpace, InvalidTell
from bayestuner.search.engine import tuner as tuner_module
from bayestuner.search.engine.hints import Hints
from bayestuner.search.engine.posterior import _p_viable
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.viability import viability_model
from bayestuner.trial import Failed


def server():
    return bt.Space(
        bt.Ordinal("memory", [1, 2, 4, 8], more_is="safer"),
        bt.Ordinal("batch", [1, 2, 4, 8], hungry_for="memory"),
        bt.Integer("cores", 1, 4),
        bt.Ordinal("disk", [1, 2]),
        bt.Ordinal("cache", [0, 1, 2], hungry_for="disk"),
    )


def ruled_out(hints, space):
    box = [hints.box(row) for row in hints._failures]
    codes = space.codes(np.arange(space.n_rows))
    inside = np.zeros(space.n_rows, dtype=bool)
    for low_and_high in box:
        inside |= ((codes >= low_and_high[:, 0]) & (codes <= low_and_high[:, 1])).all(axis=1)
    return [space.config(int(row)) for row in np.flatnonzero(inside)]


KILLED = {"memory": 2, "batch": 4, "cores": 3, "disk": 2, "cache": 1}


def test_a_kill_rules_out_all_rows_with_no_more_memory_and_no_less_hunger():
    space = server()
    hints = Hints(space)
    hints.failed(space.row(KILLED), "memory")
    expected = [c for c in space if c["memory"] <= 2 and c["batch"] >= 4]
    assert ruled_out(hints, space) == expected


def test_a_kill_of_unknown_cause_rules_out_what_is_worse_by_every_cause():
    space = server()
    hints = Hints(space)
    hints.failed(space.row(KILLED))
    expected = [c for c in space if c["memory"] <= 2 and c["batch"] >= 4 and c["disk"] <= 2 and c["cache"] >= 1]
    assert ruled_out(hints, space) == expected


def test_a_contradiction_drops_hunger_first_and_then_what_more_memory_means():
    space = server()
    hints = Hints(space)
    hints.failed(space.row(KILLED), "memory")
    assert hints.ran(space.row({**KILLED, "cores": 1})) == ["memory"]  # cores matter after all
    assert ruled_out(hints, space) == [{**KILLED, "memory": 1}, KILLED]
    assert hints.ran(space.row({**KILLED, "memory": 1})) == ["memory"]  # less memory was enough
    assert hints.dropped == ["memory", "memory"]
    assert set(hints.hunger) == {"disk"}
    assert ruled_out(hints, space) == [KILLED]


def test_the_tuner_asks_nothing_that_a_kill_rules_out():
    space = server()
    tuner = bt.Tuner(space, bt.Goal(minimize="p"))
    killed = tuner.adopt({**KILLED, "memory": 8, "batch": 2})  # all rows of batch 2 and above
    tuner.tell_failed(killed, "oom", limit="memory")
    for _ in range(10):
        trial = tuner.ask()
        assert trial.config["batch"] == 1
        tuner.tell(trial, p=float(trial.row))


@pytest.mark.parametrize("hungry_for", ["b", 3, "nothing", "kind"])
def test_hunger_for_no_other_ordered_knob_is_refused(hungry_for):
    with pytest.raises(InvalidSpace, match="hungry"):
        bt.Space(bt.Integer("b", 1, 3, hungry_for=hungry_for), bt.Categorical("kind", ["x", "y"]))


def test_a_failure_limited_by_no_knob_is_refused():
    tuner = bt.Tuner(server(), bt.Goal(minimize="p"))
    trial = tuner.ask()
    with pytest.raises(InvalidTell, match="limited by 'ram'; the knobs are memory, batch"):
        tuner.tell_failed(trial, "oom", limit="ram")
    assert tuner.outstanding == (trial,)


def test_hunger_and_limits_are_stored():
    space = server()
    stored = space_to_json(space)
    assert space_from_json(stored) == space
    assert "hungry_for" not in stored["knobs"][0]
    for failed in (Failed("oom", "killed", "memory"), Failed("error")):
        assert outcome_from_json(outcome_to_json(failed)) == failed


def test_labels_of_many_knobs_tell_which_of_them_decides():
    space = bt.Space.from_rows([bt.Integer(f"k{i}", 1, 5) for i in range(12)], np.random.default_rng(3).integers(1, 6, (400, 12)).tolist())
    codes = space.codes(np.arange(400))
    ran = codes[:, 4] < 3
    model = viability_model(Geometry.of(space), codes[:40], ran[:40])
    p = np.array([_p_viable(model, code[None, :]) for code in codes[40:]])
    loss = -np.log(np.where(ran[40:], p, 1.0 - p)).mean()
    assert loss < 0.1  # 0.42 with one lengthscale of 0.5 for every knob
    assert model.lengthscales[4] == model.lengthscales.min()


def test_a_run_that_may_fail_is_avoided_more_than_its_probability_alone_says(monkeypatch):
    def failing_runs():
        rng, fails = np.random.default_rng(0), 0
        space = bt.Space.from_rows([bt.Integer(f"k{i}", 0, 4) for i in range(8)], rng.integers(0, 5, (300, 8)).tolist())
        for seed in range(10):
            tuner = bt.Tuner(space, bt.Goal(minimize="p"), seed=seed)
            for _ in range(15):
                trial = tuner.ask()
                x = np.array(list(trial.config.values()))
                if x[0] + x[1] < 4:
                    fails += 1
                    tuner.tell_failed(trial, "oom")
                else:
                    tuner.tell(trial, p=float(20.0 + x[:4].sum()))
        return fails

    with_power = failing_runs()
    monkeypatch.setattr(tuner_module, "VIABILITY_POWER", 1)
    assert with_power < failing_runs()
