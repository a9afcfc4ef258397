"""Who runs a trial, across containers: a living process of another pid namespace keeps its trial, a dead one's is run again."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from patience import wait_for
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.study.study import Study

WORKER = """
import json, sys
from study_doubles import pretend_run
from bayestuner.study.study import Study
with Study.open(sys.argv[1]) as study:
    trial = study.ask()
    print(json.dumps(trial.number), flush=True)
    assert sys.stdin.readline() == "\\n"
    study.tell(trial, pretend_run(trial.config))
"""
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def have_namespaces():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not have_namespaces(), reason="needs root, unshare and pid namespaces")


@pytest.fixture
def folder(tmp_path):
    Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 9).close()
    return tmp_path / "s"


@pytest.fixture
def worker(folder):
    """Start a process, in a container of its own or not, that asks for a trial and tells it after a line; returns (process, number)."""
    started = []

    def start(*prefix):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", WORKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@needs_namespaces
def test_two_containers_are_given_two_trials_and_both_can_tell(worker, folder):
    (one, first), (two, second), (here, third) = worker(*CONTAINER), worker(*CONTAINER), worker()
    assert sorted([first, second, third]) == [0, 1, 2]
    with Study.open(folder, read_only=True) as study:
        assert [r.running for r in study.records()] == [True] * 3
    for process in (one, two, here):
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    with Study.open(folder) as study:
        assert all(r.trial.outcome is not None for r in study.records())


@needs_namespaces
def test_a_trial_of_a_dead_container_is_run_again(worker, folder):
    process, number = worker(*CONTAINER)
    process.kill()
    process.stdout.read()  # to its end: what ran inside is dead too
    with Study.open(folder, read_only=True) as study:
        wait_for(lambda: [r.orphaned for r in study.records()] == [True])  # the kernel closes its files one after another
    again, same = worker(*CONTAINER)  # as after a container was started again
    assert same == number
    again.communicate("\n", timeout=60)
    with Study.open(folder) as study:
        assert [r.trial.outcome == pretend_run(r.trial.config) for r in study.records()] == [True]


def test_a_study_of_before_is_gone_on_with(folder):
    """An owner that was stored without its namespace is one of this namespace."""
    with Study.open(folder) as study:
        study.ask()
        old = study._store._db.execute("SELECT owner FROM trials").fetchone()[0]
        stored = {name: value for name, value in json.loads(old).items() if name != "pid_namespace"}
        study._store._db.execute("UPDATE trials SET owner = ?", (json.dumps(stored),))
        assert [r.running for r in study.records()] == [True]
    with Study.open(folder) as study:
        assert [r.orphaned for r in study.records()] == [True]
