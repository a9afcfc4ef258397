"""A machine where memory can't be limited: a goal about memory is refused, any other goes on and names the knob without effect."""

import pytest

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.affinity import AffinityIsolation
from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.job.parser import parse_job
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
