"""An earlier study is read from its folder, and nothing of it is changed."""

import pytest
from study_doubles import pretend_run, small_goal, small_space

import bayestuner as bt
from bayestuner.errors import StoreError
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


def test_where_there_is_no_study_it_is_said(tmp_path):
    with pytest.raises(StoreError):
        bt.History.of(tmp_path)
