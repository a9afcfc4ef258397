"""A finished study of what has changed since makes room for a new one beside it, which learns from it; an unfinished one does not."""

import pytest
from tune_doubles import JOB

import bayestuner.tune.succession as module
from bayestuner.measure.job.parser import parse_job
from bayestuner.study.study import Study
from bayestuner.tune.matching import create_study
from bayestuner.tune.programs import fingerprints
from bayestuner.tune.succession import place_of


@pytest.fixture
def job(tmp_path):
    (tmp_path / "program.py").write_text("print(1)")
    return parse(tmp_path)


def parse(tmp_path, limit=50):
    text = JOB.replace('"-c", "pass"', f'"{tmp_path / "program.py"}"').replace(">= 50", f">= {limit}")
    return parse_job(text, tmp_path / "job.toml")


def begin(path, job, *, complete=True, **facts):
    with create_study(path, job, {**module.machine_facts(), **facts}, 4, 0, "random") as study:
        study.set_result({"complete": complete})
    return path


def test_the_same_job_goes_on_where_it_is(tmp_path, job):
    path = begin(tmp_path / "double.study", job)
    assert place_of(path, job) == module.Place(path)
    assert place_of(tmp_path / "new.study", job) == module.Place(tmp_path / "new.study")


def test_a_new_goal_begins_a_study_beside_the_finished_one(tmp_path, job):
    path = begin(tmp_path / "double.study", job)
    place = place_of(path, parse(tmp_path, limit=80))
    assert (place.path, place.earlier) == (tmp_path / "double-2.study", path)
    assert place.note.startswith(f"the study in {path} is finished, and since then the goal was 'minimize cpu_s_per_item")
    assert place.note.endswith(f"the search begins anew in {place.path} and learns from it")
    begin(place.path, parse(tmp_path, limit=80))
    assert place_of(path, parse(tmp_path, limit=80)).path == place.path  # the same command goes on there
    assert place_of(path, job).path == path
    assert place_of(path, parse(tmp_path, limit=90)).path == tmp_path / "double-3.study"


def test_a_changed_program_or_machine_counts(tmp_path, job):
    path = begin(tmp_path / "double.study", job)
    (tmp_path / "program.py").write_text("print(2)")
    assert f"{tmp_path / 'program.py'} has changed" in place_of(path, job).note
    other = begin(tmp_path / "other.study", job, cpu_model="Another CPU", programs=fingerprints(job))
    assert "the machine's cpu_model was Another CPU and is" in place_of(other, job).note


def test_an_unfinished_study_is_not_left_behind(tmp_path, job):
    path = begin(tmp_path / "double.study", job, complete=False)
    assert place_of(path, parse(tmp_path, limit=80)) == module.Place(path)
    with Study.open(path, read_only=True) as study:
        assert study.learnt_from == ()
