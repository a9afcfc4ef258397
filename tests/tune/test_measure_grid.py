"""Whole grids into a table, by real runs: resumed, killed, interrupted, refused."""

import csv
import json
import os
import signal
import subprocess
import time

import pytest
from jobs import bayestuner, write_job

from bayestuner.errors import InvalidSpace
from bayestuner.measure.job.parser import load_job
from bayestuner.simulate.tables import read_table
from bayestuner.tune.grid import part_of

pytestmark = pytest.mark.cgroup
WAIT_S = 240
SMALL = ("--only", "batch_size=1,2", "--only", "memory_mib=128,256", "--allow-affinity")


@pytest.fixture
def job(tmp_path):
    return write_job(tmp_path, minimize="cpu_s_per_item", replace=[("relative_error = 0.5", "relative_error = 0.9")])


def command(job, *more):
    return bayestuner("measure-grid", job, "--out", job.parent / "table.csv", *more)


def grid(job, *more):
    return subprocess.run(command(job, *more), capture_output=True, text=True, timeout=WAIT_S, check=False)


def rows(job):
    with (job.parent / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_is_measured_once_and_stands_in_order(job):
    done = grid(job, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "the grid is whole" in done.stdout
    assert " left" in done.stdout
    found = rows(job)
    assert [(r["memory_mib"], r["batch_size"]) for r in found] == [("128", "1"), ("128", "2"), ("256", "1"), ("256", "2")]
    assert {r["status"] for r in found} == {"ok"}
    assert all(float(r["throughput"]) > 0 and float(r["cpu_s_per_item"]) > 0 and float(r["latency_p99_s"]) > 0 for r in found)
    assert not [name for name in found[0] if "power" in name]  # there is no meter here
    about = json.loads((job.parent / "table.json").read_text())
    assert about["job"]["name"] == "sleeper"
    assert about["starts"][0]["packages"]["numpy"]
    assert about["starts"][0]["knobs"][1] == {
        "name": "memory_mib", "kind": "memory", "ordered": True, "values": [64, 128, 256], "part": [128, 256],
    }  # fmt: skip
    space = read_table(job.parent / "table.csv").space
    assert [(knob.name, knob.values, knob.more_is) for knob in space.knobs] == [
        ("cores", (1,), None), ("memory_mib", (128, 256), "safer"), ("batch_size", (1, 2), None),
    ]  # fmt: skip
    before = (job.parent / "table.csv").read_bytes()
    head, *lines = before.splitlines(keepends=True)
    (job.parent / "table.csv").write_bytes(b"".join([head, *reversed(lines)]))  # as one leaves it that is killed before the rows are sorted
    again = grid(job, *SMALL)
    assert "4 of them measured" in again.stdout
    assert (job.parent / "table.csv").read_bytes() == before


def test_a_larger_part_adds_its_rows(job):
    assert grid(job, *SMALL).returncode == 0
    before = {tuple(r.values()) for r in rows(job)}
    assert grid(job, *SMALL[2:], "--only", "batch_size=1,2,4").returncode == 0
    after = {tuple(r.values()) for r in rows(job)}
    assert before < after
    assert len(after) == 6


def test_an_out_of_memory_run_is_a_row(job):
    if os.geteuid() != 0:
        pytest.skip("needs root and writable cgroup controllers")
    done = grid(job, "--only", "batch_size=16", "--only", "memory_mib=64")
    assert done.returncode == 0, done.stderr
    (row,) = rows(job)
    assert (row["status"], row["throughput"]) == ("oom", "")
    assert "limit of 64 MiB" in row["message"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_what_was_measured_survives_and_is_not_run_again(job, number, code):
    process = subprocess.Popen(command(job, *SMALL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("2/4"):
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    kept = [tuple(r.values()) for r in rows(job)]
    assert len(kept) in (2, 3)
    if number == signal.SIGINT:
        assert "every finished run is in" in errors
        assert "measure-grid" in errors
    with (job.parent / "table.csv").open("ab") as file:
        file.write(b"1,256,")  # as a power failure leaves it
    done = grid(job, *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of them measured" in done.stdout
    found = [tuple(r.values()) for r in rows(job)]
    assert len(found) == 4
    assert set(kept) < set(found)
    assert len(json.loads((job.parent / "table.json").read_text())["starts"]) == 2


def test_a_budget_ends_it_and_says_how_to_go_on(job):
    begun = time.monotonic()
    done = grid(job, *SMALL, "--budget-seconds", "0.000001")
    assert done.returncode == 0
    assert "go on with: bayestuner measure-grid" in done.stdout
    assert rows(job) == []
    assert time.monotonic() - begun < WAIT_S


def test_another_jobs_table_is_refused(job):
    assert grid(job, *SMALL).returncode == 0
    job.write_text(job.read_text().replace("max_seconds = 0.5", "max_seconds = 0.6"))
    done = grid(job, *SMALL)
    assert done.returncode == 4
    assert "it was begun with another job" in done.stderr
    assert len(rows(job)) == 4


def test_a_broken_job_is_given_up(tmp_path):
    done = grid(write_job(tmp_path, program="raise SystemExit(3)", minimize="cpu_s_per_item"), "--allow-affinity")
    assert done.returncode == 1
    assert "all of the first 3 runs failed" in done.stderr
    assert {r["status"] for r in rows(tmp_path / "job.toml")} == {"error"}


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"batch": ["1"]}, "sleeper has no knob 'batch'; its knobs are cores, memory_mib, batch_size"),
        ({"batch_size": ["3"]}, "the knob batch_size of sleeper has no value '3'; its values are 1, 2, 4, 8, 16"),
    ],
)
def test_a_part_that_is_none_is_refused(job, part, says):
    with pytest.raises(InvalidSpace) as caught:
        part_of(load_job(job), part)
    assert str(caught.value) == says


def test_a_table_becomes_a_problem_of_search_quality(job):
    from benchmarks.search_quality.problems import load
    from benchmarks.tables.__main__ import problem_of

    assert grid(job, *SMALL).returncode == 0
    entry = problem_of(job.parent / "table.csv", share=0.5)
    (job.parent / "problems.json").write_text(json.dumps([entry]))
    (problem,) = load(job.parent)
    assert problem.space.names == ("cores", "memory_mib", "batch_size")
    assert problem.ok.all()
    assert problem.objective.min() == min(float(r["cpu_s_per_item"]) for r in rows(job))
    assert problem.feasible[-1]
