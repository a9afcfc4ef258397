"""Several jobs on one machine at the same time, each with its own cores and memory, as one space to search.

As in CLITE (Patel and Tiwari, "CLITE: Efficient and QoS-Aware Co-Location of Multiple Latency-Critical Jobs for Warehouse Scale Computers",
HPCA 2020) the machine is divided among the jobs, and a division is judged by running them side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bayestuner.errors import InvalidGoal, InvalidSpace, IsolationUnavailable, MeterUnavailable
from bayestuner.goal import Goal
from bayestuner.measure.cgroup.isolation import GroupFault, Isolation
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.topology import Topology, read_topology
from bayestuner.measure.metrics import POWER_METRICS
from bayestuner.measure.run.record import RunRecord
from bayestuner.measure.run.runner import Runner
from bayestuner.measure.run.simultaneous import SimultaneousRuns
from bayestuner.measure.run.warmup import warmup_s
from bayestuner.space import Categorical, Knob, Ordinal, Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading
from bayestuner.tune.machine import open_machine
from bayestuner.tune.progress import Progress

POWER = "power_w"
KNOB_KINDS = ("cores", "memory", "argument", "environment")
WORST_FIRST = ("oom", "timeout", "error", "transient")
_POLL_S = 0.2
_LONGEST_END_S = 60.0  # for a run to kill its job and remove its group, both of which have shorter time limits


class Colocation:
    """Jobs that run side by side on one machine; one of its runs is a run of each job at the same time.

    Every job needs a knob of kind cores. The knobs and metrics of a job have its name in front: ``text_cnn_cores``,
    ``text_cnn_throughput``. A division asks for no more cores or memory than there are; the first job gets the first cores. No job is
    measured before all are warm, and none stops before all are measured. `power_w` is the power of the whole machine.

    Parameters
    ----------
    jobs : sequence of Job
        Two or more jobs with different names.
    goal : Goal
        In terms of those metrics, with absolute bounds; the goals of the job files are not used.
    isolation : Isolation
    meter : EnergyMeter, optional
    topology : Topology, optional
    values : mapping of str to sequence, optional
        Knob of the space -> the values of it to consider; by default all.
    memory_bytes : int, optional
        Largest sum of the jobs' memory limits.
    warmup_s : float
        Shortest warm-up of every job.

    Attributes
    ----------
    space : Space
    goal : Goal
    elapsed_s : float
        Time that the runs made so far took.
    details : list of dict
        Details of the last run, one dict for each job (see `RunRecord`).

    Raises
    ------
    InvalidSpace
        The jobs can't share a machine as they are, or `values` names a knob or value that does not exist.
    InvalidGoal
        The goal has a metric that no run reports, or a relative bound.
    MeterUnavailable
        The goal is about power and there is no meter.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        goal: Goal,
        *,
        isolation: Isolation,
        meter: EnergyMeter | None = None,
        topology: Topology | None = None,
        values: Mapping[str, Sequence[Any]] | None = None,
        memory_bytes: int | None = None,
        warmup_s: float = 0.0,
    ) -> None:
        self.jobs = tuple(jobs)
        _check_jobs(self.jobs)
        self.isolation = isolation
        self.meter = meter
        self.topology = topology or read_topology()
        self.warmup_s = warmup_s
        self.space = space_of(self.jobs, n_cores=self.topology.max_cores, memory_bytes=memory_bytes, values=values or {})
        self.goal = goal
        self._check_goal()
        self.elapsed_s = 0.0
        self.details: list[dict[str, Any]] = []

    def run(self, config: Config) -> Outcome:
        """Run all jobs at the same time; where this is interrupted, all of them end and nothing is left behind."""
        self.space.row(config)
        runs = SimultaneousRuns(len(self.jobs))
        parts = [part_of(job, config) for job in self.jobs]
        runners = self._runners(parts)
        records: list[RunRecord | None] = [None] * len(parts)
        faults: list[BaseException] = []

        def work(k: int) -> None:
            participant = runs.participant(k)
            try:
                records[k] = runners[k].run(parts[k], participant=participant)
            except GroupFault as error:
                records[k] = RunRecord(Failed("transient", str(error)), {})
            except BaseException as error:  # raised again by the thread that waits
                faults.append(error)
            finally:
                participant.note_ended()

        _wait_for([partial(work, k) for k in range(len(self.jobs))], runs)
        if faults:
            raise faults[0]
        done = [record for record in records if record is not None]
        self.details = [record.details for record in done]
        self.elapsed_s += max(float(details.get("duration_s") or 0.0) for details in self.details)
        return self._outcome([record.outcome for record in done])

    def _runners(self, parts: Sequence[Config]) -> list[Runner]:
        """A runner for each job, on the CPUs that the jobs before it leave."""
        runners, left = [], self.topology
        for k, (job, part) in enumerate(zip(self.jobs, parts, strict=True)):
            meter = self.meter if k == 0 else None  # power is that of the whole machine: it is read once
            runners.append(Runner(job, meter=meter, isolation=self.isolation, warmup_s=self.warmup_s, topology=left))
            taken = set(left.pick_cpus(job.cores_of(part) or 0))
            rest = tuple(cpu for cpu in left.cpus if cpu.number not in taken)
            if k + 1 < len(parts):
                left = replace(left, cpus=rest)
        return runners

    def _outcome(self, outcomes: Sequence[Outcome]) -> Outcome:
        failed = [(job.name, o) for job, o in zip(self.jobs, outcomes, strict=True) if isinstance(o, Failed)]
        if failed:  # when one job fails the others are stopped, which counts as transient
            name, worst = min(failed, key=lambda pair: WORST_FIRST.index(pair[1].kind))
            return Failed(worst.kind, f"{name}: {worst.message}")
        metrics: dict[str, Reading] = {}
        flags: list[str] = []
        for k, (job, outcome) in enumerate(zip(self.jobs, outcomes, strict=True)):
            assert isinstance(outcome, Measured)  # noqa: S101 - narrows the type
            metrics |= {f"{job.name}_{m}": reading for m, reading in outcome.metrics.items() if m not in POWER_METRICS}
            if k == 0 and POWER in outcome.metrics:
                metrics[POWER] = outcome.metrics[POWER]
            flags += outcome.flags
        return Measured(metrics, tuple(dict.fromkeys(flags)))

    def _check_goal(self) -> None:
        if self.goal.relative:
            raise InvalidGoal(f"the goal '{self.goal}' has a relative bound; jobs side by side take absolute ones")
        reported = [f"{job.name}_{metric}" for job in self.jobs for metric in job.reported_metrics if metric not in POWER_METRICS]
        known = {POWER, *reported, *self.space.numeric_names}
        for metric in self.goal.metrics:
            if metric not in known:
                raise InvalidGoal(
                    f"no run of {' and '.join(job.name for job in self.jobs)} reports {metric!r}; "
                    f"a goal can use {POWER}, knobs, and a metric of a job such as {reported[0]}"
                )
        if POWER in self.goal.metrics and self.meter is None:
            raise MeterUnavailable("the goal is about power and this machine has no meter; use another goal, or see bayestuner doctor")


@contextmanager
def open_colocation(
    jobs: Sequence[Job],
    goal: Goal,
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    memory_bytes: int | None = None,
    allow_affinity: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
) -> Iterator[Colocation]:
    """Lock this machine, open its isolation and meter, and make the `Colocation` of some jobs; parameters as of that and of `tune`.

    Raises
    ------
    IsolationUnavailable
        The jobs have knobs for cores or memory, which can't be limited here.
    MachineBusy, MeterUnavailable, InvalidSpace, InvalidGoal
    """
    progress = progress or Progress()
    _check_jobs(jobs)
    first = max(jobs, key=lambda job: len(job.needs))
    with machine_lock(Path(" beside ".join(job.name for job in jobs)), wait=wait, tell=progress.note):
        isolation, meter, facts = open_machine(first, allow_affinity, progress)
        try:
            missing = frozenset().union(*(job.needs for job in jobs)) - isolation.controls
            if missing and not allow_affinity:
                raise IsolationUnavailable(f"{' and '.join(sorted(missing))} can't be limited by {isolation.name}; see bayestuner doctor")
            topology = read_topology(policy=first.measure.core_policy)
            warmup = warmup_s(first.measure, meter, facts["preflight"])
            options: dict[str, Any] = {"values": values, "memory_bytes": memory_bytes, "topology": topology, "warmup_s": warmup}
            yield Colocation(jobs, goal, isolation=isolation, meter=meter, **options)
        finally:
            if meter is not None:
                meter.close()


def space_of(jobs: Sequence[Job], *, n_cores: int, memory_bytes: int | None, values: Mapping[str, Sequence[Any]]) -> Space:
    """The space of all knobs of all jobs, restricted to configurations for which there are enough cores and memory."""
    knobs = [_renamed(job, knob, values) for job in jobs for knob in job.space.knobs]
    unknown = [name for name in values if name not in {knob.name for knob in knobs}]
    if unknown:
        raise InvalidSpace(f"there is no knob {unknown[0]!r}; the knobs are {', '.join(knob.name for knob in knobs)}")

    def fits(config: Config) -> bool:
        parts = [(job, part_of(job, config)) for job in jobs]
        cores = sum(job.cores_of(part) or 0 for job, part in parts)
        memory = sum(job.memory_bytes_of(part) or 0 for job, part in parts)
        return cores <= n_cores and (memory_bytes is None or memory <= memory_bytes)

    return Space(*knobs, where=fits)


def part_of(job: Job, config: Mapping[str, Any]) -> Config:
    """The configuration of one job within a configuration of all jobs."""
    return {knob.name: config[f"{job.name}_{knob.name}"] for knob in job.space.knobs}


def _renamed(job: Job, knob: Knob, values: Mapping[str, Sequence[Any]]) -> Knob:
    name = f"{job.name}_{knob.name}"
    chosen = list(values.get(name, knob.values))
    for value in chosen:
        knob.code(value)  # raises an error that lists the values
    return Categorical(name, chosen) if isinstance(knob, Categorical) else Ordinal(name, chosen, more_is=knob.more_is)


def _check_jobs(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    if len(jobs) < 2 or len(set(names)) < len(names):
        raise InvalidSpace(f"jobs side by side are two or more with names that differ, not {', '.join(names) or 'none'}")
    for job in jobs:
        if job.runs_to_completion:
            raise InvalidSpace(
                f"{job.name} has the mode to_completion, and jobs side by side are measured while all of them work: take a job that goes "
                "on until it is stopped"
            )
        if job.knob_of_kind("cores") is None:
            raise InvalidSpace(f"{job.name} has no knob of kind cores; a job beside others needs one, so that the machine can be divided")
        other = [knob.name for knob in job.knobs if knob.kind not in KNOB_KINDS]
        if other:
            raise InvalidSpace(f"{job.name}'s knob {other[0]} sets the whole machine, which a job beside others can't; leave it out")
        if not job.name.isidentifier():
            raise InvalidSpace(f"the name {job.name!r} can't begin a knob's name; use letters, digits and underscores in [job] name")


def _wait_for(works: Sequence[Callable[[], None]], runs: SimultaneousRuns) -> None:
    """Call all functions at the same time and wait for them; where the wait is interrupted, end their runs first.

    Thread.join is not used: in Python 3.11 and 3.12, one that was interrupted by an exception takes its thread for ended.
    """
    ends = [threading.Event() for _ in works]
    begun = 0

    def do(k: int) -> None:
        try:
            works[k]()
        finally:
            ends[k].set()

    try:
        for k in range(len(works)):
            thread = threading.Thread(target=do, args=(k,), name=f"bayestuner-run-{k}")
            begun = k + 1  # before it starts: an interrupt may come meanwhile
            thread.start()
        for end in ends:
            while not end.wait(_POLL_S):
                pass
    except BaseException:
        runs.abandon()
        for end in ends[:begun]:
            end.wait(_LONGEST_END_S)
        raise
