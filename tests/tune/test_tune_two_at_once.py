"""Two `tune` on one machine: real ones, each with a study of its own and a lock that is theirs alone."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from jobs import RECOMMENDED, bayestuner, processes_of, write_job
from patience import wait_for

HAVE_CGROUP = os.geteuid() == 0 and any(Path(f"/sys/fs/cgroup/{c}").is_dir() for c in ("memory", "cgroup.controllers"))
pytestmark = [pytest.mark.cgroup, pytest.mark.skipif(not HAVE_CGROUP, reason="needs root and writable cgroup controllers")]
WAIT_S = 240
LONG = [("max_seconds = 0.5", "max_seconds = 600"), ("min_seconds = 0.2", "min_seconds = 600")]


def start(job, study, env, *more):
    return subprocess.Popen(
        bayestuner("tune", job, "--study", study, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def test_the_second_is_refused_or_waits_and_measures_once_the_first_is_dead(tmp_path):
    env = {**os.environ, "BAYESTUNER_RUNTIME_DIR": str(tmp_path / "run")}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    long = write_job(tmp_path / "a", budget=2, replace=LONG)
    short = write_job(tmp_path / "b", budget=2)
    with start(long, tmp_path / "first", env) as first:
        wait_for(lambda: processes_of(tmp_path / "a" / "program.py"))
        second = start(short, tmp_path / "second", env)
        said, errors = second.communicate(timeout=WAIT_S)
        assert second.returncode == 5, said + errors
        assert errors == (
            f"bayestuner: another BayesTuner (process {first.pid}, study {tmp_path / 'first'}) is measuring on this machine, and two at "
            "once would measure each other: wait for it, or add --wait\n"
        )
        assert not (tmp_path / "second").exists()
        with start(short, tmp_path / "second", env, "--wait") as waiting:
            lines = []
            for line in waiting.stdout:
                lines.append(line)
                if f"waiting for another BayesTuner (process {first.pid}" in line:
                    break
            else:
                raise AssertionError(lines)
            assert not processes_of(tmp_path / "b" / "program.py")
            first.send_signal(signal.SIGKILL)
            said, errors = waiting.communicate(timeout=WAIT_S)
            assert waiting.returncode in RECOMMENDED, said + errors
    assert (tmp_path / "second" / "study.sqlite").exists()
