"""Several instances in one run: started, merged, stopped and failing for real."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayestuner.measure.run.protocol import PipeReports
from bayestuner.zoo.instances import threads_per_instance

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.zoo

SMALL = ("mobilenet_v2", "--scale", "0.1")


def children_of(pid):
    with contextlib.suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def wait_until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def started(zoo_folder):
    """Start the parent as the runner does; returns (process, reader of its reports). All ended at the end."""
    running = []

    def start(*arguments):
        reader, writer = os.pipe()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAYESTUNER_")}
        environment |= {"BAYESTUNER_CACHE": str(zoo_folder), "BAYESTUNER_FD": str(writer)}
        process = subprocess.Popen(
            [sys.executable, "-m", "bayestuner.zoo", *arguments],
            env=environment, pass_fds=(writer,), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(writer)
        lines = os.fdopen(reader, "rb")
        running.append((process, lines))
        return process, lines

    yield start
    for process, lines in running:
        for pid in [*children_of(process.pid), process.pid] if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        lines.close()


def understood(data):
    reports = PipeReports(0)
    reports.feed(data, time.monotonic_ns())
    assert reports.faults == 0, reports.first_fault
    return reports


@pytest.mark.parametrize(("threads", "instances", "each"), [(8, 2, [4, 4]), (7, 2, [4, 3]), (2, 3, [1, 1, 1]), (4, 1, [4])])
def test_the_cores_are_shared_evenly(threads, instances, each):
    assert threads_per_instance(threads, instances) == each


def test_their_reports_are_merged_in_order_with_a_latency_each(started):
    process, lines = started(*SMALL, "--batch", "2", "--instances", "3", "--seconds", "1.5")
    reports = understood(lines.read())
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output, errors) == (0, "", "")
    assert set(reports.items) == {2.0}
    took_s = (reports.stamps_ns[-1] - reports.ready_ns) / 1e9
    # Each instance is always at work on one batch: together their latencies cover the time three times, less their starts and ends.
    assert 1.5 * took_s < sum(reports.latencies_s) < 4.0 * took_s


def test_nothing_is_counted_before_all_are_ready(started):
    process, lines = started(*SMALL, "--instances", "2")
    first = lines.readline()
    assert first.startswith(b"ready ")
    assert len(children_of(process.pid)) == 2
    process.send_signal(signal.SIGTERM)
    reports = understood(first + lines.read())
    assert process.wait(60) == 0
    assert min(reports.stamps_ns, default=reports.ready_ns) >= reports.ready_ns


def test_sigterm_ends_all_after_their_batch(started):
    process, lines = started(*SMALL, "--instances", "2")
    read = [lines.readline() for _ in range(10)]
    assert all(read)
    pids = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    rest = lines.read()  # returns when the last instance has closed its end
    assert process.wait(60) == 0
    assert rest == b"" or rest.endswith(b"\n")  # no torn line
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_sigterm_while_they_load_ends_all(started):
    process, lines = started("inception_v3", "--scale", "0.3", "--instances", "2")
    wait_until(lambda: len(children_of(process.pid)) == 2)
    process.send_signal(signal.SIGTERM)
    lines.read()
    assert process.wait(60) == 0


def test_no_instance_outlives_a_killed_parent(started):
    process, lines = started(*SMALL, "--instances", "2")
    assert lines.readline().startswith(b"ready ")
    pids = children_of(process.pid)
    process.kill()
    process.wait()
    lines.read()  # returns at the end of file only
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_one_that_is_killed_ends_all_and_is_named(started):
    process, lines = started(*SMALL, "--instances", "2")
    assert lines.readline().startswith(b"ready ")
    os.kill(children_of(process.pid)[1], signal.SIGKILL)
    lines.read()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() in {f"bayestuner.zoo: instance {n} was ended by SIGKILL" for n in (1, 2)}


def test_what_is_wrong_is_said_once(zoo_process):
    done = zoo_process(*SMALL, "--instances", 3, "--batch", 10**8)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "give a smaller --batch" in done.stderr


def test_alone_their_figures_are_added_up(zoo_process):
    done = zoo_process(*SMALL, "--instances", 2, "--batch", 2, "--seconds", 1, "--json", "--spin", "true", "--arena", "false")
    result = json.loads(done.stdout)
    assert result["instances"] == 2
    assert result["items"] == 2 * result["batches"] > 0
    assert result["throughput"] == pytest.approx(result["items"] / result["duration_s"])
    assert 0 < result["latency_p50_s"] <= result["latency_p99_s"]
