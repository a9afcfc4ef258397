"""One test run: place, launch, warm up, measure, stop, judge. Nothing it started outlives it, whatever happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from bayestuner.errors import BayesTunerError
from bayestuner.measure.actuators.setting import KnobSetter
from bayestuner.measure.cgroup.isolation import Child, GroupFault, GroupUsage, Isolation, Launch, RunGroup
from bayestuner.measure.cgroup.signals import defer_stop_signals
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.user import give_pipes_to
from bayestuner.measure.machine.topology import Topology, read_topology
from bayestuner.measure.run.bounded_search import BoundedSearch
from bayestuner.measure.run.completion import Execution, execution_details, execution_failure, is_enough, judge_executions
from bayestuner.measure.run.conditions import Conditions
from bayestuner.measure.run.judging import Evidence, judge, part_boundaries_ns
from bayestuner.measure.run.output_reports import OutputReports
from bayestuner.measure.run.own_metrics import OwnMetrics
from bayestuner.measure.run.placement import Placement, cpus_of, place
from bayestuner.measure.run.protocol import PipeReports, Reports
from bayestuner.measure.run.record import RunRecord, placement_details, watch_details
from bayestuner.measure.run.sampling import Sampler, Span
from bayestuner.measure.run.simultaneous import Participant
from bayestuner.measure.run.steady import Window, power_is_tight
from bayestuner.measure.run.streams import Streams
from bayestuner.measure.run.watch import WatchResult, stop_gently, watch, watch_to_exit
from bayestuner.trial import Config, Failed, Outcome

T = TypeVar("T")

_CPU_TIME_EVERY = 5
"""Samples from one reading of the CPU time to the next where there is no cgroup: each then takes a walk over /proc."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed of one process from its launch to its end, and the details of its placement."""

    evidence: Evidence
    start_ns: int
    exit_status: int | None
    fault: BayesTunerError | OSError | None
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
        settings = self.knobs.settings(config, cpus_of(self.job, config, self.topology))
        not_removed: list[str] = []
        unrestored = None
        try:
            with defer_stop_signals():
                settings.apply()
            if self.job.runs_to_completion:
                record = self._run_executions(config, not_removed)
            else:
                record = self._run_window(config, not_removed, min_throughput, participant)
        finally:
            with defer_stop_signals():
                unrestored = settings.restore()
        if settings.record:
            record.details["settings"] = settings.record
        if unrestored:
            record.details["flags"] = [*record.details["flags"], "not_restored"]
            record.details["not_restored"] = unrestored
        if not_removed:
            record.details["flags"] = [*record.details["flags"], "not_removed"]
            record.details["not_removed"] = not_removed[-1]
        record.details["duration_s"] = time.monotonic() - begun
        return record

    def _run_window(
        self, config: Config, not_removed: list[str], min_throughput: float | None, participant: Participant | None
    ) -> RunRecord:
        """Run a job that goes on until it is stopped."""

        def work(group: RunGroup, streams: Streams, placement: Placement) -> RunRecord:
            seen = self._observe(config, group, streams, placement, min_throughput, participant)
            if isinstance(seen, RunRecord):
                return seen
            outcome = _unless_faulted(judge(self.job, seen.evidence), seen)
            return _record(outcome, seen)

        return self._in_group(config, work, not_removed, participant)

    def _run_executions(self, config: Config, not_removed: list[str]) -> RunRecord:
        """Run a job from start to exit, each time in a group of its own, until the figures are precise enough."""

        def work(group: RunGroup, streams: Streams, placement: Placement) -> RunRecord | _Seen:
            return self._observe(config, group, streams, placement)

        executions: list[Execution] = []
        stop: str | None = None
        while stop is None:
            seen = self._in_group(config, work, not_removed)
            if not isinstance(seen, _Seen):
                return seen
            begin_ns, end_ns = _execution_span(seen.evidence, seen.start_ns)
            executions.append(Execution(seen.evidence, seen.start_ns, begin_ns, end_ns, seen.exit_status))
            failed = execution_failure(self.job, executions[-1])
            outcome: Outcome = failed or judge_executions(self.job, executions)
            record = _record(_unless_faulted(outcome, seen), seen)
            stop = seen.evidence.watched.stop if isinstance(record.outcome, Failed) else is_enough(self.job, executions)
        record.details.update({**execution_details(self.job, executions), "stop": stop})
        return record

    def _in_group(
        self,
        config: Config,
        work: Callable[[RunGroup, Streams, Placement], T],
        not_removed: list[str],
        participant: Participant | None = None,
    ) -> T:
        """Make the pipes and the group of one process, and leave nothing of them: why a group stays goes to `not_removed`."""
        group: RunGroup | None = None
        with Streams(with_reports=not self.job.read_by_output) as streams:
            report_fd = None if self.job.read_by_output else streams.write_end("reports")
            placement = place(self.job, config, self.topology, self.isolation, report_fd)
            try:
                with defer_stop_signals():
                    group = self.isolation.create(placement.limits)
                return work(group, streams, placement)
            finally:
                if participant is not None:
                    participant.note_ended()
                problem = _remove(group)
                if problem is not None:
                    not_removed.append(problem)

    def _observe(
        self,
        config: Config,
        group: RunGroup,
        streams: Streams,
        placement: Placement,
        min_throughput: float | None = None,
        participant: Participant | None = None,
    ) -> RunRecord | _Seen:
        """Start the job, watch and measure it until there is a reason to stop, and stop it; a record where it can't be started."""
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
        search = BoundedSearch()
        own = OwnMetrics(self.job.metrics, self.job.cwd, self.job.decimal_mark, search)
        details = placement_details(self.job, config, placement, group, self.isolation.name, self.topology, self.meter)
        sampler.start()
        start_ns = time.monotonic_ns()
        try:
            child = self._launch(group, streams, placement)
            if isinstance(child, Failed):
                return RunRecord(child, details | {"flags": []})
            reports = self._reports(start_ns, streams, search)
            if own.reads_output:
                streams.on_data("stdout", own.feed)
                streams.on_data("stderr", own.feed_errors)
            conditions = Conditions(group, placement.cpus)
            watched = self._watch(child, streams, reports, sampler, conditions, start_ns, min_throughput, participant)
            conditions.sample(last=True)
        finally:
            sampler.stop()
        usage = _usage(group)
        exit_status = stop_gently(child, streams) if watched.exit_status is None else watched.exit_status
        own.finish(reports.values)
        evidence = Evidence(
            watched=watched,
            reports=reports,
            span=None,
            last_lines=streams.last_lines(),
            oom_kills=usage.oom_kills,
            memory_peak_bytes=usage.memory_peak_bytes,
            memory_max=group.actual.memory_max,
            n_cores=len(placement.cpus),
            estimated=self.meter is not None and self.meter.estimated,
            reports_on_pipe=isinstance(reports, PipeReports),
            warm=self._is_warm(watched, reports),
        )
        details["output_bytes"] = streams.output_bytes
        details["recordings"] = [asdict(recording) for recording in sampler.recordings]
        return _Seen(self._with_figures(evidence, sampler, conditions, own, usage, start_ns), start_ns, exit_status, sampler.fault, details)

    def _watch(
        self,
        child: Child,
        streams: Streams,
        reports: Reports,
        sampler: Sampler,
        conditions: Conditions,
        start_ns: int,
        min_throughput: float | None,
        participant: Participant | None,
    ) -> WatchResult:
        def oom_killed() -> bool:
            return sampler.oom_kills > 0

        def faulted() -> bool:
            return sampler.fault is not None

        settings = self.job.measure
        if self.job.runs_to_completion:
            return watch_to_exit(
                child, streams, reports, settings, start_ns=start_ns, oom_killed=oom_killed, faulted=faulted, meanwhile=conditions.sample
            )
        return watch(
            child,
            streams,
            reports,
            settings,
            start_ns=start_ns,
            oom_killed=oom_killed,
            faulted=faulted,
            when_ready=conditions.sample,
            warmup_s=self.warmup_s,
            min_throughput=min_throughput,
            power_is_tight=lambda window: self._power_is_tight(sampler, window),
            participant=participant,
        )

    def _with_figures(
        self, evidence: Evidence, sampler: Sampler, conditions: Conditions, own: OwnMetrics, usage: GroupUsage, start_ns: int
    ) -> Evidence:
        """The evidence with what was used and said over the window, or over the execution; as it is where there was neither."""
        window = evidence.watched.window
        if window is not None:
            begin_ns, end_ns = window.start_ns, window.end_ns
            span = sampler.span(part_boundaries_ns(evidence.reports, window))
        elif self.job.runs_to_completion:
            begin_ns, end_ns = _execution_span(evidence, start_ns)
            if end_ns <= begin_ns:
                return evidence
            span = _whole_cpu_time(sampler.span([begin_ns, end_ns]), sampler, usage, start_ns, begin_ns)
        else:
            return evidence
        readings, problems = own.readings(begin_ns, end_ns)
        return replace(evidence, span=span, changes=conditions.changes(begin_ns, end_ns), own=readings, own_problems=problems)

    def _power_is_tight(self, sampler: Sampler, window: Window) -> bool:
        """Whether power needs no more time; an estimate never does: its spread is that of the CPU time it is computed from."""
        if self.meter is None or self.meter.estimated:
            return True
        return power_is_tight(sampler.powers_w(window.start_ns, window.end_ns), relative_error=self.job.measure.relative_error)

    def _is_warm(self, watched: WatchResult, reports: Reports) -> bool:
        """Whether the window begins after the shortest warm-up; that of a job which ended by itself within it does not."""
        return watched.window is None or reports.ready_ns is None or watched.window.start_ns >= reports.ready_ns + self.warmup_s * 1e9

    def _launch(self, group: RunGroup, streams: Streams, placement: Placement) -> Child | Failed:
        fds = () if self.job.read_by_output else (streams.write_end("reports"),)
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

    def _reports(self, start_ns: int, streams: Streams, search: BoundedSearch) -> Reports:
        job, whole_run = self.job, self.job.runs_to_completion
        if not job.read_by_output:
            reports = PipeReports(start_ns, whole_run=whole_run)
            streams.on_data("reports", reports.feed)
            return reports
        found = OutputReports(start_ns, job.throughput_regex, job.ready_regex, job.decimal_mark, whole_run=whole_run, search=search)
        streams.on_data("stdout", found.feed)
        streams.on_data("stderr", found.feed_errors)
        return found

    def close(self) -> None:
        """Try once more to put back settings that a run could not put back, and close the meter; may be called twice."""
        self.knobs.retry_restoring()
        if self.meter is not None:
            self.meter.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _record(outcome: Outcome, seen: _Seen) -> RunRecord:
    flags = list(getattr(outcome, "flags", ()))
    details = {**seen.details, **watch_details(seen.evidence, seen.start_ns), "exit_status": seen.exit_status, "flags": flags}
    return RunRecord(outcome, details)


def _unless_faulted(outcome: Outcome, seen: _Seen) -> Outcome:
    """The outcome, or that the machine was at fault where the meter or the group could no longer be read."""
    if seen.fault is not None and not (isinstance(outcome, Failed) and outcome.kind == "oom"):
        return Failed("transient", f"the run could not be measured to its end: {seen.fault}")
    return outcome


def _execution_span(evidence: Evidence, start_ns: int) -> tuple[int, int]:
    """When an execution began to count, and when it ended."""
    ready_ns = evidence.reports.ready_ns
    return start_ns if ready_ns is None else ready_ns, evidence.watched.end_ns


def _whole_cpu_time(span: Span, sampler: Sampler, usage: GroupUsage, start_ns: int, begin_ns: int) -> Span:
    """The span with the CPU time of all of an execution from `begin_ns` on: its end lies between two samples."""
    before = sampler.span([start_ns, begin_ns]).cpu_s if begin_ns > start_ns else 0.0
    if usage.cpu_s is None or before is None:
        return span
    return replace(span, cpu_s=max(usage.cpu_s - before, 0.0))


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
