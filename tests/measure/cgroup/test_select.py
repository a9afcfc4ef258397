"""Which way is chosen, and what is said where none works."""

import os
import signal
import subprocess
import sys

import pytest

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.cgroup.select import open_isolation, systemd_run_line

BOTH = frozenset({"cores", "memory"})


@pytest.fixture
def no_cgroups(tmp_path):
    """A /proc on which no cgroup is mounted, but everything else is real."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "mountinfo").write_text("23 1 254:0 / / rw - ext4 /dev/root rw\n")
    (proc / "self" / "cgroup").write_text("0::/\n")
    return proc


@pytest.mark.cgroup
@pytest.mark.usefixtures("v1", "way")
def test_the_real_machine_is_proven_and_not_only_looked_at():
    isolation, refusals = open_isolation(BOTH)
    assert isolation.name in ("cgroup-v1", "cgroup-v2")
    assert isolation.controls == BOTH
    if isolation.name == "cgroup-v1":
        assert [refusal.what for refusal in refusals] == ["cgroup-v2"]
        assert refusals[0].reason
        assert refusals[0].remedy


def test_a_stop_signal_in_the_midst_of_the_trial_leaves_no_group(monkeypatch):
    """In the gap between the making of the trial group and the block that removes it; `nothing_stays` looks for what is left."""
    kind = type(open_isolation(frozenset({"cores"}), allow_affinity=True)[0])
    create = kind.create

    def create_and_stop(self, limits):
        group = create(self, limits)
        signal.raise_signal(signal.SIGINT)
        return group

    monkeypatch.setattr(kind, "create", create_and_stop)
    with pytest.raises(KeyboardInterrupt):
        open_isolation(frozenset({"cores"}), allow_affinity=True)


def test_without_a_way_the_error_says_what_to_run(no_cgroups, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/bayestuner", "tune", "my job.toml"])
    with pytest.raises(IsolationUnavailable) as caught:
        open_isolation(BOTH, proc=no_cgroups, systemd=True)
    text = str(caught.value)
    user = "" if os.geteuid() == 0 else "--user "
    assert "cgroup-v2: not mounted" in text
    assert "cgroup-v1: cpuset: not mounted, memory: not mounted" in text
    assert f"systemd-run {user}--scope -p Delegate=yes -- /usr/bin/bayestuner tune 'my job.toml'" in text
    assert "affinity-allowed" in text


def test_the_fallback_only_where_it_is_allowed(no_cgroups):
    isolation, refusals = open_isolation(BOTH, allow_affinity=True, proc=no_cgroups)
    assert isolation.name == "affinity"
    assert [refusal.what for refusal in refusals] == ["cgroup-v2", "cgroup-v1"]
    assert refusals[1].detail["freezer"] == "not mounted"


def test_a_program_that_embeds_us_gets_an_example(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook.py"])
    assert systemd_run_line().endswith("-- bayestuner tune JOB.toml")


def test_an_unknown_need_is_a_mistake():
    with pytest.raises(ValueError, match="disk"):
        open_isolation(frozenset({"disk"}))


class ReadOnly(CgroupFiles):
    """cgroup folders as in most containers; the mount option may be hidden, so only the attempt shows it."""

    def make(self, path):
        raise OSError(30, "Read-only file system", str(path))


@pytest.mark.cgroup
@pytest.mark.usefixtures("v1")
def test_a_read_only_mount_is_found_by_trying():
    with pytest.raises(IsolationUnavailable, match=r"cgroup-v1: .*Read-only file system.*as in most containers"):
        open_isolation(BOTH, files=ReadOnly())


class Ineffective(CgroupFiles):
    """A kernel that takes a memory limit and forgets it."""

    def write(self, path, value):
        if path.name not in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            super().write(path, value)


@pytest.mark.cgroup
@pytest.mark.usefixtures("v1")
def test_a_limit_that_does_not_hold_is_found_by_reading_back():
    with pytest.raises(IsolationUnavailable, match=r"memory\.limit_in_bytes holds \d+ bytes after 67108864 were asked for"):
        open_isolation(BOTH, files=Ineffective())


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_is_refused_with_a_reason_and_may_fall_back():
    code = """
import codecs, os, sys
from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.cgroup.isolation import Launch, Limits
import bayestuner.measure.cgroup.spawn, bayestuner.measure.cgroup.spawn_native, bayestuner.measure.cgroup.spawn_shim
bayestuner.measure.cgroup.spawn.extension_is_built()
codecs.lookup("ascii")  # what has to be loaded is loaded first: this Python may lie where only root can read
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
needs = frozenset({"cores", "memory"})
try:
    open_isolation(needs)
except IsolationUnavailable as error:
    print(error, flush=True)
isolation, _ = open_isolation(needs, allow_affinity=True)
cpu = min(os.sched_getaffinity(0))
with isolation.create(Limits(cpuset_cpus=(cpu,))) as group:
    print(isolation.name, group.launch(Launch(["nproc"], {"PATH": os.defpath}, "/", 1, 2)).wait(60), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "systemd-run --user --scope -p Delegate=yes" in lines[0]
    assert "no permission" in lines[0]
    assert sorted(lines[1:]) == ["1", "affinity 0"]


def test_refusals_are_plain_data():
    assert Refusal("a", "b", "c").detail == {}
