"""The hybrid layout of older distributions: controllers in cgroup v1, an empty cgroup v2 beside them."""

import os
import signal
import sys
from pathlib import Path

import pytest
from leftovers import own_groups
from patience import PATIENCE_S, wait_for

from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.cgroup.isolation import Launch, Limits
from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.cgroup.v1 import V1Isolation

pytestmark = pytest.mark.vm
TOP = Path("/sys/fs/cgroup")
V1 = ("cpuset", "memory", "freezer", "cpuacct", "pids")
MIB = 2**20
FORK_30 = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
print("on", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def isolation():
    isolation, refusals = open_isolation(frozenset({"cores", "memory"}))
    assert isinstance(isolation, V1Isolation)
    assert [refusal.what for refusal in refusals] == ["cgroup-v2"]
    yield isolation
    assert own_groups() == []


def test_controllers_are_found_where_they_are(isolation):
    places = discover()
    assert places.v2.folder == TOP / "unified"
    assert {name: place.folder for name, place in places.v1.items()} == {name: TOP / name for name in V1}
    assert isolation.controls == {"cores", "memory"}


def test_v2_is_refused_for_its_lack_of_controllers():
    _, (refusal,) = open_isolation(frozenset({"cores", "memory"}))
    assert f"no cpuset and memory controller in {TOP}/unified/cgroup.controllers: bound to cgroup v1" in refusal.reason


def test_limits_hold_and_an_oom_kill_is_counted(isolation, tmp_path):
    code = "import os\nprint(sorted(os.sched_getaffinity(0)), flush=True)\nb = bytearray(300 << 20)\nb[::4096] = b'x' * len(b[::4096])"
    said = tmp_path / "said"
    with isolation.create(Limits(cpuset_cpus=(2, 3), cpuset_mems=(1,), memory_max=64 * MIB)) as group, said.open("wb") as out:
        argv = [sys.executable, "-I", "-S", "-c", code]
        child = group.launch(Launch(argv, {"PATH": os.environ["PATH"]}, "/", out.fileno(), out.fileno()))
        assert child.wait(PATIENCE_S) == -signal.SIGKILL
        usage = group.usage()
    assert said.read_text() == "[2, 3]\n"
    assert usage.oom_kills == 1
    assert 60 * MIB < usage.memory_peak_bytes <= 64 * MIB


def test_everything_inside_is_killed_and_removed(isolation, tmp_path):
    code = FORK_30
    said = tmp_path / "said"
    with isolation.create(Limits()) as group, said.open("wb") as out:
        group.launch(Launch([sys.executable, "-I", "-S", "-c", code], {"PATH": os.environ["PATH"]}, "/", out.fileno(), out.fileno()))
        wait_for(lambda: "on" in said.read_text())
        assert len(group.pids()) == 31
    assert not any(folder.exists() for folder in group.folders)
