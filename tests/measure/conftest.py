"""Set-up shared by the tests of real runs."""

from pathlib import Path

import pytest
from energy_fakes import fake_roots
from leftovers import own_groups

from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.job.parser import parse_job

JOBS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def isolation():
    """The best this machine has; real cgroups where it can be, else affinity."""
    return open_isolation(frozenset({"cores"}), allow_affinity=True)[0]


@pytest.fixture
def make_job(tmp_path):
    """``make_job(script, *words, knobs=..., job=..., **measure)``: a Job around one of the scripts in tests/measure/programs."""

    def make(script, *words, knobs='cores = { kind = "cores", min = 1, max = 1 }', job="", **measure):
        settings = {
            "min_seconds": 0.3,
            "max_seconds": 3.0,
            "relative_error": 0.5,
            "startup_timeout_s": 60.0,
            "warmup_seconds": 0.0,
        } | measure
        command = ", ".join(f'"{word}"' for word in ("{python}", JOBS / script, *words))
        lines = [f"[job]\ncommand = [{command}]\n{job}", f"[knobs]\n{knobs}", '[goal]\nminimize = "cpu_s_per_item"\n[measure]']
        lines += [f"{name} = {value!r}" for name, value in settings.items()]
        return parse_job("\n".join(lines), tmp_path / "job.toml")

    return make


@pytest.fixture
def nothing_left():
    """Fails a test that leaves a group of ours behind."""
    yield
    assert own_groups() == []


@pytest.fixture
def roots(tmp_path):
    """Empty fake roots: no sysfs, no devices, no /proc."""
    return fake_roots(tmp_path / "roots")
