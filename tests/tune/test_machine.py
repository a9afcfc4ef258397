"""A machine where memory can't be limited: a goal about memory is refused, any other goes on, and the knob without effect is held."""

import threading

import pytest
from jobs import write_job

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.affinity import AffinityIsolation
from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.job.parser import load_job, parse_job
from bayestuner.search.engine import warmup
from bayestuner.study.study import Study
from bayestuner.tune import tune
from bayestuner.tune.machine import open_machine
from bayestuner.tune.progress import Progress

JOB = """
[job]
command = ["true", "{batch}"]
[knobs]
memory_mib = { kind = "memory", values = [128, 256] }
batch = { kind = "argument", values = [1, 2] }
[goal]
minimize = "cpu_s_per_item"
[measure]
energy = []
isolation = "affinity-allowed"
"""


class Notes(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def began(self, study, job, **about):
        self.notes.append("began")

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def without_cgroups(monkeypatch):
    """A machine without cgroups (a DOUBLE of the choice: the real fallback, and a reason why it was needed)."""
    refusals = (Refusal("cgroup-v2", "not mounted", "run as root"),)
    monkeypatch.setattr("bayestuner.measure.cgroup.select.open_isolation", lambda needs, **options: (AffinityIsolation(), refusals))


@pytest.mark.parametrize(
    "goal",
    [
        'minimize = "memory_mib"',
        'minimize = "memory_peak_bytes"',
        'minimize = "cpu_s_per_item"\nsubject_to = ["memory_mib <= 128"]',
        'minimize = "cpu_s_per_item"\nsubject_to = ["memory_peak_bytes <= 1e8"]',
    ],
)
def test_a_goal_about_memory_is_refused(goal, without_cgroups, tmp_path):
    job = parse_job(JOB.replace('minimize = "cpu_s_per_item"', goal), tmp_path / "job.toml")
    with pytest.raises(
        IsolationUnavailable, match=r"means nothing here, where memory can't be limited \(cgroup-v2: not mounted\): run as root"
    ):
        open_machine(job, False, Notes())


def test_a_goal_about_the_peak_of_memory_asks_for_a_limit_also_without_a_knob(without_cgroups, tmp_path):
    text = JOB.replace('memory_mib = { kind = "memory", values = [128, 256] }\n', "")
    assert parse_job(text, tmp_path / "job.toml").needs == frozenset()
    assert parse_job(text.replace("cpu_s_per_item", "memory_peak_bytes"), tmp_path / "job.toml").needs == {"memory"}


def test_another_goal_goes_on_and_says_which_knob_has_no_effect(without_cgroups, tmp_path):
    progress = Notes()
    isolation, _, facts = open_machine(parse_job(JOB, tmp_path / "job.toml"), False, progress)
    assert (isolation.name, facts["isolation"]) == ("affinity", "affinity")
    assert "memory can't be limited here: affinity is used as allowed, and memory_mib has no effect on the runs" in progress.notes


def test_a_memory_knob_without_effect_is_held_at_the_most_and_a_later_call_goes_on(without_cgroups, tmp_path):
    nothing_again = [("repeats = 2", "repeats = 0"), ('["perf"]', "[]")]
    job = load_job(write_job(tmp_path, budget=2, minimize="cpu_s_per_item", bound="throughput >= 5", replace=nothing_again))
    progress = Notes()
    for budget in (2, 3):
        tune(job, study_path=tmp_path / "s", strategy="random", budget=budget, progress=progress)
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert len(study.space) == 5
        assert [r.trial.config["memory_mib"] for r in study.records()] == [256] * 3
    held = "memory_mib is held at 256 and not searched, since it has no effect here"
    assert progress.notes.count(held) == 1
    assert progress.notes.index(held) < progress.notes.index("began")


def test_what_is_said_of_compiling_stands_above_the_head_of_the_table(without_cgroups, tmp_path, monkeypatch):
    def compiling():
        thread = threading.Timer(0.2, lambda: None)
        thread.start()
        return thread

    monkeypatch.setattr("bayestuner.tune.session._COMPILE_IN_SILENCE_S", 0.0)
    monkeypatch.setattr(warmup, "start", compiling)
    nothing_again = [("repeats = 2", "repeats = 0"), ('["perf"]', "[]")]
    job = load_job(write_job(tmp_path, budget=1, minimize="cpu_s_per_item", bound="throughput >= 5", replace=nothing_again))
    progress = Notes()
    tune(job, study_path=tmp_path / "s", progress=progress)
    (said,) = (k for k, text in enumerate(progress.notes) if text.startswith("waiting for the engine"))
    assert said < progress.notes.index("began")
