"""Jobs that run to their end, started for real: the figures of their executions, and how each kind of bad one ends."""

import sys

import pytest

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.run import judging
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Failed, Measured

JOB = """
[job]
command = ["sh", "-c", '''SCRIPT''']
mode = "to_completion"
[knobs]
n = { kind = "environment", variable = "N", values = [1] }
[metrics]
METRICS
[goal]
minimize = "GOAL"
[measure]
min_seconds = 0.1
max_seconds = 0.5
relative_error = RELATIVE
energy = []
MEASURE
"""
pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def run(tmp_path, isolation, monkeypatch):
    monkeypatch.setattr(judging, "OUTSIDE_SHARE", 2.0)  # whether others use the machine is not what these tests are about

    def run(script, metrics="", goal="duration_s", measure="", job="", relative_error=1.0):
        text = JOB.replace("SCRIPT", script).replace("METRICS", metrics).replace("GOAL", goal).replace("MEASURE", measure)
        text = text.replace("RELATIVE", str(relative_error))
        made = parse_job(text.replace('mode = "to_completion"', f'mode = "to_completion"\n{job}'), tmp_path / "job.toml")
        with Runner(made, meter=None, isolation=isolation) as runner:
            return runner.run(made.all_max_config())

    return run


def test_an_execution_is_measured_from_start_to_exit(run):
    record = run("sleep 0.05; echo rate $((N + 6))", "rate = { unit = '1/s', regex = 'rate (.*)' }")
    assert isinstance(record.outcome, Measured), record.outcome
    values = record.outcome.values
    assert 0.05 < values["duration_s"] < 1.0
    assert values["rate"] == 7.0
    assert 0 < values["cpu_s"] < values["duration_s"]
    assert "throughput" not in values
    executions = record.details["executions"]
    assert len(executions) >= 2
    assert all(one["exit_status"] == 0 and one["metrics"]["rate"] == 7.0 for one in executions)
    assert record.outcome.metrics["rate"].sd == 0.0
    assert record.details["window_s"] == pytest.approx(sum(one["duration_s"] for one in executions))


def test_items_and_ready_from_the_report_pipe(run):
    program = 'from bayestuner.measure.reporter import *; import time; ready(); time.sleep(0.05); done(5); value("v", 3); done(5)'
    record = run(f"sleep 0.2; {sys.executable} -c '{program}'", "v = {}", measure="min_executions = 1")
    values = record.outcome.values
    assert values["throughput"] == pytest.approx(10 / values["duration_s"])
    assert values["v"] == 3.0
    assert values["duration_s"] < 5.0
    assert record.details["executions"][0]["startup_s"] > 0.2
    assert len(record.details["executions"]) == 1
    assert record.outcome.metrics["duration_s"].sd is None
    assert "imprecise" not in record.outcome.flags


def test_items_and_ready_from_its_output(run):
    record = run("sleep 0.2; echo go; sleep 0.02; echo did 3; echo did 4", job="throughput_regex = 'did (.*)'\nready_regex = 'go'")
    assert all(one["metrics"]["throughput"] * one["duration_s"] == pytest.approx(7) for one in record.details["executions"])
    assert record.details["executions"][0]["startup_s"] > 0.15
    assert record.details["items"] == 7 * len(record.details["executions"])


def test_executions_go_on_until_the_metrics_of_the_goal_are_precise_or_the_longest_time_is_over(run):
    count = "sleep 0.01; echo x >>count; n=$(wc -l <count); echo value $((n % 2 * 50 + 10))"
    wide = run(count, "v = { regex = 'value (.*)' }", goal="v", relative_error=0.01)
    assert wide.details["stop"] == "max_seconds"
    assert len(wide.details["executions"]) >= 2
    assert "imprecise" in wide.outcome.flags
    assert wide.outcome.metrics["v"].sd > 1.0
    steady = run("sleep 0.01; echo value 5", "v = { regex = 'value (.*)' }", goal="v")
    assert steady.details["stop"] == "tight"
    assert len(steady.details["executions"]) == 2


@pytest.mark.parametrize(
    ("script", "options", "kind", "said"),
    [
        ("echo no such model; exit 3", {}, "error", "the job ended with exit status 3; it last printed: no such model"),
        ("kill -TERM $$", {}, "error", "the job ended with signal SIGTERM"),
        (
            "echo busy; exec sleep 60",
            {"measure": "execution_timeout_s = 0.2"},
            "timeout",
            "the job did not end within 0.2 s of its start (measure.execution_timeout_s); it last printed: busy",
        ),
        (
            "for i in 1 2 3; do echo did 1; sleep 0.05; done; exec sleep 60",
            {"measure": "execution_timeout_s = 0.3", "job": "throughput_regex = 'did (.*)'"},
            "timeout",
            'of a job that goes on until it is stopped set mode = "batches" under [job]',
        ),
        (
            "echo all is well",
            {"metrics": "v = { regex = 'value (.*)' }", "goal": "v"},
            "error",
            "the run has no value of the metric v: its regex 'value (.*)' finds nothing in the lines of the job's output and errors; "
            "it last printed: all is well",
        ),
        (
            "test -e out.json || echo '{\"v\": 1}' >out.json",
            {"metrics": "v = { json = 'v', file = 'out.json' }", "goal": "v"},
            "error",
            "out.json is left from before this run: the job did not write it anew",
        ),
    ],
)
def test_how_bad_executions_end(run, script, options, kind, said):
    outcome = run(script, **options).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind == kind
    assert said in outcome.message


def test_a_metric_that_the_goal_does_not_name_may_be_missing(run):
    record = run("sleep 0.01", "v = { regex = 'value (.*)' }")
    assert isinstance(record.outcome, Measured)
    assert "v" not in record.outcome.values
    assert "finds nothing" in record.details["metric_problems"]["v"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"goal": "latency_p99_s"}, "is a metric of jobs with job.mode = 'batches', and this one has"),
        ({"job": "throughput_regex = '(?P<rate>.*)'"}, "has a group rate, which says nothing of a whole execution"),
        (
            {"metrics": "v = {}", "job": "ready_regex = 'go'"},
            "comes from the report pipe, which a job with throughput_regex or ready_regex",
        ),
    ],
)
def test_job_files_that_ask_for_what_the_mode_does_not_have(run, options, said):
    with pytest.raises(InvalidJob) as caught:
        run("true", **options)
    assert said in str(caught.value)


PROGRAM = """
import sys, time
from bayestuner.measure.reporter import done, ready, value
ready()
for i in range(int(sys.argv[1])):
    time.sleep(0.005)
    value("accuracy", 0.5 + 0.5 * (i % 2))
    done(1)
"""


def batches(tmp_path, isolation, n):
    (tmp_path / "program.py").write_text(PROGRAM)
    text = JOB.replace("sh", "{python}").replace("'-c', ", "").replace('"-c", ', "").replace("'''SCRIPT'''", f'"program.py", "{n}"')
    text = text.replace('mode = "to_completion"', "").replace("METRICS", "accuracy = {}").replace("GOAL", "accuracy")
    job = parse_job(text.replace("RELATIVE", "0.5").replace("MEASURE", ""), tmp_path / "job.toml")
    with Runner(job, meter=None, isolation=isolation) as runner:
        return runner.run(job.all_max_config()).outcome


def test_a_job_that_goes_on_reports_a_metric_of_its_own_within_the_window(tmp_path, isolation):
    outcome = batches(tmp_path, isolation, 10**6)
    assert isinstance(outcome, Measured), outcome
    assert outcome.values["accuracy"] == pytest.approx(0.75, abs=0.05)
    assert 0 < outcome.metrics["accuracy"].sd < 0.25


def test_a_job_in_the_wrong_mode_is_told_which_key_to_set(tmp_path, isolation):
    outcome = batches(tmp_path, isolation, 1)
    assert isinstance(outcome, Failed)
    assert 'of a program that ends by itself set mode = "to_completion" under [job]' in outcome.message
