"""Which earlier studies a new one learns from: named ones, those of the job file, or this user's beside it with the same knobs."""

import os

import pytest
from tune_doubles import JOB, Told

from bayestuner.errors import StoreError
from bayestuner.measure.job.parser import parse_job
from bayestuner.report.result import result_text
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise
from bayestuner.trial import Failed, Measured, Reading
from bayestuner.tune.learning import earlier_studies


def job_of(tmp_path, measure=""):
    return parse_job(JOB + measure, tmp_path / "job.toml")


def measured(path, job, n=4, factor=1.0):
    """A study of n measured runs, and a failed one."""
    with Study.create(path, job.space, job.goal, "random", budget=10, name=job.name) as study:
        for _ in range(n):
            trial = study.ask()
            value = factor * (10.0 + trial.config["batch"])
            study.tell(trial, Measured({"throughput": Reading(value), "cpu_s_per_item": Reading(1.0 / value)}))
        study.tell(study.ask(), Failed("error"))
    return path


def found(job, path, strategy="bayes", paths=None, **more):
    told = Told()
    return [study.name for study in earlier_studies(job, path, strategy, paths, told, **more)], told.notes


def test_studies_beside_the_new_one_are_learnt_from_and_it_is_said(tmp_path):
    job = job_of(tmp_path)
    for k, name in enumerate(("resnet.study", "bert.study")):
        os.utime(measured(tmp_path / name, job) / "study.sqlite", ns=(k, k))
    names, notes = found(job, tmp_path / "new.study")
    assert names == ["resnet", "bert"]
    assert notes == [
        "learning from earlier studies, as far as they predict this job: resnet, bert (beside this one; --learn-from without a path turns "
        "this off)"
    ]


def test_what_is_beside_but_unlike_is_passed_over(tmp_path, monkeypatch):
    job = job_of(tmp_path)
    other = parse_job(JOB.replace("batch", "streams"), tmp_path / "job.toml")
    with Study.create(tmp_path / "other.study", other.space, other.goal, "random") as study:
        for _ in range(4):
            study.tell(study.ask(), Measured({"throughput": Reading(1.0), "cpu_s_per_item": Reading(1.0)}))
    measured(tmp_path / "few.study", job, n=2)
    (tmp_path / "broken.study").mkdir()
    (tmp_path / "broken.study" / "study.sqlite").write_bytes(b"no database" * 100)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link.study").symlink_to(measured(elsewhere / "s", job))
    measured(tmp_path / "new.study", job)
    assert found(job, tmp_path / "new.study") == ([], [])
    measured(tmp_path / "good.study", job)
    assert found(job, tmp_path / "new.study")[0] == ["good"]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # it belongs to somebody else
    assert found(job, tmp_path / "new.study") == ([], [])


def test_a_strategy_that_does_not_learn_gets_none(tmp_path):
    job = job_of(tmp_path)
    measured(tmp_path / "resnet.study", job)
    assert found(job, tmp_path / "new.study", "random") == ([], [])


def test_named_studies_take_the_place_of_those_beside(tmp_path):
    job = job_of(tmp_path)
    measured(tmp_path / "beside.study", job)
    (tmp_path / "far").mkdir()
    far = measured(tmp_path / "far" / "s", job)
    assert len(found(job, tmp_path / "new.study", paths=[far])[0]) == 1
    assert found(job, tmp_path / "new.study", paths=[]) == ([], [])
    with pytest.raises(StoreError):
        found(job, tmp_path / "new.study", paths=[tmp_path / "nothing"])


def test_the_job_file_names_them_by_globs(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("a.study", "b.study"):
        measured(tmp_path / "far" / name, job_of(tmp_path))
    measured(tmp_path / "beside.study", job_of(tmp_path))
    assert len(found(job_of(tmp_path, 'learn_from = ["far/*.study", "no/*"]'), tmp_path / "new.study")[0]) == 2
    assert found(job_of(tmp_path, "learn_from = []"), tmp_path / "new.study") == ([], [])


def test_the_study_that_is_followed_comes_last(tmp_path):
    job = job_of(tmp_path)
    first = measured(tmp_path / "first.study", job)
    measured(tmp_path / "later.study", job)
    assert found(job, tmp_path / "first-2.study", first=first)[0] == ["later", "first"]
    assert found(job, tmp_path / "first-2.study", paths=[], first=first)[0] == []


def test_a_study_keeps_the_history_that_it_began_with(tmp_path):
    job = job_of(tmp_path)
    history = earlier_studies(job, tmp_path / "new.study", "bayes", [measured(tmp_path / "old.study", job, n=6)], Told())

    def asked(path, stops):
        made = []
        with Study.create(path, job.space, job.goal, budget=8, history=history) as study:
            assert study.learnt_from == ("old",)
        for n in stops:
            with Study.open(path) as study:
                for _ in range(n):
                    trial = study.ask()
                    made.append(trial.row)
                    value = 12.0 + 3 * trial.config["batch"]
                    study.tell(trial, Measured({"throughput": Reading(value), "cpu_s_per_item": Reading(1.0 / value)}))
                assert study.notices == []
        with Study.open(path) as study:
            assert study.strategy().explain(study.records()[-1].trial).history == ("old",)
            summary = summarise(study)
            assert summary.as_dict()["learnt_from"] == ["old"]
            shown = result_text(summary, path, study.records(), width=100)
        assert any(line.split()[:3] == ["learnt", "from", "old"] for line in shown.splitlines()), shown
        return made

    whole = asked(tmp_path / "whole", [6])
    for file in (tmp_path / "old.study").iterdir():
        file.unlink()
    assert asked(tmp_path / "parts", [2, 3, 1]) == whole
