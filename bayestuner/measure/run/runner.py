"""One test run: place, launch, warm up, measure, stop, judge. Nothing it started outlives it, whatever happens."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.measure.actuators.setting import KnobSetter
from bayestuner.measure.cgroup.isolation import Child, GroupFault, GroupUsage, Isolation, Launch, RunGroup
from bayestuner.measure.cgroup.signals import defer_stop_signals
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.user import give_pipes_to
from bayestuner.measure.machine.topology import Topology, read_topology
from bayestuner.measure.run.conditions import Changes, Conditions
from bayestuner.measure.run.judging import Evidence, judge, outside_share, part_boundaries_ns, throughput_at_most
from bayestuner.measure.run.output_reports import OutputReports
from bayestuner.measure.run.placement import Placement, configuration_variables, place
from bayestuner.measure.run.protocol import PipeReports, Reports
from bayestuner.measure.run.sampling import Sampler, Span
from bayestuner.measure.run.simultaneous import Participant
from bayestuner.measure.run.steady import Window, power_is_tight
from bayestuner.measure.run.streams import Streams
from bayestuner.measure.run.watch import WatchResult, stop_gently, watch
from bayestuner.trial import Config, Failed, Outcome

_CPU_TIME_EVERY = 5
"""Samples from one reading of the CPU time to the next where there is no cgroup: each then takes a walk over /proc."""

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
        drift, power_source, boundary, estimated, recordings (see `Recording`). What else was observed: outside_share, conditions (see
        `Changes`), throughput_at_most, exit_status, stop (see `Stop`), oom_kills, report_faults, first_report_fault, output_bytes,
        output_tail, flags.
    """

    outcome: Outcome
    details: dict[str, Any]


class Runner:
    """Runs a job's configurations, one at a time.

    Parameters
    ----------
    job : Job
    meter : EnergyMeter or None
        None: no power is measured. `Runner.close` closes it.
    isolation : Isolation
    warmup_s : float
        Shortest warm-up of every run, see `bayestuner.measure.run.warmup.warmup_s`.
    topology : Topology, optional
        By default this machine's.
    knobs : KnobSetter, optional
        Sets the knobs that are settings of the machine, see `bayestuner.measure.run.knobs.open_knobs`; by default there are none.
    """

    def __init__(
        self,
        job: Job,
        *,
        meter: EnergyMeter | None,
        isolation: Isolation,
        warmup_s: float = 0.0,
        topology: Topology | None = None,
        knobs: KnobSetter | None = None,
    ) -> None:
        self.job = job
        self.meter = meter
        self.isolation = isolation
        self.warmup_s = warmup_s
        self.topology = topology or read_topology(policy=job.measure.core_policy)
        self.knobs = knobs or KnobSetter()

    def run(self, config: Config, *, min_throughput: float | None = None, participant: Participant | None = None) -> RunRecord:
        """Make one test run of `config`.

        When this returns or raises, KeyboardInterrupt included, every process it started is dead, its group is removed and every setting
        of the machine is put back.

        Parameters
        ----------
        config : dict
        min_throughput : float, optional
            A lower bound on the throughput: the run ends early where it clearly misses it by far.
        participant : Participant, optional
            This run's part in `SimultaneousRuns`, where other runners make runs at the same time.

        Raises
        ------
        GroupFault
            The limits can't be set; as a `KnobFault`, a setting of the machine can't.
        InvalidSpace
            `config` isn't one of the job's.
        """
        self.job.space.row(config)
        begun = time.monotonic()
        read_by_output = self.job.throughput_regex is not None
        group: RunGroup | None = None
        with Streams(with_reports=not read_by_output) as streams:
            placement = place(self.job, config, self.topology, self.isolation, None if read_by_output else streams.write_end("reports"))
            settings = self.knobs.settings(config, placement.cpus)
            try:
                with defer_stop_signals():
                    group = self.isolation.create(placement.limits)
                    settings.apply()
                record = self._run_in(group, streams, placement, config, min_throughput, participant)
            finally:
                if participant is not None:
                    participant.note_ended()
                try:
                    problem = _remove(group)
                finally:
                    with defer_stop_signals():
                        unrestored = settings.restore()
        if settings.record:
            record.details["settings"] = settings.record
        if unrestored:
            record.details["flags"] = [*record.details["flags"], "not_restored"]
            record.details["not_restored"] = unrestored
        if problem is not None:
            record.details["flags"] = [*record.details["flags"], "not_removed"]
            record.details["not_removed"] = problem
        record.details["duration_s"] = time.monotonic() - begun
        return record

    def _run_in(
        self,
        group: RunGroup,
        streams: Streams,
        placement: Placement,
        config: Config,
        min_throughput: float | None,
        participant: Participant | None,
    ) -> RunRecord:
        if participant is not None:
            participant.note_group(group)
        cpu_s_of_other_runs = participant.cpu_s_of_other_runs if participant is not None else lambda: 0.0
        sampler = Sampler(
            self.meter,
            group,
            cpu_time_every=_CPU_TIME_EVERY if self.isolation.name == "affinity" else 1,
            hz=self.job.measure.energy_hz,
            cpu_s_of_other_runs=cpu_s_of_other_runs,
        )
        sampler.start()
        start_ns = time.monotonic_ns()
        try:
            child = self._launch(group, streams, placement)
            if isinstance(child, Failed):
                return RunRecord(child, self._details(placement, group, config, outcome=child))
            reports = self._reports(start_ns, streams)
            conditions = Conditions(group, placement.cpus)
            watched = watch(
                child,
                streams,
                reports,
                self.job.measure,
                start_ns=start_ns,
                oom_killed=lambda: sampler.oom_kills > 0,
                faulted=lambda: sampler.fault is not None,
                when_ready=conditions.sample,
                warmup_s=self.warmup_s,
                min_throughput=min_throughput,
                power_is_tight=lambda window: self._power_is_tight(sampler, window),
                participant=participant,
            )
            conditions.sample(last=True)
        finally:
            sampler.stop()
        usage = _usage(group)
        exit_status = stop_gently(child, streams) if watched.exit_status is None else watched.exit_status
        span = sampler.span(part_boundaries_ns(reports, watched.window)) if watched.window is not None else None
        evidence = Evidence(
            watched=watched,
            reports=reports,
            span=span,
            last_lines=streams.last_lines(),
            oom_kills=usage.oom_kills,
            memory_peak_bytes=usage.memory_peak_bytes,
            memory_max=group.actual.memory_max,
            n_cores=len(placement.cpus),
            estimated=self.meter is not None and self.meter.estimated,
            reports_on_pipe=isinstance(reports, PipeReports),
            changes=Changes() if watched.window is None else conditions.changes(watched.window.start_ns, watched.window.end_ns),
            warm=self._is_warm(watched, reports),
        )
        outcome = self._judge(evidence, sampler)
        details = self._details(placement, group, config, outcome, evidence, exit_status, start_ns)
        details["output_bytes"] = streams.output_bytes
        details["recordings"] = [asdict(recording) for recording in sampler.recordings]
        return RunRecord(outcome, details)

    def _power_is_tight(self, sampler: Sampler, window: Window) -> bool:
        """Whether power needs no more time; an estimate never does: its spread is that of the CPU time it is computed from."""
        if self.meter is None or self.meter.estimated:
            return True
        return power_is_tight(sampler.powers_w(window.start_ns, window.end_ns), relative_error=self.job.measure.relative_error)

    def _is_warm(self, watched: WatchResult, reports: Reports) -> bool:
        """Whether the window begins after the shortest warm-up; that of a job which ended by itself within it does not."""
        return watched.window is None or reports.ready_ns is None or watched.window.start_ns >= reports.ready_ns + self.warmup_s * 1e9

    def _launch(self, group: RunGroup, streams: Streams, placement: Placement) -> Child | Failed:
        fds = () if self.job.throughput_regex is not None else (streams.write_end("reports"),)
        stdio = streams.write_end("stdout"), streams.write_end("stderr")
        launch = Launch(placement.argv, placement.env, str(self.job.cwd), *stdio, pass_fds=fds, credentials=placement.credentials)
        if placement.credentials is not None:
            give_pipes_to((*stdio, *fds), placement.credentials)
        try:
            child = group.launch(launch)
        except (OSError, GroupFault) as error:
            if _usage(group).oom_kills:
                return Failed("oom", "killed for memory before it could start; its limit is below what any program needs")
            if isinstance(error, GroupFault):
                raise
            return Failed("error", f"{placement.argv[0]} can't be started: {error.strerror or error}")
        streams.started()
        return child

    def _reports(self, start_ns: int, streams: Streams) -> Reports:
        if self.job.throughput_regex is None:
            reports = PipeReports(start_ns)
            streams.on_data("reports", reports.feed)
            return reports
        found = OutputReports(start_ns, self.job.throughput_regex, self.job.ready_regex, self.job.decimal_mark)
        streams.on_data("stdout", found.feed)
        streams.on_data("stderr", found.feed_errors)
        return found

    def _judge(self, evidence: Evidence, sampler: Sampler) -> Outcome:
        outcome = judge(self.job, evidence)
        if sampler.fault is not None and not (isinstance(outcome, Failed) and outcome.kind == "oom"):
            return Failed("transient", f"the run could not be measured to its end: {sampler.fault}")
        return outcome

    def _details(
        self,
        placement: Placement,
        group: RunGroup,
        config: Config,
        outcome: Outcome | None = None,
        evidence: Evidence | None = None,
        exit_status: int | None = None,
        start_ns: int = 0,
    ) -> dict[str, Any]:
        details: dict[str, Any] = {
            "config": dict(config),
            "argv": list(placement.argv),
            "env": configuration_variables(self.job, config, len(placement.cpus), self.job.memory_bytes_of(config)),
            "cwd": str(self.job.cwd),
            "user": self.job.user,
            "cpus": list(placement.cpus),
            "mems": None if placement.limits.cpuset_mems is None else list(placement.limits.cpuset_mems),
            "mems_of_cpus": list(self.topology.memory_nodes_of(placement.cpus)),
            "memory_max": group.actual.memory_max,
            "isolation": self.isolation.name,
            "power_source": None if self.meter is None else self.meter.source,
            "boundary": None if self.meter is None else self.meter.boundary,
            "estimated": self.meter is not None and self.meter.estimated,
            "flags": list(getattr(outcome, "flags", ())),
            "exit_status": exit_status,
        }
        if evidence is None:
            unknown = (*_WINDOW_DETAILS, "conditions", "throughput_at_most", "stop", "startup_s")
            return details | dict.fromkeys(unknown) | {"output_tail": []}
        return details | _watch_details(evidence, start_ns)

    def close(self) -> None:
        """Try once more to put back settings that a run could not put back, and close the meter; may be called twice."""
        self.knobs.retry_restoring()
        if self.meter is not None:
            self.meter.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _watch_details(evidence: Evidence, start_ns: int) -> dict[str, Any]:
    watched, reports, span = evidence.watched, evidence.reports, evidence.span
    ready_ns = reports.ready_ns
    found: dict[str, Any] = {
        "stop": watched.stop,
        "startup_s": None if ready_ns is None else (ready_ns - start_ns) / 1e9,
        "batches_in_all": len(reports.stamps_ns),
        "oom_kills": evidence.oom_kills,
        "report_faults": reports.faults,
        "first_report_fault": reports.first_fault,
        "output_tail": evidence.last_lines,
        "throughput_at_most": throughput_at_most(evidence) if watched.stop == "too_slow" else None,
        "conditions": None if watched.window is None else asdict(evidence.changes),
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
        "outside_share": None if span is None else outside_share(span, window),
    }


def _usage(group: RunGroup) -> GroupUsage:
    try:
        return group.usage()
    except (BayesTunerError, OSError):  # somebody else removed the group: nothing can be known any more
        return GroupUsage()


def _remove(group: RunGroup | None) -> str | None:
    """Kill what is left in a group and remove it; why that was not possible, or None."""
    if group is None:
        return None
    try:
        with defer_stop_signals():
            group.remove()
    except (BayesTunerError, OSError) as error:
        return str(error)
    except BaseException:  # a second Ctrl-C, just before signals were held back or just after
        with contextlib.suppress(BayesTunerError, OSError):
            group.remove()
        raise
    return None
