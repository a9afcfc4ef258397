"""The outcome of a run, from all that was observed of it: its metrics with their standard errors, or why it failed, in one sentence."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.memory import memory_text
from bayestuner.measure.run.conditions import Changes
from bayestuner.measure.run.protocol import Reports
from bayestuner.measure.run.sampling import Span
from bayestuner.measure.run.steady import Window, latencies_s, mean_interval, power_is_tight, quantiles
from bayestuner.measure.run.watch import WatchResult
from bayestuner.trial import Failed, Measured, Reading

OUTSIDE_SHARE = 0.05
"""A run is flagged ``contended`` where other programs used more than this share of the machine's CPU time during its window."""

STOLEN_SHARE = 0.005
"""A run is flagged ``stolen`` where the hypervisor gave more than this share of the machine's CPU time to other machines."""

SWAPPED_BYTES = 2**20
"""A run is flagged ``swapped`` where the machine moved so many bytes to or from swap."""

REFAULTED_SHARE_PER_S = 0.01
STALL_SHARE = 0.05
"""A run is flagged ``thrashing`` where its job reads more than this share of its memory limit from disk again every second, or waits for
memory more than this share of the time."""

LOAD_GENERATOR = "bayestuner.measure.http_load"
"""A job whose command runs it reports once its server answers; where none came, that the job should have reported helps nobody."""

QUOTA_SHARE = 0.01
"""More than this share of the periods in which a CPU quota stopped the job flags a run."""

DISTURBED = frozenset({"contended", "stolen", "swapped", "throttled"})
"""The flags whose cause lies outside the job: another run of the same configuration may be without it."""

_DISTURBED_RELATIVE_SD = 0.02
"""Added to the figures of a run that the hypervisor, swapping or heat disturbed: by how much is not known, so this is an assumption."""

_PART_S = 0.3
"""Shortest part of a window over which CPU time is compared with other parts: three samples of it."""

_TICKS_S = 0.05
"""CPU time that /proc/stat may be wrong by over a window: it counts in ticks of 10 ms on every CPU."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was observed of a run; None for what could not be.

    Attributes
    ----------
    watched : WatchResult
        Why watching ended, the window, the exit status.
    reports : Reports
        What the job has reported.
    span : Span or None
        Energy and CPU time of the window.
    last_lines : list of str
        Last lines of the job's output and errors.
    oom_kills : int or None
        Processes of the job that the kernel killed for memory.
    memory_peak_bytes : int or None
        The most memory the job used.
    memory_max : int or None
        The memory limit in force, bytes.
    n_cores : int
        CPUs the job had.
    estimated : bool
        Power is a model's estimate.
    reports_on_pipe : bool
        The job reports each batch on the pipe; otherwise numbers were found in its output.
    changes : Changes
        What the machine did during the window.
    warm : bool
        The window began after the shortest warm-up.
    own : mapping of str to Reading
        The job's own metrics over the window.
    own_problems : mapping of str to str
        Why others of them have no value, a clause each.
    """

    watched: WatchResult
    reports: Reports
    span: Span | None
    last_lines: list[str]
    oom_kills: int | None
    memory_peak_bytes: int | None
    memory_max: int | None
    n_cores: int
    estimated: bool
    reports_on_pipe: bool
    changes: Changes = field(default_factory=Changes)
    warm: bool = True
    own: Mapping[str, Reading] = field(default_factory=dict)
    own_problems: Mapping[str, str] = field(default_factory=dict)


def judge(job: Job, evidence: Evidence) -> Measured | Failed:
    """The outcome of a run that was started."""
    failed = failure(job, evidence)
    if failed is not None:
        return failed
    window, span = evidence.watched.window, evidence.span
    if window is None or span is None:
        return Failed("error", _too_few(job, evidence))
    flags, extra_relative_sd = doubts(job, window, span, evidence)
    return Measured(metrics(evidence, window, span, extra_relative_sd), flags)


def failure_before_figures(evidence: Evidence) -> Failed | None:
    """A failure that has nothing to do with how long the job ran or how it ended: the kernel killed it, or what it says is no use."""
    if evidence.oom_kills:
        limit = f" of {memory_text(evidence.memory_max)}" if evidence.memory_max else ""
        return Failed("oom", f"killed for memory at its limit{limit}")
    if evidence.reports.unusable is not None:
        return Failed("error", evidence.reports.unusable)
    if evidence.reports.faults > max(3, len(evidence.reports.stamps_ns) // 100):
        first = evidence.reports.first_fault
        return Failed("error", f"{evidence.reports.faults} of the job's report lines make no sense, the first {first}")
    return None


def failure(job: Job, evidence: Evidence) -> Failed | None:
    """Why the run failed, or None."""
    watched = evidence.watched
    failed = failure_before_figures(evidence)
    if failed is not None:
        return failed
    if watched.stop == "not_ready":
        return Failed("timeout", _not_ready(job, evidence) + last_words(job, evidence))
    if watched.stop == "too_slow":
        return Failed("timeout", _too_slow(job, evidence) + last_words(job, evidence))
    if watched.exit_status not in (None, 0):
        return Failed("error", f"the job ended with {status_words(watched.exit_status)}{last_words(job, evidence)}")
    if watched.stop == "neighbour":
        return Failed("transient", "a run made at the same time ended before both were measured")
    if watched.window is None and watched.stop != "fault":
        return Failed("error", _too_few(job, evidence) + last_words(job, evidence))
    return own_metric_missing(job, evidence)


def own_metric_missing(job: Job, evidence: Evidence) -> Failed | None:
    """The failure of a run that didn't report a metric which the goal names; None where it did."""
    for name in job.goal.metrics:
        if name in evidence.own_problems:
            why = evidence.own_problems[name]
            return Failed("error", f"the run has no value of the metric {name}: {why}{last_words(job, evidence)}")
    return None


def _not_ready(job: Job, evidence: Evidence) -> str:
    why = evidence.reports.why_not_ready()
    if LOAD_GENERATOR in job.command and not evidence.reports.n_bytes:
        why = "the server under load did not answer"
    return f"{why} within {job.measure.startup_timeout_s:g} s of its start (measure.startup_timeout_s)"


def _too_slow(job: Job, evidence: Evidence) -> str:
    reports, end_ns = evidence.reports, evidence.watched.end_ns
    n, ready_ns = len(reports.stamps_ns), reports.ready_ns or end_ns
    seconds = (end_ns - ready_ns) / 1e9
    bound = throughput_at_most(evidence)
    limit = f", so its throughput is at most {bound:.3g} {job.unit}s/s" if bound is not None else ""
    garbage = f"; {reports.faults} report lines made no sense, the first {reports.first_fault}" if reports.faults else ""
    if n and bound is None:
        return f"no item was done in {seconds:.1f} s after ready: the job reported 0 each of {n} times{garbage}"
    return f"{n} batches in {seconds:.1f} s after ready, too few to measure{limit}{garbage}"


def throughput_at_most(evidence: Evidence) -> float | None:
    """What the throughput can be at most, from batches too few to measure it; None where no batch says how many items one has."""
    reports = evidence.reports
    if reports.ready_ns is None or not any(reports.items):
        return None
    seconds = (evidence.watched.end_ns - reports.ready_ns) / 1e9
    return (sum(reports.items) + max(reports.items)) / seconds


def _too_few(job: Job, evidence: Evidence) -> str:
    n = len(evidence.reports.stamps_ns)
    what = {"closed": "closed its reports"}.get(evidence.watched.stop, "ended with status 0")
    if evidence.reports.ready_ns is None:
        reported = "before it reported anything"
        if not evidence.reports_on_pipe:
            reported += f" ({evidence.reports.why_not_ready()})"
    else:
        reported = f"after {n} batch{'es' * (n != 1)}, too few to measure"
    garbage = f" (first report line that made no sense: {evidence.reports.first_fault})" if evidence.reports.faults else ""
    advice = "it must go on in the foreground until it is stopped by SIGTERM"
    if evidence.watched.stop == "exited":
        advice += '; of a program that ends by itself set mode = "to_completion" under [job]'
    return f"the job {what} {reported}{garbage}; {advice}"


def last_words(job: Job, evidence: Evidence) -> str:
    """What the job last printed, as the end of a sentence."""
    if not evidence.last_lines:
        return "; it printed nothing"
    if LOAD_GENERATOR in job.command:  # what it says of its server says more than the server's log
        own = [line for line in evidence.last_lines if line.startswith(f"{LOAD_GENERATOR}: ")]
        if own:
            return "; " + own[-1].removeprefix(f"{LOAD_GENERATOR}: ")
    return "; it last printed: " + " | ".join(line.strip() for line in evidence.last_lines[-3:])


def status_words(status: int | None) -> str:
    """``exit status 3`` or ``signal SIGSEGV``."""
    if status is not None and status < 0:
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def doubts(job: Job, window: Window, span: Span, evidence: Evidence) -> tuple[tuple[str, ...], float]:
    """Flags that say what makes the figures doubtful, and the relative standard deviation to add to that of the figures for it."""
    flags = []
    extra_relative_sd = 0.0
    if abs(window.drift) > 2.0 * job.measure.relative_error or not evidence.warm:
        flags.append("unsteady")
        extra_relative_sd = math.hypot(extra_relative_sd, window.drift / 2.0)
    if evidence.watched.stop == "missed":
        flags.append("cut_short")
    elif (
        window.relative_error > job.measure.relative_error
        or window.duration_s < job.measure.min_seconds
        or not (evidence.estimated or power_is_tight(span.power_w, relative_error=job.measure.relative_error))
    ):
        flags.append("imprecise")
    flags_of_machine, extra = machine_doubts(span, window.duration_s, evidence)
    return (*flags, *flags_of_machine), math.hypot(extra_relative_sd, extra)


def machine_doubts(span: Span, duration_s: float, evidence: Evidence) -> tuple[list[str], float]:
    """The part of `doubts` that tells what happened around the job over a span of time."""
    flags: list[str] = []
    extra_relative_sd = 0.0
    outside = outside_share(span, duration_s)
    if outside is not None and outside > OUTSIDE_SHARE + _TICKS_S / duration_s:
        flags.append("contended")
        extra_relative_sd = math.hypot(extra_relative_sd, min(outside, 1.0) / 2.0)
    disturbances = _disturbances(evidence.changes, duration_s)
    if disturbances:
        flags += disturbances
        extra_relative_sd = math.hypot(extra_relative_sd, _DISTURBED_RELATIVE_SD)
    if thrashes(evidence.changes, evidence.memory_max):
        flags.append("thrashing")
    if evidence.changes.quota_share is not None and evidence.changes.quota_share > QUOTA_SHARE:
        flags.append("cpu_quota")
    if evidence.estimated:
        flags.append("estimated_power")
    return flags, extra_relative_sd


def _disturbances(changes: Changes, duration_s: float) -> list[str]:
    """The flags of what the machine did to the run."""
    found = []
    if changes.stolen_share is not None and changes.stolen_share > STOLEN_SHARE + _TICKS_S / duration_s:
        found.append("stolen")
    if changes.swapped_bytes is not None and changes.swapped_bytes >= SWAPPED_BYTES:
        found.append("swapped")
    if changes.throttles:
        found.append("throttled")
    return found


def thrashes(changes: Changes, memory_max: int | None) -> bool:
    """Whether the memory limit is too small for the files the job reads: that doesn't get it killed, but slowed 14 times and more."""
    refaulted, stall = changes.refaulted_bytes_per_s, changes.memory_stall_share
    if memory_max is None:
        return False
    return (refaulted is not None and refaulted > REFAULTED_SHARE_PER_S * memory_max) or (stall is not None and stall > STALL_SHARE)


def outside_share(span: Span, duration_s: float) -> float | None:
    """Share of the machine's CPU time that went to others during a span of time; None where it can't be known."""
    if span.outside_cpu_s is None:
        return None
    return span.outside_cpu_s / (duration_s * (os.cpu_count() or 1))


def metrics(evidence: Evidence, window: Window, span: Span, extra_relative_sd: float) -> dict[str, Reading]:
    """Every metric that is known, with its standard error where that can be told; `extra_relative_sd` is added to it."""
    rate = window.throughput
    rate_se = math.hypot(rate.se / rate.mean if math.isfinite(rate.se) else 1.0, extra_relative_sd)
    found: dict[str, Reading] = {}
    if span.energy_j is not None:
        power_w = span.energy_j / window.duration_s
        power_se = math.hypot(power_relative_se(span), extra_relative_sd)
        found["power_w"] = Reading(power_w, power_se * power_w)
        energy_j = span.energy_j / window.items
        found["energy_j_per_item"] = Reading(energy_j, math.hypot(power_se, rate_se) * energy_j)
    found["throughput"] = Reading(rate.mean, rate_se * rate.mean)
    reports = evidence.reports
    latencies = latencies_s(reports.stamps_ns, reports.latencies_s, window, one_after_the_other=evidence.reports_on_pipe)
    if latencies.size:
        p50, p99 = quantiles(latencies, 0.5, 0.99)
        found["latency_p50_s"] = Reading(p50)
        found["latency_p99_s"] = Reading(p99)
    if span.cpu_s is not None:
        per_item, used = span.cpu_s / window.items, span.cpu_s / (window.duration_s * evidence.n_cores)
        found["cpu_s_per_item"] = Reading(per_item, cpu_relative_se(evidence, span) * per_item)
        found["cpu_utilisation"] = Reading(used)
    if evidence.memory_peak_bytes is not None:
        found["memory_peak_bytes"] = Reading(float(evidence.memory_peak_bytes))
    return found | dict(evidence.own)


def part_boundaries_ns(reports: Reports, window: Window) -> list[int]:
    """Times that cut a window into parts, ten at most and none shorter than `_PART_S`; each is that of a batch's completion."""
    parts = max(1, min(10, int(window.duration_s / _PART_S)))
    picks = [window.first + window.batches * i // parts for i in range(parts + 1)]
    return [reports.stamps_ns[i] for i in dict.fromkeys(picks)]


def cpu_relative_se(evidence: Evidence, span: Span) -> float:
    """Standard error of the CPU time per item divided by it, from the parts of the window; 0.05 where they are too few to tell."""
    window = evidence.watched.window
    if window is None or span.cpu_parts_s.size < 4:
        return 0.05
    stamps = evidence.reports.stamps_ns[window.first : window.last + 1]
    places = np.searchsorted(stamps, span.boundaries_ns, side="right") - 1
    totals = np.concatenate([[0.0], np.cumsum(evidence.reports.items[window.first + 1 : window.last + 1])])
    items = np.diff(totals[places])
    interval = mean_interval(span.cpu_parts_s[items > 0] / items[items > 0])
    return interval.se / interval.mean if interval.mean > 0 and math.isfinite(interval.se) else 0.05


def power_relative_se(span: Span) -> float:
    """Standard error of the mean power divided by it, from the samples inside the window; 0.01 where they are too few to tell."""
    if span.power_w.size < 4:
        return 0.01
    interval = mean_interval(span.power_w)
    return interval.se / interval.mean if interval.mean > 0 else 0.01
