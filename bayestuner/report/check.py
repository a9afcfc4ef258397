"""What `bayestuner check` says: the space, the goal, how the first runs would be started, and how long it all takes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bayestuner.foreign_text import harmless
from bayestuner.measure.cgroup.cpulist import format_list
from bayestuner.report.result import came_to
from bayestuner.report.tables import facts
from bayestuner.report.words import config_text, duration, label, quantity
from bayestuner.space import Knob
from bayestuner.trial import Failed, Measured
from bayestuner.tune.checking import SHORT_RUN_S, Check, PlannedRun

NAMED_VALUES = 6


def check_text(check: Check, *, width: int = 100) -> str:
    """The whole check, for a screen."""
    job = check.job
    pairs = [("goal", str(job.goal)), *(("knob", _knob(knob)) for knob in job.space.knobs)]
    total = job.space.n_rows
    allowed = f", {len(job.space)} of them allowed" if len(job.space) != total else ""
    pairs += [("space", f"{total} configurations{allowed}"), ("limits", check.isolation), ("meter", _meter(check)), ("time", _time(check))]
    parts = [harmless(f"{job.name}: {job.path} can be tuned"), facts(pairs, width=width)]
    for run in check.runs:
        parts.append(harmless(f"the {run.name} configuration: {config_text(run.config)}") + "\n" + facts(_run(check, run), width=width))
    return "\n\n".join(parts)


def failed(check: Check) -> bool:
    """Whether the all-max configuration's short run failed; the smallest may fail, and often does for lack of memory."""
    record = check.runs[0].record
    return record is not None and isinstance(record.outcome, Failed)


def _knob(knob: Knob) -> str:
    return f"{knob.name}: {_values(knob.values)}"


def _values(values: Sequence[object]) -> str:
    if len(values) <= NAMED_VALUES:
        return ", ".join(map(str, values))
    return f"{values[0]}, {values[1]}, ... {values[-1]} ({len(values)} values)"


def _meter(check: Check) -> str:
    if check.meter is None:
        return "none works here, and the goal needs none: no power figures"
    source, boundary, estimated = check.meter
    return f"{source}: power is ESTIMATED from CPU time, not measured" if estimated else f"{source}: measures {boundary}"


def _time(check: Check) -> str:
    budget, settings = check.job.measure.budget, check.job.measure
    if check.job.runs_to_completion:
        each = f"{settings.min_executions} executions of the job or more, each of {duration(settings.execution_timeout_s)} at most"
        return f"{budget} runs of the search, then up to {check.launches} final launches; a run is {each}"
    least, most = budget * check.least_run_s, budget * (settings.startup_timeout_s + check.most_run_s)
    text = f"{budget} runs of the search take {duration(least)} at least and, slow starts included, {duration(most)} at most"
    if not check.launches:
        return text
    return f"{text}; then up to {check.launches} final launches, {duration(check.launches * check.least_run_s)} at least"


def _run(check: Check, run: PlannedRun) -> list[tuple[str, str]]:
    place, job = run.placement, check.job
    limits = place.limits
    cpus = f"{format_list(place.cpus)}" + ("" if limits.cpuset_cpus is not None else " (not limited)")
    memory = "not limited" if limits.memory_max is None else f"{limits.memory_max / 2**20:g} MiB, no swap"
    pairs = [
        ("command", shlex.join(place.argv)),
        ("in", str(job.cwd)),
        ("variables", "  ".join(f"{name}={value}" for name, value in sorted(run.variables.items()))),
        ("CPUs", cpus),
        ("memory", memory),
    ]
    pairs += [("user", job.user)] if job.user is not None else []
    if run.record is not None:
        pairs.append(("short run", _short_run(check, run)))
    return pairs


def _short_run(check: Check, run: PlannedRun) -> str:
    outcome = None if run.record is None else run.record.outcome
    if not isinstance(outcome, Measured):
        return came_to(outcome, run.config, None, room=400)
    estimated = check.meter is not None and check.meter[2]
    read = [f"{label(m, check.job, estimated=estimated)} {quantity(m, r.value, check.job)}" for m, r in outcome.metrics.items()]
    what = "one execution" if check.job.runs_to_completion else f"in a window of {SHORT_RUN_S:g} s at most"
    return f"ended well; {what}, too short to go by: {', '.join(read)}"
