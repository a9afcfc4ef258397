"""A dry run: everything that `tune` would begin with, and on request one short run of the smallest and of the all-max configuration."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from bayestuner.measure.cgroup.isolation import Isolation
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.measure.run.placement import Placement, configuration_variables, cpus_of, place
from bayestuner.measure.run.record import RunRecord
from bayestuner.measure.run.runner import Runner
from bayestuner.measure.run.warmup import warmup_s
from bayestuner.space import Categorical
from bayestuner.study.finals import rules_of_settings
from bayestuner.trial import Config
from bayestuner.tune.machine import open_machine
from bayestuner.tune.progress import Progress

SHORT_RUN_S = 2.0
"""Longest window of a check's own runs: enough to see that reports and limits work, not to measure."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A configuration as it would be started.

    Attributes
    ----------
    name : str
        ``all-max`` or ``smallest``.
    config : dict
    placement : Placement
    variables : dict
        The variables that tell the job its configuration, and those of its job file.
    record : RunRecord or None
        What its short run came to, where it was made.
    """

    name: str
    config: Config
    placement: Placement
    variables: dict[str, str]
    record: RunRecord | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What `check` found.

    Attributes
    ----------
    job : Job
    isolation : str
    meter : (str, str, bool) or None
        Source, what it covers, and whether it is an estimate.
    runs : tuple of PlannedRun
        The all-max configuration first.
    launches : int
        Most final launches.
    least_run_s, most_run_s : float
        How long a run takes from the moment the job is ready, at the shortest and at the longest.
    """

    job: Job
    isolation: str
    meter: tuple[str, str, bool] | None
    runs: tuple[PlannedRun, ...]
    launches: int
    least_run_s: float
    most_run_s: float


def smallest_config(job: Job) -> Config:
    """Every ordered knob at its first value, every other as in the all-max configuration."""
    maximum = job.all_max_config()
    return {k.name: maximum[k.name] if isinstance(k, Categorical) else k.values[0] for k in job.space.knobs}


def check(job: Job, *, run: bool = False, progress: Progress | None = None, allow_affinity: bool = False, wait: bool = False) -> Check:
    """Open the machine as `tune` does and work out the first runs; measure nothing unless `run`.

    Raises
    ------
    MeterUnavailable, IsolationUnavailable, KnobUnavailable, MachineBusy
        As of `bayestuner.tune.tune`.
    """
    progress = progress or Progress()
    with ExitStack() as stack:
        if run:
            stack.enter_context(machine_lock(job.path, wait=wait, tell=progress.note))
        topology = read_topology(policy=job.measure.core_policy)
        isolation, meter, facts = open_machine(job, allow_affinity, progress)
        if meter is not None:
            stack.callback(meter.close)
        knobs = open_knobs(job, cpus_of(job, job.all_max_config(), topology))
        planned = []
        for name, config in (("all-max", job.all_max_config()), ("smallest", smallest_config(job))):
            placement = place(job, config, topology, isolation, None)
            variables = configuration_variables(job, config, len(placement.cpus), job.memory_bytes_of(config))
            planned.append(PlannedRun(name, config, placement, variables))
        if run:
            runner = stack.enter_context(Runner(_short(job), meter=meter, isolation=isolation, topology=topology, knobs=knobs))
            planned = [replace(one, record=runner.run(one.config)) for one in planned]
        return _checked(job, isolation, meter, tuple(planned), warmup_s(job.measure, meter, facts["preflight"]))


def _short(job: Job) -> Job:
    settings = job.measure
    shortest = min(settings.min_seconds, SHORT_RUN_S)
    longest = max(shortest, min(settings.max_seconds, SHORT_RUN_S))
    return replace(job, measure=replace(settings, min_seconds=shortest, max_seconds=longest, min_executions=1))


def _checked(job: Job, isolation: Isolation, meter: EnergyMeter | None, runs: tuple[PlannedRun, ...], warm_up_s: float) -> Check:
    settings = job.measure
    return Check(
        job=job,
        isolation=isolation.name,
        meter=None if meter is None else (meter.source, meter.boundary, meter.estimated),
        runs=runs,
        launches=rules_of_settings({"repeats": settings.repeats, "launches": settings.launches}).launches if settings.repeats else 0,
        least_run_s=warm_up_s + settings.min_seconds,
        most_run_s=2 * warm_up_s + settings.max_seconds,
    )
