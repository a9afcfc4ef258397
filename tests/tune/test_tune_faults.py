"""`tune` through what machines do to programs: killed at random moments, a disk that is full, a clock that jumps."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs import RECOMMENDED, bayestuner, processes_of
from leftovers import alive, groups_of
from tune_runs import NEEDS_CGROUP, told
from tuner_forge import Forge

from bayestuner.measure.job.parser import load_job
from bayestuner.study.study import Study
from bayestuner.trial import Measured
from bayestuner.tune import Progress, tune

pytestmark = NEEDS_CGROUP
PROGRAM = """
import os, signal, time
fd = int(os.environ["BAYESTUNER_FD"])
if os.fork() == 0:  # leaves the session and ignores SIGTERM: whoever forgets it leaves it running
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
os.write(fd, b"ready %d\\n" % time.monotonic_ns())
while True:
    end = time.process_time() + 0.002
    while time.process_time() < end:
        pass
    os.write(fd, b"done 1 %d\\n" % time.monotonic_ns())
"""

JOB = """
[job]
command = ["{{python}}", "-I", "-S", "{program}", "{{n}}"]
[knobs]
cores = {{ kind = "cores", min = 1, max = 1 }}
n = {{ kind = "argument", min = 1, max = 2000 }}
[goal]
minimize = "cpu_s_per_item"
[measure]
budget = 1000
min_seconds = 0.02
max_seconds = 0.1
relative_error = 0.9
repeats = 0
max_outside_load = 1
retries = 0
reference_every = 0
energy = []
"""


@pytest.fixture
def job(tmp_path):
    """A job file whose runs take about 0.2 s each, of a program with a stubborn child."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "job.toml").write_text(JOB.format(program=tmp_path / "program.py"))
    return tmp_path / "job.toml"


def test_signals_at_random_moments_lose_no_finished_run_and_leave_nothing(job, tmp_path, long):
    """SIGINT, SIGTERM and SIGKILL in turn, at any moment from the fork on, each time followed by a new start of the same study."""
    seed = os.environ.get("BAYESTUNER_TEST_SEED", "23")
    moments = random.Random(seed)
    study, output, program = tmp_path / "s", tmp_path / "output", tmp_path / "program.py"
    command = ["tune", job, "--study", study, "--strategy", "random"]
    pids, rounds = [], 50 if long else 15
    with Forge() as forge:
        begun = time.monotonic()  # two runs, whole: on a loaded machine the moments have to be as much later
        forge.start(["tune", job, "--study", tmp_path / "whole", "--strategy", "random", "--budget", 2], output)
        assert forge.wait() in DECIDED, output.read_text()
        longest_s = max(0.9, 1.5 * (time.monotonic() - begun))
        for k in range(rounds):
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[k % 3]
            before = told(study)
            pid = forge.start(command, output)
            time.sleep(moments.uniform(0.0, longest_s))
            os.kill(pid, number)
            status = forge.wait()
            text = output.read_text()
            context = f"seed {seed}, signal {k} ({number.name}), exit status {status}:\n{text}"
            assert status in (-number, 128 + number), context  # minus: before it could take care of signals, or SIGKILL
            after = told(study)
            assert before.items() <= after.items(), f"an outcome is gone or changed; {context}"
            printed = {int(n) for n in re.findall(r"^ *(\d+)/1000 ", text, re.MULTILINE)}
            assert len(printed) + len(before) <= len(after), f"a run that was said to be finished isn't stored; {context}"
            swept = ", 1000 runs" in text  # what one that was killed had left, which is done before anything is said
            if status == 128 + number:
                assert groups_of(pid) == [], context
                assert not swept or processes_of(program) == [], context
            assert not swept or groups_of(*pids) == [], context
            pids.append(pid)
        finished = len(told(study))
        assert finished > rounds / 5
        forge.start([*command, "--budget", finished + 2], output)
        assert forge.wait() in DECIDED, output.read_text()
    assert processes_of(program) == []
    assert groups_of(*pids) == []
    with Study.open(study, read_only=True) as opened:
        records = opened.records()
    assert len(records) == finished + 2
    assert all(isinstance(r.trial.outcome, Measured) for r in records)
    assert sorted([r.ask_seq for r in records] + [r.tell_seq for r in records]) == list(range(1, 2 * len(records) + 1))


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 400 KiB, seen only in a mount namespace of its own: a shell that sits there, and the folder it sees."""
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs root, unshare and nsenter")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=400k,mode=700 tmpfs {disk} && echo mounted && exec sleep 600"
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", mount]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            if holder.stdout.readline() != "mounted\n":
                pytest.skip("no tmpfs can be mounted here")
            yield holder.pid, disk, Path(f"/proc/{holder.pid}/root{disk}")
        finally:
            holder.kill()


DECIDED = (0, 6)  # what is recommended depends on figures of this machine
FINISHED = re.compile(r" *\d+/1000 ")


def test_a_disk_that_fills_up_stops_the_search_in_one_sentence_and_loses_nothing(job, small_disk, tmp_path):
    holder, disk, seen = small_disk

    def kept(name):
        """What is on that disk: copied out, since SQLite can't open files by a path into another mount namespace."""
        shutil.copytree(seen / "s", tmp_path / name)
        return told(tmp_path / name)

    inside = ["nsenter", "-t", str(holder), "-m", f"--wd={job.parent}"]
    command = [*inside, *bayestuner("tune", job, "--study", disk / "s", "--strategy", "random")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finished = 0
    while finished < 2:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        finished += bool(FINISHED.match(line))
    with (seen / "ballast").open("wb", buffering=0) as ballast:
        with pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(bytes(4096))
    printed, errors = process.communicate(timeout=120)
    finished += sum(map(bool, map(FINISHED.match, printed.splitlines())))
    assert process.returncode == 4, (printed, errors)
    assert errors.count("\n") == 1, errors
    assert "no space is left" in errors
    assert "every outcome stored before is kept" in errors
    assert processes_of(job.parent / "program.py") == []
    (seen / "ballast").unlink()
    before = kept("before")
    assert len(before) == finished
    more = subprocess.run([*command, "--budget", str(finished + 1)], capture_output=True, text=True, timeout=120, check=False)
    assert more.returncode in RECOMMENDED, more.stderr
    after = kept("after")
    assert before.items() <= after.items()
    assert len(after) == finished + 1


class Jumping(Progress):
    """Sets a made-up time of day forth and back between the runs; the machine's own clock is let alone."""

    def __init__(self, monkeypatch):
        self.offset, self.left = timedelta(0), []
        monkeypatch.setattr("bayestuner.study.store.utc_now", lambda: (datetime.now(UTC) + self.offset).isoformat(timespec="milliseconds"))
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.offset.total_seconds())

    def run_started(self, run):
        self.offset = timedelta(days=400 if run.k % 2 else -400)
        self.left.append(run.seconds_left)

    def run_finished(self, run):
        self.offset = -self.offset


def test_a_clock_that_jumps_changes_nothing(job, tmp_path, monkeypatch):
    """A FAKE clock: the real one can't be set without disturbing everything else here; the guest's can (tests/vm)."""
    jumping = Jumping(monkeypatch)
    result = tune(load_job(job), study_path=tmp_path / "s", budget=4, strategy="random", progress=jumping)
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
    assert {r.asked_utc[:4] for r in records} != {r.told_utc[:4] for r in records}  # it did jump
    assert all(isinstance(r.trial.outcome, Measured) for r in records)
    assert all(0.0 < r.details["duration_s"] < 60.0 for r in records)
    assert 0.0 < result.summary.duration_s < 240.0
    assert all(left is None or 0.0 <= left < 600.0 for left in jumping.left)


LABELS = {"measure/table.py", "study/store.py"}
"""The files that read the time of day, each only to write it down as text beside what is stored."""


def test_the_time_of_day_only_labels_what_is_stored():
    """All spans are of CLOCK_MONOTONIC: whoever reads the other clock has to be listed above."""
    root = Path(__file__).resolve().parents[2] / "bayestuner"
    words = re.compile(r"\btime\.time(_ns)?\(|datetime\.now\(|utcnow\(|CLOCK_REALTIME")
    readers = {str(p.relative_to(root)): words.findall(p.read_text()) for p in root.rglob("*.py") if words.search(p.read_text())}
    assert readers.keys() <= LABELS


def test_the_forge_makes_real_tuners(tmp_path):
    with Forge() as forge:
        forge.start(["tune", tmp_path / "none.toml"], tmp_path / "output")
        assert forge.wait() == 2
        pid = forge.start(["doctor", "--json"], tmp_path / "output")
        assert forge.wait() == 0
    assert json.loads((tmp_path / "output").read_text())["version"] == 1
    assert not alive(pid)
