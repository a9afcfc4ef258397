"""An earlier study is read from its folder, and nothing of it is changed."""

import json

import pytest
from study_doubles import pretend_run, small_goal, small_space

import bayestuner as bt
from bayestuner.codec import dump
from bayestuner.errors import StoreError
from bayestuner.study.stored_history import history_from_json, history_to_json
from bayestuner.study.study import Study
from bayestuner.trial import Failed


def test_a_study_on_disk_becomes_history(tmp_path):
    with Study.create(tmp_path / "resnet", small_space(), small_goal(), "random", budget=5) as study:
        for _ in range(3):
            trial = study.ask()
            study.tell(trial, pretend_run(trial.config))
        study.tell(study.ask(), Failed("oom"))
        study.ask()  # still running: not part of the history
    before = (tmp_path / "resnet" / "study.sqlite").read_bytes()
    history = bt.History.of(tmp_path / "resnet")
    assert (tmp_path / "resnet" / "study.sqlite").read_bytes() == before
    assert history.name == "resnet"
    assert (history.space, history.goal) == (small_space(), small_goal())
    assert len(history.trials) == 4
    assert bt.Tuner(small_space(), small_goal(), history=[history]).ask()


def test_history_is_stored_as_it_is_used():
    space = bt.Space(bt.Integer("cores", 1, 4), bt.Categorical("gpu", ["a40", "v100"]))
    trials = [({"cores": c, "gpu": "a40"}, {"power_w": bt.Reading(10.0 * c, 0.1)}) for c in (1, 2, 4)]
    trials.append(({"cores": 3, "gpu": "v100"}, "oom"))
    for goal in (None, bt.Goal(minimize="power_w", subject_to=["throughput >= 3"])):
        study = bt.History("a", space, trials, goal)
        again = history_from_json(json.loads(dump(history_to_json(study))))
        assert (again.name, again.space, again.goal, again.latest()) == ("a", space, goal, study.latest())


def test_where_there_is_no_study_it_is_said(tmp_path):
    with pytest.raises(StoreError):
        bt.History.of(tmp_path)
