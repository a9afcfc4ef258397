"""The helper that Python jobs import: light, silent outside BayesTuner, deaf to a closed pipe."""

import json
import os
import subprocess
import sys

from bayestuner.measure.run.protocol import PipeReports


def child(code, fd=None, **env):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("BAYESTUNER_")} | env
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=variables,
        pass_fds=() if fd is None else (fd,),
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_does_nothing_outside():
    for env in ({}, {"BAYESTUNER_FD": ""}, {"BAYESTUNER_FD": "x"}):
        done = child("from bayestuner.measure.reporter import ready, done; ready(); done(3); print('on')", **env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


def test_what_it_writes_is_understood():
    read, write = os.pipe()
    child("from bayestuner.measure.reporter import ready, done; ready(); done(3); done(4, latency_s=0.5)", write, BAYESTUNER_FD=str(write))
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    reports = PipeReports(0)
    reports.feed(data, 2**62)
    assert (list(reports.items), reports.faults) == ([3.0, 4.0], 0)
    assert reports.latencies_s[1] == 0.5


def test_a_closed_pipe_does_not_stop_the_job():
    read, write = os.pipe()
    os.close(read)
    done = child("from bayestuner.measure.reporter import ready, done; ready(); done(3); print('on')", write, BAYESTUNER_FD=str(write))
    os.close(write)
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_it_loads_nothing_heavy():
    done = child("import sys, json, bayestuner.measure.reporter; print(json.dumps(sorted(sys.modules)))")
    loaded = set(json.loads(done.stdout))
    assert not {m.split(".")[0] for m in loaded} & {"numpy", "numba", "scipy", "cffi"}
    assert "bayestuner.measure.job.job" not in loaded
