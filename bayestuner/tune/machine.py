"""Opening what a job needs of this machine, its limits and its meter, and recording which ones were used."""

from __future__ import annotations

from typing import Any

from bayestuner.errors import IsolationUnavailable, MeterUnavailable
from bayestuner.measure.actuators.registry import undo_left_behind
from bayestuner.measure.cgroup.isolation import Isolation, Refusal
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.exposure import exposure
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.preflight import preflight
from bayestuner.measure.platform import open_meters
from bayestuner.measure.run.other_programs import observe_other_programs
from bayestuner.study.provenance import machine_facts
from bayestuner.tune.progress import Progress


def open_machine(job: Job, allow_affinity: bool, progress: Progress) -> tuple[Isolation, EnergyMeter | None, dict[str, Any]]:
    """Open isolation and meter, both tried out, after putting back and removing what a killed BayesTuner left behind.

    Where other programs keep the machine busy, that is said first.

    Returns
    -------
    isolation : Isolation
    meter : EnergyMeter or None
        None where no meter works and the goal needs none.
    facts : dict
        What a study records of this start: versions, machine, meter, isolation, and what was refused and why.

    Raises
    ------
    IsolationUnavailable, MeterUnavailable
        The job needs one and none works.
    """
    from bayestuner.measure.cgroup.select import open_isolation

    others = observe_other_programs() if job.measure.max_outside_load < 1 else None
    warning = None if others is None else others.warning()
    if warning:
        progress.note(warning)
    exposed = exposure(job)
    if exposed:
        progress.note(exposed)
    undone, stuck = undo_left_behind(platforms=job.measure.platforms)
    for text in (*undone, *stuck):
        progress.note(text)
    isolation, refused = open_isolation(job.needs, allow_affinity=allow_affinity or job.measure.allow_affinity)
    for name in isolation.sweep():
        progress.note(f"removed the group {name}, which an earlier BayesTuner left behind")
    unlimited = job.needs - isolation.controls
    if unlimited & job.goal_needs:
        reasons = "; ".join(f"{refusal.what}: {refusal.reason}" for refusal in refused)
        raise IsolationUnavailable(
            f"the goal '{job.goal}' means nothing here, where memory can't be limited ({reasons}): {refused[0].remedy}"
        )
    if unlimited:
        idle_knobs = " and ".join(knob.name for knob in job.knobs if knob.kind in unlimited)
        kinds = " and ".join(sorted(unlimited))
        progress.note(f"{kinds} can't be limited here: {isolation.name} is used as allowed, and {idle_knobs} has no effect on the runs")
    meter, meter_refusals = _open_meter(job)
    facts = {
        **machine_facts(),
        "preflight": preflight(),
        "isolation": isolation.name,
        "meter": None if meter is None else {"source": meter.source, "estimated": meter.estimated, "boundary": meter.boundary},
        "other_programs": None if others is None else others.as_dict(),
        "refusals": [{"what": r.what, "reason": r.reason, "remedy": r.remedy} for r in (*refused, *meter_refusals)],
    }
    return isolation, meter, facts


def _open_meter(job: Job) -> tuple[EnergyMeter | None, tuple[Refusal, ...]]:
    try:
        return open_meters(job.measure.energy, job.measure.platforms)
    except MeterUnavailable:
        if job.needs_power:
            raise
        return None, ()
