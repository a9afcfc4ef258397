"""Jobs side by side: on cores of their own, measured only while all run, and nothing left of any when one ends."""

import os
import signal

import pytest
from jobs import PROGRAM, write_job
from leftovers import assert_all_dead, own_groups

from bayestuner.errors import InvalidGoal, InvalidSpace, MeterUnavailable
from bayestuner.goal import Goal
from bayestuner.measure.job.parser import load_job
from bayestuner.trial import Failed, Measured
from bayestuner.tune.colocation import open_colocation, space_of

needs_two = pytest.mark.skipif(
    os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2, reason="needs root, writable cgroup controllers and two CPUs"
)
GOAL = Goal(maximize="one_throughput", subject_to=["two_throughput >= 10"])
SPIN = """
import os, sys, time
from bayestuner.measure.reporter import done, ready
open({pids!r}, "a").write(f"{{os.getpid()}}\\n")
time.sleep({delay})
ready()
while True:
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    done(1)
"""


def jobs(folder, one=PROGRAM, two=PROGRAM):
    made = []
    for name, program in (("one", one), ("two", two)):
        (folder / name).mkdir()
        change = [('name = "sleeper"', f'name = "{name}"')]
        made.append(load_job(write_job(folder / name, program=program, replace=change)))
    return made


def config(batch_one=1, batch_two=1, memory_mib=128):
    part = {"cores": 1, "memory_mib": memory_mib}
    return {
        **{f"one_{k}": v for k, v in {**part, "batch_size": batch_one}.items()},
        **{f"two_{k}": v for k, v in {**part, "batch_size": batch_two}.items()},
    }


def spin(folder, delay=0.0):
    return SPIN.format(pids=str(folder / "pids"), delay=delay)


@needs_two
def test_each_job_has_cores_and_figures_of_its_own(tmp_path):
    with open_colocation(jobs(tmp_path), GOAL) as machine:
        outcome = machine.run(config(batch_one=8, batch_two=1))
    assert isinstance(outcome, Measured), outcome
    assert outcome.metrics["one_throughput"].value > 2 * outcome.metrics["two_throughput"].value
    assert outcome.metrics["one_memory_peak_bytes"].value > outcome.metrics["two_memory_peak_bytes"].value + 40 * 2**20
    first, second = (set(details["cpus"]) for details in machine.details)
    assert len(first) == len(second) == 1
    assert not first & second
    assert machine.elapsed_s > 0.2
    assert own_groups() == []


@needs_two
def test_busy_neighbours_both_have_a_core(tmp_path):
    with open_colocation(jobs(tmp_path, spin(tmp_path), spin(tmp_path)), GOAL) as machine:
        outcome = machine.run(config())
    assert isinstance(outcome, Measured), outcome
    assert {details["stop"] for details in machine.details} <= {"tight", "max_seconds"}
    assert_all_dead(tmp_path / "pids")


@needs_two
def test_no_window_begins_before_every_job_is_warm(tmp_path):
    with open_colocation(jobs(tmp_path, spin(tmp_path), spin(tmp_path, delay=3.0)), GOAL) as machine:
        assert isinstance(machine.run(config()), Measured)
    assert machine.details[0]["warmup_s"] > 1.0  # it had been ready long before the other


@needs_two
@pytest.mark.parametrize("which", ["one", "two"])
def test_a_job_that_is_killed_for_memory_is_named_and_ends_the_other(tmp_path, which):
    with open_colocation(jobs(tmp_path), GOAL) as machine:
        outcome = machine.run({**config(), f"{which}_batch_size": 16, f"{which}_memory_mib": 64})
    assert isinstance(outcome, Failed)
    assert outcome.kind == "oom"
    assert outcome.message.startswith(f"{which}: killed for memory")
    assert own_groups() == []


@needs_two
def test_a_job_that_ends_by_itself_is_named(tmp_path):
    ends_once_the_other_works = (
        "import os, time\n"
        "end = time.monotonic() + 60\n"
        f"while not os.path.exists({str(tmp_path / 'pids')!r}) and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"
        "raise SystemExit('no model')\n"
    )
    with open_colocation(jobs(tmp_path, spin(tmp_path), ends_once_the_other_works), GOAL) as machine:
        outcome = machine.run(config())
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.message[:5]) == ("error", "two: ")
    assert "no model" in outcome.message
    assert_all_dead(tmp_path / "pids")


@needs_two
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with open_colocation(jobs(tmp_path, spin(tmp_path), spin(tmp_path, delay=30.0)), GOAL) as machine:
            signal.setitimer(signal.ITIMER_REAL, 1.5)
            with pytest.raises(KeyboardInterrupt):
                machine.run(config())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert_all_dead(tmp_path / "pids")
    assert own_groups() == []


def test_the_space_divides_cores_and_memory(tmp_path):
    pair = jobs(tmp_path)
    space = space_of(pair, n_cores=2, memory_bytes=256 * 2**20, values={"one_batch_size": [1, 16]})
    assert {k.name: len(k) for k in space.knobs} == {
        "one_cores": 1, "one_memory_mib": 3, "one_batch_size": 2, "two_cores": 1, "two_memory_mib": 3, "two_batch_size": 5,
    }  # fmt: skip
    assert all(c["one_memory_mib"] + c["two_memory_mib"] <= 256 for c in space)
    assert {c["one_memory_mib"] for c in space} == {64, 128}
    with pytest.raises(InvalidSpace):
        space_of(pair, n_cores=1, memory_bytes=None, values={})  # no division at all
    with pytest.raises(InvalidSpace, match="there is no knob 'three_cores'; the knobs are one_cores, "):
        space_of(pair, n_cores=2, memory_bytes=None, values={"three_cores": [1]})


@needs_two
def test_what_can_not_be_shared_or_asked_for_is_said(tmp_path):
    pair = jobs(tmp_path)

    def refused(error, words, jobs=pair, goal=GOAL, **options):
        with pytest.raises(error, match=words), open_colocation(jobs, goal, **options):
            pass

    refused(InvalidSpace, "two or more with names that differ, not one, one", [pair[0], pair[0]])
    refused(InvalidSpace, "two or more with names that differ, not one", pair[:1])
    refused(InvalidGoal, "reports 'throughput'; a goal can use power_w, knobs, and", goal=Goal(maximize="throughput"))
    refused(InvalidGoal, "has a relative bound", goal=Goal(maximize="one_throughput", subject_to=["two_throughput >= 60%"]))
    refused(MeterUnavailable, "the goal is about power and this machine has no meter", goal=Goal(minimize="power_w"))
    (tmp_path / "three").mkdir()
    no_cores = load_job(write_job(tmp_path / "three", replace=[('cores = { kind = "cores", min = 1, max = 1 }\n', "")]))
    refused(InvalidSpace, "sleeper has no knob of kind cores", [pair[0], no_cores])
