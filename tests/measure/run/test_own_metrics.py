"""Metrics of a job's own: values out of lines, documents and reports, how several become one, and what is said where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.run import bounded_search
from bayestuner.measure.run.documents import Unreadable, column_of, file_state, last_object, numbers_at, read_document
from bayestuner.measure.run.own_metrics import OwnMetrics, combined

JOB = """
[job]
command = ["{python}"]
[knobs]
cores = { kind = "cores", values = [1] }
[metrics]
METRICS
[goal]
maximize = "GOAL"
"""


def job_with(folder, metrics, goal="cpu_s_per_item"):
    return parse_job(JOB.replace("METRICS", metrics).replace("GOAL", goal), folder / "job.toml")


def collector(folder, metrics):
    return OwnMetrics(job_with(folder, metrics).metrics, folder)


def read(folder, metrics, output=b"", errors=b"", reported=(), span=(0, 100)):
    """Readings and problems of a job that prints that at the time 50."""
    own = collector(folder, metrics)
    own.feed(output, 50)
    own.feed_errors(errors, 50)
    own.finish(reported)
    found, problems = own.readings(*span)
    return {name: reading.value for name, reading in found.items()}, problems


# -- where values come from ---------------------------------------------------------------------------------------------


def test_a_pattern_finds_the_values_of_either_stream_and_brings_them_to_the_unit(tmp_path):
    metric = r"""fps = { unit = "FPS", regex = 'Throughput: +(?P<value>[\d.,]+) FPS', scale = 0.5 }"""
    assert read(tmp_path, metric, b"[ INFO ] Throughput:   31.02 FPS\n") == ({"fps": 15.51}, {})
    assert read(tmp_path, metric, b"", b"\x1b[1mThroughput: 8 FPS") == ({"fps": 4.0}, {})


def test_values_of_the_window_count_and_all_where_it_has_none(tmp_path):
    metric = "hits = { combine = 'mean' }"
    said = [("hits", 10, 1.0), ("hits", 60, 3.0), ("hits", 70, 5.0), ("other", 70, 9.0)]
    assert read(tmp_path, metric, reported=said, span=(50, 100))[0] == {"hits": 4.0}
    assert read(tmp_path, metric, reported=said[:1], span=(50, 100))[0] == {"hits": 1.0}


def test_a_printed_object_over_several_lines_and_objects_line_by_line(tmp_path):
    metric = 'p99 = { json = "latency.p99" }'
    whole = json.dumps({"latency": {"p99": 2.5}, "runs": [{"latency": 1}]}, indent=2)
    assert read(tmp_path, metric, f"loading\n{whole}\nbye\n".encode()) == ({"p99": 2.5}, {})
    lines = b'{"latency": {"p99": 1}}\n{"progress": 5}\n{"latency": {"p99": 3}}\n'
    assert read(tmp_path, metric, lines) == ({"p99": 2.0}, {})


def test_files_that_the_job_writes(tmp_path):
    metrics = """
    best = { json = "results.1.best", file = "out.json", combine = "last" }
    step_ms = { unit = "ms", csv = "step time", file = "steps.csv", combine = "max" }"""
    own = collector(tmp_path, metrics)
    (tmp_path / "out.json").write_text('{"results": [{"best": 1}, {"best": [2, 7.5]}]}')
    (tmp_path / "steps.csv").write_text("step, step time\n1,4.5\n2,\n3,6\n")
    own.finish([])
    found, problems = own.readings(0, 1)
    assert {name: reading.value for name, reading in found.items()} == {"best": 7.5, "step_ms": 6.0}
    assert not problems


def test_a_key_may_hold_dots_and_a_number_may_be_a_text():
    assert numbers_at({"a.b": {"c": "1.5"}, "a": {"b": 1}}, "a.b.c") == [1.5]
    assert numbers_at({"a": {"b.c": 2}}, "a.b.c") == [2.0]
    assert numbers_at([{"x": 3}], "0.x") == [3.0]


def test_the_last_object_is_found_among_hostile_lines():
    text = "{\n" * 5000 + '{"a": 1}\n{broken\n'
    assert last_object(text) == {"a": 1}
    assert last_object("no object {") is None


# -- how several become one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "value"), [("last", 2.0), ("mean", 3.0), ("median", 2.5), ("max", 5.0), ("sum", 12.0), ("p90", 4.4), ("p99", 4.94)]
)
def test_ways_to_combine(how, value):
    assert combined([2.0, 5.0, 3.0, 2.0], how).value == pytest.approx(value)


def test_the_spread_of_enough_values_says_how_precise_they_are():
    rng = np.random.default_rng(0)
    many = rng.normal(10.0, 1.0, 400)
    assert combined(many, "mean").sd == pytest.approx(0.05, rel=0.3)
    assert combined(many, "median").sd == pytest.approx(1.2533 * 0.05, rel=0.5)
    assert combined(many, "p90").sd == pytest.approx(0.0855, rel=0.6)
    for values, how in (([1.0, 2.0, 3.0], "mean"), (many, "last"), (many, "max"), (many[:50], "p99")):
        assert combined(values, how).sd is None


# -- bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "output", "why"),
    [
        ("m = { regex = 'took (.*)' }", b"nothing of it\n", "its regex 'took (.*)' finds nothing in the lines"),
        ("m = { regex = 'took (.*)' }", b"took long\n", "has 'long' in the line 'took long', which is no number; let the group catch"),
        ("m = { regex = 'took (.*)' }", b"took 12 ms\n", "has '12 ms' in the line"),
        ("m = { regex = 'took (.*)' }", b"took 1,234\n", "two meanings"),
        ("m = { regex = 'took (.*)' }", b"took nan\n", "one of its values is nan, and a metric is a finite number that isn't below 0"),
        ("m = { regex = 'took (.*)' }", b"took -3\ntook 4\n", "one of its values is -3"),
        ("m = { json = 'a.b' }", b"plain text\n", "no JSON object begins a line of the job's standard output"),
        ("m = { json = 'a.b' }", b'{"a": {"c": 1}}\n', "has nothing at 'a.b'; its first keys are 'a'"),
        ("m = { json = 'a' }", b'{"a": true}\n', "has true at 'a', which is no number"),
        ("m = { json = 'a' }", b'{"a": NaN}\n', "one of its values is nan"),
        ("m = { unit = 'x' }", b"", "no line 'value m <number> <ns>' came on the report pipe"),
    ],
)
def test_what_is_said_where_there_is_no_value(tmp_path, metric, output, why):
    found, problems = read(tmp_path, metric, output)
    assert not found
    assert why in problems["m"]


def test_a_pattern_that_takes_exponential_time_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_search, "FREE_S", 0.1)
    found, problems = read(tmp_path, "m = { regex = '((?:a+)+)b' }", b"a" * 60 + b"\n")
    assert not found
    assert "takes too long" in problems["m"]


def document_problem(path, before):
    with pytest.raises(Unreadable) as caught:
        read_document(path, before)
    return str(caught.value)


def test_a_file_that_is_missing_stale_or_no_file(tmp_path):
    path = tmp_path / "out.json"
    assert "did not write" in document_problem(path, None)
    path.write_text("{}")
    assert "left from before this run: the job did not write it anew" in document_problem(path, file_state(path))
    assert read_document(path, None) == "{}"
    path.write_bytes(b"\xff")
    assert "no text in UTF-8" in document_problem(path, None)
    assert "no plain file" in document_problem(tmp_path, None)
    assert "no plain file" in document_problem(Path("/dev/null"), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [("a,b\n1,2\n", "has no column 'c'; its columns are 'a', 'b'"), ("", "its columns are none"), ("c\n", "no row"), ("c\nx\n", "'x'")],
)
def test_a_column_that_is_missing_or_holds_no_number(text, why):
    with pytest.raises(Unreadable, match=why.replace("(", r"\(")):
        column_of(text, "c")


@pytest.mark.parametrize(
    ("metrics", "mistake"),
    [
        ("cores = {}", "metrics.cores: 'cores' is the name of a knob too"),
        ("throughput = {}", "metrics.throughput: 'throughput' is the name of a metric that runs report by themselves"),
        ("flags = {}", "metrics.flags: 'flags' is the name of another column"),
        ("'a b' = {}", "metrics.a b: a metric's name is a word"),
        ("m = 3", "metrics.m: expected a table"),
        ("m = { regx = 'x' }", "metrics.m.regx: unknown key; did you mean 'regex'?"),
        ("m = { regex = '(' }", "metrics.m.regex: not a regular expression"),
        ("m = { regex = 'x' }", "metrics.m.regex: needs one group that catches the number"),
        ("m = { regex = '(x)', json = 'a' }", "metrics.m.json: given beside regex; a metric comes from one place"),
        ("m = { csv = 'a' }", "metrics.m.csv: needs file"),
        ("m = { file = 'a' }", "metrics.m: has a file, but neither json nor csv says where in it"),
        ("m = { regex = '(x)', file = 'a' }", "metrics.m.regex: is searched in what the job prints, not in a file"),
        ("m = { combine = 'average' }", "metrics.m.combine: 'average' is not one of last, mean"),
        ("m = { scale = 0 }", "metrics.m.scale: expected more than 0"),
        ("m_ms = { unit = 's' }", "metrics.m_ms.unit: the name says that the unit is ms, but this says 's'; make both the same"),
        ("m = { unit = 'a', unit = 'b' }", "not valid TOML"),
    ],
)
def test_mistakes_in_the_metrics_of_a_job_file(tmp_path, metrics, mistake):
    with pytest.raises(InvalidJob) as caught:
        job_with(tmp_path, metrics)
    assert mistake in str(caught.value)


def test_a_goal_on_a_metric_of_the_jobs_own(tmp_path):
    job = job_with(tmp_path, "accuracy = {}\nerrors = {}", goal='accuracy"\nsubject_to = ["errors <= 0", "accuracy >= 50%"]#')
    assert job.goal.metrics == ("accuracy", "errors")
    assert job.known_metrics()[-3:] == ("accuracy", "errors", "cores")
    with pytest.raises(InvalidJob, match="the errors of a run is at least 0"):
        job_with(tmp_path, "errors = {}", goal='cpu_s_per_item"\nsubject_to = ["errors <= -1"]#')
    with pytest.raises(InvalidJob, match="no run reports the metric 'acuracy'; did you mean 'accuracy'"):
        job_with(tmp_path, "accuracy = {}", goal="acuracy")
