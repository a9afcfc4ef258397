"""What a test run came to, and the details that are kept of it beside its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bayestuner.measure.cgroup.isolation import RunGroup
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.topology import Topology
from bayestuner.measure.run.judging import Evidence, outside_share, throughput_at_most
from bayestuner.measure.run.placement import Placement, configuration_variables
from bayestuner.measure.run.sampling import Span
from bayestuner.measure.run.watch import WatchResult
from bayestuner.trial import Outcome

_WINDOW_DETAILS = ("warmup_s", "window_s", "items", "batches", "relative_error", "drift", "outside_share")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a test run came to.

    Attributes
    ----------
    outcome : Measured or Failed
    details : dict
        JSON-able; None for what is not known. What was run: config, argv, env (the variables that told it its configuration), cwd, user,
        cpus, mems (the NUMA nodes that memory was taken from; more than mems_of_cpus, those of the CPUs, where these had too little free),
        mems_of_cpus, memory_max, isolation. What was measured, and how: warmup_s, window_s, duration_s, items, batches, relative_error,
        drift, power_source, boundary, estimated, recordings (see `Recording`); executions, of a job that runs to its end, each with
        duration_s, startup_s, exit_status and metrics. What else was observed: outside_share, conditions (see `Changes`),
        throughput_at_most, exit_status, stop (see `Stop`), oom_kills, report_faults, first_report_fault, metric_problems (metrics of the
        job's own that it did not report, and why), output_bytes, output_tail, flags.
    """

    outcome: Outcome
    details: dict[str, Any]


def placement_details(
    job: Job,
    config: Mapping[str, Any],
    placement: Placement,
    group: RunGroup,
    isolation: str,
    topology: Topology,
    meter: EnergyMeter | None,
) -> dict[str, Any]:
    """What was run, and with which meter; what only a run that was started tells is None."""
    unknown = (*_WINDOW_DETAILS, "conditions", "throughput_at_most", "stop", "startup_s", "exit_status")
    return {
        **dict.fromkeys(unknown),
        "config": dict(config),
        "argv": list(placement.argv),
        "env": configuration_variables(job, config, len(placement.cpus), job.memory_bytes_of(config)),
        "cwd": str(job.cwd),
        "user": job.user,
        "cpus": list(placement.cpus),
        "mems": None if placement.limits.cpuset_mems is None else list(placement.limits.cpuset_mems),
        "mems_of_cpus": list(topology.memory_nodes_of(placement.cpus)),
        "memory_max": group.actual.memory_max,
        "isolation": isolation,
        "power_source": None if meter is None else meter.source,
        "boundary": None if meter is None else meter.boundary,
        "estimated": meter is not None and meter.estimated,
        "output_tail": [],
    }


def watch_details(evidence: Evidence, start_ns: int) -> dict[str, Any]:
    """What was observed of a job that was started."""
    watched, reports, span = evidence.watched, evidence.reports, evidence.span
    ready_ns = reports.ready_ns
    found: dict[str, Any] = {
        "stop": watched.stop,
        "startup_s": None if ready_ns is None else (ready_ns - start_ns) / 1e9,
        "batches_in_all": len(reports.stamps_ns),
        "oom_kills": evidence.oom_kills,
        "report_faults": reports.faults,
        "first_report_fault": reports.first_fault,
        "metric_problems": dict(evidence.own_problems),
        "output_tail": evidence.last_lines,
        "throughput_at_most": throughput_at_most(evidence) if watched.stop == "too_slow" else None,
        "conditions": asdict(evidence.changes) if span is not None else None,
    }
    return found | _window_details(watched, ready_ns, span)


def _window_details(watched: WatchResult, ready_ns: int | None, span: Span | None) -> dict[str, Any]:
    window = watched.window
    if window is None or ready_ns is None:
        return dict.fromkeys(_WINDOW_DETAILS)
    error = window.relative_error
    return {
        "warmup_s": (window.start_ns - ready_ns) / 1e9,
        "window_s": window.duration_s,
        "items": window.items,
        "batches": window.batches,
        "relative_error": error if error < float("inf") else None,
        "drift": window.drift,
        "outside_share": None if span is None else outside_share(span, window.duration_s),
    }
