"""Runs of jobs that run to their end: how many executions a run has, and what they come to together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayestuner.measure.job.job import Job
from bayestuner.measure.run.judging import (
    Evidence,
    failure_before_figures,
    last_words,
    machine_doubts,
    outside_share,
    own_metric_missing,
    power_relative_se,
    status_words,
)
from bayestuner.measure.run.sampling import Span
from bayestuner.measure.run.steady import mean_interval
from bayestuner.trial import Failed, Measured, Reading

_LARGEST = frozenset({"memory_peak_bytes"})
"""Metrics of which a run reports the largest of its executions, not their mean."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution from start to exit.

    Attributes
    ----------
    evidence : Evidence
        Its span reaches from `begin_ns` to `end_ns`; there is no window.
    start_ns, begin_ns, end_ns : int
        When it was started, when it said that it is ready (else as `start_ns`), and when it ended (CLOCK_MONOTONIC).
    exit_status : int or None
        None where it had to be killed.
    """

    evidence: Evidence
    start_ns: int
    begin_ns: int
    end_ns: int
    exit_status: int | None

    @property
    def duration_s(self) -> float:
        """From ready, or from its start, to its end."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def items(self) -> float | None:
        """Items done, since ready; None where it reported none."""
        reports = self.evidence.reports
        counted = [n for n, stamp in zip(reports.items, reports.stamps_ns, strict=True) if stamp > self.begin_ns]
        return math.fsum(counted) or None


def execution_failure(job: Job, execution: Execution) -> Failed | None:
    """Why an execution failed; None where it ended well."""
    evidence, settings = execution.evidence, job.measure
    failed = failure_before_figures(evidence)
    if failed is not None:
        return failed
    if evidence.watched.stop == "too_slow":
        advice = ""
        if len(evidence.reports.stamps_ns) > 1:
            advice = '; of a job that goes on until it is stopped set mode = "batches" under [job]'
        limit = f"within {settings.execution_timeout_s:g} s of its start (measure.execution_timeout_s)"
        return Failed("timeout", f"the job did not end {limit}{advice}{last_words(job, evidence)}")
    if evidence.watched.exit_status != 0:
        return Failed("error", f"the job ended with {status_words(evidence.watched.exit_status)}{last_words(job, evidence)}")
    if execution.end_ns <= execution.begin_ns or evidence.span is None:
        return Failed("error", f"the job said that it is ready only as it ended{last_words(job, evidence)}")
    return own_metric_missing(job, evidence)


def is_enough(job: Job, executions: Sequence[Execution]) -> str | None:
    """Why a run needs no more executions, as its ``stop``; None where it needs another."""
    settings = job.measure
    if len(executions) < settings.min_executions:
        return None
    if settings.min_executions == 1:
        return "exited"
    if _relative_error(job, executions) <= settings.relative_error:
        return "tight"
    took_s = (executions[-1].end_ns - executions[0].start_ns) / 1e9
    return "max_seconds" if took_s + took_s / len(executions) > settings.max_seconds else None


def judge_executions(job: Job, executions: Sequence[Execution]) -> Measured:
    """The outcome of a run whose executions all ended well."""
    flags: list[str] = []
    if job.measure.min_executions > 1 and _relative_error(job, executions) > job.measure.relative_error:
        flags.append("imprecise")
    extras = []
    for execution in executions:
        found, extra = machine_doubts(_span(execution), execution.duration_s, execution.evidence)
        flags += found
        extras.append(extra)
    return Measured(figures(executions, math.fsum(extras) / len(extras)), tuple(dict.fromkeys(flags)))


def figures(executions: Sequence[Execution], extra_relative_sd: float = 0.0) -> dict[str, Reading]:
    """Every metric that each of the executions tells, as a mean over them.

    Its standard error is that between executions, or within them where that is more; one alone tells only the latter. To those that tell of
    speed `extra_relative_sd` is added, as in a window.
    """
    each = [_figures_of(execution) for execution in executions]
    found: dict[str, Reading] = {}
    for name in (n for n in each[0] if all(n in one for one in each)):
        readings = [one[name] for one in each]
        values = [reading.value for reading in readings]
        if name in _LARGEST:
            found[name] = Reading(max(values))
            continue
        between = mean_interval(values)
        within = [reading.sd for reading in readings if reading.sd is not None]
        errors = [math.sqrt(math.fsum(sd * sd for sd in within)) / len(values)] if len(within) == len(values) else []
        errors += [between.se] if math.isfinite(between.se) else []
        widened = extra_relative_sd * between.mean if name in _OF_SPEED else 0.0
        found[name] = Reading(between.mean, math.hypot(max(errors), widened) if errors else (widened or None))
    return found


_OF_SPEED = frozenset({"duration_s", "throughput", "power_w", "energy_j", "energy_j_per_item"})


def _figures_of(execution: Execution) -> dict[str, Reading]:
    evidence, span, duration_s = execution.evidence, _span(execution), execution.duration_s
    items = execution.items
    found = {"duration_s": Reading(duration_s)}
    if span.energy_j is not None:
        power_w, share = span.energy_j / duration_s, power_relative_se(span)
        found["power_w"] = Reading(power_w, share * power_w)
        found["energy_j"] = Reading(span.energy_j)
        if items is not None:
            found["energy_j_per_item"] = Reading(span.energy_j / items)
    if items is not None:
        found["throughput"] = Reading(items / duration_s)
    if span.cpu_s is not None:
        found["cpu_s"] = Reading(span.cpu_s)
        if items is not None:
            found["cpu_s_per_item"] = Reading(span.cpu_s / items)
        found["cpu_utilisation"] = Reading(span.cpu_s / (duration_s * evidence.n_cores))
    if evidence.memory_peak_bytes is not None:
        found["memory_peak_bytes"] = Reading(float(evidence.memory_peak_bytes))
    return found | dict(evidence.own)


def _span(execution: Execution) -> Span:
    assert execution.evidence.span is not None  # noqa: S101 - `execution_failure` held it
    return execution.evidence.span


def _relative_error(job: Job, executions: Sequence[Execution]) -> float:
    """The widest 95 % interval of the metrics that the goal names, as a share of their means; of the duration where it names none."""
    each = [_figures_of(execution) for execution in executions]
    named = [m for m in job.goal.metrics if m not in _LARGEST and all(m in one for one in each)]
    intervals = [mean_interval([one[m].value for one in each]) for m in named or ["duration_s"]]
    return max(i.half_width / abs(i.mean) if i.mean else (math.inf if i.half_width else 0.0) for i in intervals)


def execution_details(job: Job, executions: Sequence[Execution]) -> dict[str, Any]:
    """The part of a run's details that tells of its executions."""
    well = [e for e in executions if e.evidence.span is not None and e.duration_s > 0]
    items = [e.items for e in well]
    shares = [share for e in well if (share := outside_share(_span(e), e.duration_s)) is not None]
    error = _relative_error(job, well) if len(well) > 1 else math.inf
    return {
        "warmup_s": None,
        "window_s": math.fsum(e.duration_s for e in well),
        "items": math.fsum(n for n in items if n is not None) if all(n is not None for n in items) else None,
        "batches": None,
        "relative_error": error if math.isfinite(error) else None,
        "drift": None,
        "outside_share": math.fsum(shares) / len(shares) if shares else None,
        "executions": [
            {
                "duration_s": e.duration_s,
                "startup_s": (e.begin_ns - e.start_ns) / 1e9,
                "exit_status": e.exit_status,
                "metrics": {name: reading.value for name, reading in _figures_of(e).items()} if e in well else None,
            }
            for e in executions
        ],
    }
