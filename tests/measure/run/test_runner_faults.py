"""Faults around a real run: memory, forks without end, flooded pipes, a group that is taken away, a read-only cgroup file system."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from leftovers import assert_all_dead, own_groups

from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Failed, Measured

pytestmark = [pytest.mark.cgroup, pytest.mark.usefixtures("nothing_left")]
MEMORY = 'memory_mib = { kind = "memory", values = [32, 512] }'
PATIENCE_S = 60.0


def run(job, isolation, **config):
    with Runner(job, meter=None, isolation=isolation) as runner:
        return runner.run({**job.all_max_config(), **config})


@pytest.mark.parametrize("how", ["several", "leaves"])
def test_an_oom_kill_among_several_counts_whatever_the_others_do(how, make_job, isolation):
    """One of four children; and a child whose parent then exits with status 0, after enough batches to be measured."""
    if "memory" not in isolation.controls:
        pytest.skip("memory can't be limited here")
    record = run(make_job("hog_memory.py", "120", how, knobs=MEMORY, min_seconds=2.0), isolation, memory_mib=32)
    assert record.outcome == Failed("oom", "killed for memory at its limit of 32 MiB"), record
    assert record.details["oom_kills"] >= 1


class FewProcesses:
    """The real isolation with a smaller limit of processes, so that the test doesn't fill the machine."""

    def __init__(self, real, pids_max):
        self._real, self._pids_max = real, pids_max
        self.name, self.controls, self.most = real.name, real.controls, 0

    def create(self, limits):
        group = self._real.create(replace(limits, pids_max=self._pids_max))
        usage = group.usage
        group.usage = lambda: (setattr(self, "most", max(self.most, len(group.pids()))), usage())[1]
        return group


def test_a_job_that_forks_without_end_is_measured_inside_its_limit_and_dies(make_job, isolation, tmp_path):
    few = FewProcesses(isolation, 50)
    record = run(make_job("misbehave.py", "forks", tmp_path / "pids"), few)
    assert isinstance(record.outcome, Measured), record.outcome
    assert 40 <= few.most <= 50
    assert_all_dead(tmp_path / "pids")


def test_a_report_pipe_that_is_flooded_with_batches_is_measured(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "floods_reports", tmp_path / "pids", max_seconds=1.5), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.outcome.values["throughput"] > 1000
    assert_all_dead(tmp_path / "pids")


def test_a_report_pipe_that_is_flooded_with_one_endless_line_is_no_memory_leak(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "floods_reports_with_garbage", tmp_path / "pids", max_seconds=1.0), isolation)
    assert isinstance(record.outcome, Failed)
    assert record.outcome.kind == "timeout"
    assert "a line longer than 65536 bytes" in record.outcome.message
    assert len(record.details["first_report_fault"]) < 200
    assert_all_dead(tmp_path / "pids")


def take_away(pid_file):
    """What an administrator or another tool may do: kill what is in our groups and remove them, in mid-run."""
    deadline = time.monotonic() + PATIENCE_S
    while not (pid_file.exists() and own_groups()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    left = list(map(Path, own_groups()))
    while left and time.monotonic() < deadline:
        for folder in left:
            try:
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                folder.rmdir()
            except OSError:
                time.sleep(0.01)
        left = [folder for folder in left if folder.exists()]


def test_a_group_that_is_taken_away_in_mid_run_ends_the_run_and_nothing_else(make_job, isolation, tmp_path):
    if isolation.name == "affinity":
        pytest.skip("there is no group to take away")
    job = make_job("misbehave.py", "ignores_term", tmp_path / "pids", min_seconds=50.0, max_seconds=60.0)
    thief = threading.Thread(target=take_away, args=(tmp_path / "pids",))
    thief.start()
    try:
        begun = time.monotonic()
        record = run(job, isolation)
    finally:
        thief.join()
    assert time.monotonic() - begun < 50.0
    assert isinstance(record.outcome, Failed), record.outcome
    assert "signal SIGKILL" in record.outcome.message or record.outcome.kind == "transient", record.outcome
    assert_all_dead(tmp_path / "pids")
    assert isinstance(run(make_job("misbehave.py", "ends", tmp_path / "pids"), isolation).outcome, Measured)  # and the next one works


READ_ONLY = """
import subprocess, sys
for line in open("/proc/self/mounts").read().splitlines():
    kind, where = line.split()[2], line.split()[1]
    if kind.startswith("cgroup"):
        subprocess.run(["mount", "-o", "remount,bind,ro", where], check=True)
subprocess.run([sys.executable, "-m", "bayestuner", "tune", sys.argv[1], "--study", sys.argv[2]])
"""


def test_a_read_only_cgroup_file_system_is_refused_with_a_reason(tmp_path):
    """Real: every cgroup mount made read-only in a mount namespace of its own, as in most containers."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    (tmp_path / "job.toml").write_text(
        '[job]\ncommand = ["{python}", "-c", "pass"]\n[knobs]\ncores = { kind = "cores", min = 1, max = 1 }\n[goal]\nminimize = "cores"\n'
    )
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", READ_ONLY, tmp_path / "job.toml", tmp_path / "s"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert "read-only" in done.stderr, (done.stdout, done.stderr)
    assert "affinity" in done.stderr  # the way on that is left
    assert not (tmp_path / "s").exists()
