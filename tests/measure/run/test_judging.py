"""Verdicts and metrics from made-up evidence: what the real runs of test_runner.py can't bring about at will."""

from array import array
from dataclasses import replace

import numpy as np
import pytest

from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.run.conditions import Changes
from bayestuner.measure.run.judging import DISTURBED, Evidence, judge, part_boundaries_ns, status_words, thrashes
from bayestuner.measure.run.output_reports import OutputReports
from bayestuner.measure.run.protocol import PipeReports
from bayestuner.measure.run.sampling import Span
from bayestuner.measure.run.steady import find_window
from bayestuner.measure.run.watch import WatchResult
from bayestuner.trial import Failed, Measured

JOB = """
[job]
command = ["{python}"]
unit = "image"
[knobs]
cores = { kind = "cores", values = [1] }
[goal]
minimize = "power_w"
[measure]
min_seconds = 1
max_seconds = 4
relative_error = 0.02
"""


@pytest.fixture
def job(tmp_path):
    return parse_job(JOB, tmp_path / "job.toml")


def evidence(seconds, *, outside_s=0.0, energy_j=None, cpu_s=1.0, stop="tight", status=None, estimated=False, oom_kills=0):
    reports = PipeReports(0)
    reports.ready_ns = 10**9
    stamps = np.cumsum([2.0, *seconds]) * 1e9
    reports.stamps_ns.extend(int(s) for s in stamps)
    reports.items.extend([4.0] * len(stamps))
    reports.latencies_s.extend([np.nan] * len(stamps))
    window = find_window(reports.stamps_ns, reports.items)
    span = None
    if window is not None:
        edges = np.array(part_boundaries_ns(reports, window))
        power = np.full(20, energy_j / window.duration_s) if energy_j is not None else np.empty(0)
        parts = np.full(edges.size - 1, cpu_s / (edges.size - 1))
        span = Span(energy_j, power, cpu_s, parts, edges, outside_s)
    watched = WatchResult(stop, window, status, int(stamps[-1] + 1e9))
    return Evidence(watched, reports, span, [], oom_kills, 10**6, 64 << 20, 1, estimated, True)


def test_figures_of_a_quiet_run(job):
    outcome = judge(job, evidence([0.02] * 100, energy_j=100.0, cpu_s=1.0))
    assert isinstance(outcome, Measured)
    assert outcome.flags == ()
    assert outcome.values == pytest.approx(
        {
            "power_w": 50.0,
            "energy_j_per_item": 0.25,
            "throughput": 200.0,
            "latency_p50_s": 0.02,
            "latency_p99_s": 0.02,
            "cpu_s_per_item": 1.0 / 400,
            "cpu_utilisation": 0.5,
            "memory_peak_bytes": 1e6,
        }
    )
    assert outcome.metrics["power_w"].sd < 1e-6


def test_load_from_outside_is_flagged_and_widens_the_figures(job):
    import os

    quiet = judge(job, evidence([0.02] * 100, energy_j=100.0))
    outside_s = 0.4 * 2.0 * os.cpu_count()
    loaded = judge(job, evidence([0.02] * 100, energy_j=100.0, outside_s=outside_s))
    assert loaded.flags == ("contended",)
    for name in ("power_w", "throughput", "energy_j_per_item"):
        assert loaded.values[name] == quiet.values[name]
        assert loaded.metrics[name].sd > quiet.metrics[name].sd + 0.1 * quiet.values[name]


def test_a_job_that_waits_is_not_contended(job):
    assert judge(job, evidence([0.02] * 100, cpu_s=0.01)).flags == ()


def test_drift_is_flagged_and_widens_the_figures(job):
    rng = np.random.default_rng(0)
    seconds = 0.02 * np.linspace(1.0, 1.4, 200) + rng.normal(size=200) * 1e-4
    outcome = judge(job, evidence(seconds))
    assert "unsteady" in outcome.flags
    assert outcome.metrics["throughput"].sd > 0.05 * outcome.values["throughput"]


def test_noise_and_short_windows_are_flagged(job):
    rng = np.random.default_rng(0)
    assert "imprecise" in judge(job, evidence(0.02 * rng.uniform(0.2, 1.8, 100))).flags
    assert "imprecise" in judge(job, evidence([0.02] * 20)).flags
    assert judge(job, evidence([0.02] * 100, estimated=True, energy_j=1.0)).flags == ("estimated_power",)


def test_an_oom_kill_decides_whatever_else_was_seen(job):
    for status in (None, 0, -9, 1):
        outcome = judge(job, evidence([0.02] * 100, oom_kills=1, status=status))
        assert outcome == Failed("oom", "killed for memory at its limit of 64 MiB")
    small = replace(evidence([0.02] * 100, oom_kills=1), memory_max=512 << 10)
    assert judge(job, small) == Failed("oom", "killed for memory at its limit of 512 KiB")


def test_a_crash_after_enough_batches_is_a_crash(job):
    outcome = judge(job, evidence([0.02] * 100, stop="exited", status=1))
    assert isinstance(outcome, Failed)
    assert outcome.message == "the job ended with exit status 1; it printed nothing"


def test_too_slow_says_the_bound(job):
    outcome = judge(job, evidence([1.0], stop="too_slow"))  # 2 batches of 4 within 3 s of ready, the third not done: under 12 in 3 s
    assert outcome.kind == "timeout"
    assert "2 batches in 3.0 s after ready, too few to measure, so its throughput is at most 4 images/s" in outcome.message


def test_status_words():
    assert status_words(3) == "exit status 3"
    assert status_words(-9) == "signal SIGKILL"
    assert status_words(-77) == "signal 77"


def test_cpu_time_per_item_has_an_error_of_its_own(job):
    good = evidence([0.02] * 100)
    parts = good.span.cpu_parts_s * np.array([1.3, 0.7, 1.2, 0.8, 1.3, 0.7][: good.span.cpu_parts_s.size])
    noisy = replace(good, span=replace(good.span, cpu_parts_s=parts))
    assert judge(job, noisy).metrics["cpu_s_per_item"].sd > judge(job, good).metrics["cpu_s_per_item"].sd


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        (Changes(stolen_share=0.05), "stolen"),
        (Changes(swapped_bytes=8 << 20), "swapped"),
        (Changes(throttles=1), "throttled"),
    ],
)
def test_what_the_machine_does_is_flagged_and_widens_the_figures(changes, flag, job):
    quiet, disturbed = (judge(job, replace(evidence([0.02] * 100), changes=c)) for c in (Changes(0.0, 0, 0, 0.0, 0.0), changes))
    assert (quiet.flags, disturbed.flags) == ((), (flag,))
    assert flag in DISTURBED
    assert disturbed.metrics["throughput"].sd >= 0.02 * disturbed.values["throughput"] > quiet.metrics["throughput"].sd


def test_a_job_that_a_quota_stopped_is_flagged_and_not_made_again(job):
    for share, flagged in ((None, False), (0.0, False), (0.01, False), (0.02, True), (1.0, True)):
        outcome = judge(job, replace(evidence([0.02] * 100), changes=Changes(quota_share=share)))
        assert ("cpu_quota" in outcome.flags) == flagged
    assert "cpu_quota" not in DISTURBED  # the quota will be there in the next run too


def test_a_thrashing_job_is_flagged_by_refaults_or_by_pressure(job):
    limit = 64 << 20
    assert thrashes(Changes(refaulted_bytes_per_s=0.02 * limit), limit)
    assert not thrashes(Changes(refaulted_bytes_per_s=0.005 * limit), limit)
    assert not thrashes(Changes(refaulted_bytes_per_s=10.0 * limit), None)  # without a limit of ours it is somebody else's
    assert thrashes(Changes(memory_stall_share=0.2), limit)
    assert not thrashes(Changes(), limit)
    outcome = judge(job, replace(evidence([0.02] * 100), changes=Changes(memory_stall_share=0.2)))
    assert outcome.flags == ("thrashing",)
    assert "thrashing" not in DISTURBED  # the configuration's own doing: another run would do the same


def test_a_run_that_was_cut_short_or_never_got_warm_says_so(job):
    assert judge(job, evidence([0.02] * 20, stop="missed")).flags == ("cut_short",)
    assert judge(job, replace(evidence([0.02] * 100), warm=False)).flags == ("unsteady",)


def output_evidence(lines, *, every_ns=2 * 10**8, stop="tight", **more):
    """Of a program that prints a rate every 200 ms."""
    reports = OutputReports(0, r"(?P<rate>[\d.,]+) img/s", **more)
    for k, line in enumerate(lines):
        reports.feed(line + b"\n", 10**9 + k * every_ns)
    window = find_window(reports.stamps_ns, reports.items)
    span = None
    if window is not None:
        edges = np.array(part_boundaries_ns(reports, window))
        span = Span(None, np.empty(0), None, np.empty(0), edges, None)
    end_ns = 10**9 + len(lines) * every_ns
    return Evidence(WatchResult(stop, window, None, end_ns), reports, span, ["last words"], 0, None, None, 1, False, False)


def test_print_intervals_are_no_latency(job):
    outcome = judge(job, output_evidence([b"100 img/s"] * 40))
    assert isinstance(outcome, Measured)
    assert outcome.values["throughput"] == pytest.approx(100.0)
    assert not {"latency_p50_s", "latency_p99_s"} & set(outcome.values)


def test_latencies_that_are_reported_are_not_mixed_with_intervals(job):
    half = evidence([0.02] * 100)
    half.reports.latencies_s[60:] = array("d", [0.3] * len(half.reports.latencies_s[60:]))
    values = judge(job, half).values
    assert (values["latency_p50_s"], values["latency_p99_s"]) == pytest.approx((0.3, 0.3))


def test_a_rate_of_zero_counts_in_the_verdict(job):
    lines = [b"0 img/s" if k % 10 == 9 else b"100 img/s" for k in range(201)]
    outcome = judge(job, output_evidence(lines))
    assert outcome.values["throughput"] == pytest.approx(90.0, rel=0.02)
    assert outcome.metrics["throughput"].sd > 0


def test_a_job_that_does_nothing_is_told_apart_from_a_slow_one(job):
    outcome = judge(job, output_evidence([b"go"] + [b"0 img/s"] * 50, stop="too_slow", ready_regex="go"))
    assert outcome == Failed(
        "timeout", "no item was done in 10.2 s after ready: the job reported 0 each of 50 times; it last printed: last words"
    )


def test_a_number_of_two_meanings_fails_the_run(job):
    outcome = judge(job, output_evidence([b"900 img/s", b"1,234 img/s"], stop="unusable"))
    assert outcome.kind == "error"
    assert outcome.message.startswith("a number in the job's output has two meanings: '1,234' can be read as 1234 and as 1.234")


def test_what_a_job_that_is_not_ready_lacks_agrees_with_what_it_printed(job):
    outcome = judge(job, output_evidence([b"qps=100.0"], stop="not_ready"))
    assert outcome.message == (
        "throughput_regex '(?P<rate>[\\\\d.,]+) img/s' finds nothing in the lines of the job's output and errors within 60 s of its start "
        "(measure.startup_timeout_s); it last printed: last words"
    )


def test_a_server_that_never_answers_is_no_job_that_forgot_to_report(job):
    loaded = replace(job, command=("python", "-m", "bayestuner.measure.http_load", "--url", "http://x/", "--", "./server"))
    lines = [
        "127.0.0.1 GET / 404",
        "bayestuner.measure.http_load: stopped before GET http://x/ was answered with status 200; at last: 404",
        "log",
    ]
    silent = replace(evidence([0.02] * 2, stop="not_ready"), reports=PipeReports(0), last_lines=lines)
    assert judge(loaded, silent).message == (
        "the server under load did not answer within 60 s of its start (measure.startup_timeout_s); "
        "stopped before GET http://x/ was answered with status 200; at last: 404"
    )
    assert "BAYESTUNER_FD" in judge(job, silent).message
    ended = replace(evidence([0.02] * 2, stop="exited", status=1), last_lines=["bayestuner.measure.http_load: no such path", "log", "log"])
    assert judge(loaded, ended).message == "the job ended with exit status 1; no such path"
