"""One run after another: retries of disturbed runs, early ends, what is kept of them."""

import pytest
from tune_doubles import measured

from bayestuner.errors import MachineBusy
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.run.record import RunRecord
from bayestuner.trial import Failed


def run_one(trial_runner, role="search"):
    """Make one run; its stored record."""
    trial = trial_runner.study.ask() if role == "search" else trial_runner.study.adopt(trial_runner.job.all_max_config(), role)
    trial_runner.run(trial, role)
    return trial_runner.study.records()[-1]


def test_a_quiet_run_is_made_once(make):
    trial_runner, told = make(measured(100.0))
    record = run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 1
    assert record.details["other_attempts"] == []
    assert told.notes == []


@pytest.mark.parametrize("flag", ["contended", "stolen", "swapped", "throttled"])
def test_a_disturbed_run_is_made_once_more_and_both_are_kept(flag, make):
    trial_runner, told = make(measured(80.0, flag, outside=0.3), measured(100.0))
    record = run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 2
    assert trial_runner.runner.calls[0] == trial_runner.runner.calls[1]
    assert record.trial.metrics["throughput"] == 100.0
    assert record.trial.outcome.flags == ()
    (other,) = record.details["other_attempts"]
    assert other["outcome"]["flags"] == [flag]
    assert other["outcome"]["metrics"]["throughput"][0] == 80.0
    assert told.notes == [f"run 1 was disturbed ({flag}): it is made once more, both are kept"]
    assert len(trial_runner.study.records()) == 1  # it costs time, no budget


def test_of_two_disturbed_runs_the_quieter_one_counts(make):
    trial_runner, _ = make(measured(90.0, "contended", outside=0.1), measured(50.0, "contended", outside=0.6))
    record = run_one(trial_runner)
    assert record.trial.metrics["throughput"] == 90.0
    assert record.trial.outcome.flags == ("contended",)
    assert record.details["other_attempts"][0]["outcome"]["metrics"]["throughput"][0] == 50.0


@pytest.mark.parametrize(
    ("loads", "limit", "ends_after"),
    [
        ([0.8, 0.9, 0.85, 0.9], 0.75, 3),
        ([0.8, 0.5, 0.85, 0.9, 0.9], 0.75, None),  # it was quieter for a while
        ([0.8, 0.9, None, 0.9, 0.9], 0.75, None),  # not known of a run that failed
        ([0.8, 0.9, 0.85, 0.9], 1, None),
        ([1.01, 1.02, 1.01, 1.01], 1, None),  # by the resolution of clock ticks
        ([0.3, 0.4, 0.35], 0.25, 3),
    ],
)
def test_a_machine_that_others_use_from_the_start_is_not_measured(make, loads, limit, ends_after):
    records = [measured(100.0, outside=load) for load in loads]
    trial_runner, told = make(*records, measure=f"max_outside_load = {limit}")
    for i in range(1, len(loads) + 1):
        if i == ends_after:
            with pytest.raises(MachineBusy, match=r"other programs used \d+ to \d+ % of .* during each of the first 3 runs"):
                run_one(trial_runner)
            break
        run_one(trial_runner)
    assert len(told.finished) == (ends_after or len(loads))  # what was measured is stored and shown


def test_the_jobs_own_doing_is_not_tried_again(make):
    trial_runner, _ = make(measured(80.0, "unsteady", "imprecise", "thrashing", "estimated_power"))
    run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 1


def test_retries_can_be_turned_off(make):
    trial_runner, _ = make(measured(80.0, "contended"), measure="retries = 0")
    run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 1


def test_on_a_machine_that_is_always_busy_retries_end(make):
    trial_runner, told = make(measured(80.0, "contended", outside=0.3))
    for _ in range(4):
        run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 6  # two runs twice, two once
    assert sum("busy all the time" in note for note in told.notes) == 1
    trial_runner.runner.records = [measured(100.0), measured(80.0, "contended"), measured(100.0)]
    run_one(trial_runner)  # a quiet one: from here on it is worth trying again
    run_one(trial_runner)
    assert len(trial_runner.runner.calls) == 9


def test_a_failure_in_the_second_attempt_counts_unless_it_is_the_machines(make):
    trial_runner, _ = make(measured(80.0, "contended"), RunRecord(Failed("oom", "killed"), {}))
    assert run_one(trial_runner).trial.outcome.kind == "oom"
    trial_runner, _ = make(measured(80.0, "contended"), GroupFault("no group"))
    record = run_one(trial_runner)
    assert record.trial.metrics["throughput"] == 80.0
    assert record.details["other_attempts"][0]["outcome"]["kind"] == "transient"


def test_the_time_left_counts_every_launch_that_is_allowed(make):
    trial_runner, told = make(measured(100.0), measure="launches = 9\n")
    run_one(trial_runner)
    each = trial_runner.study.records()[0].details["duration_s"]
    assert told.finished[-1].seconds_left == pytest.approx((39 + 9) * each)
    trial_runner.run(trial_runner.study.adopt(trial_runner.job.all_max_config(), "repeat"), "repeat", (4, 9))
    took = [r.details["duration_s"] for r in trial_runner.study.records()]
    assert told.finished[-1].seconds_left == pytest.approx(5 * sum(took) / 2)


def test_only_runs_of_the_search_may_end_early(make):
    trial_runner, _ = make(measured(100.0))
    run_one(trial_runner, "baseline")
    run_one(trial_runner, "search")
    run_one(trial_runner, "repeat")
    assert [min_throughput for _, min_throughput in trial_runner.runner.calls] == [None, 50.0, None]
