"""What a job file says, as data: `Job` and its `MeasureSettings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from bayestuner.errors import InvalidGoal
from bayestuner.goal import Goal
from bayestuner.measure.job.command import fill_placeholders
from bayestuner.measure.job.keys import suggestion
from bayestuner.measure.job.knobs import JobKnob
from bayestuner.measure.job.own_metrics import OwnMetric
from bayestuner.measure.job.stop import StopCondition
from bayestuner.measure.machine.core_order import CorePolicy
from bayestuner.measure.metrics import LATENCY_METRICS, POWER_METRICS, Mode, metrics_of_mode
from bayestuner.space import Categorical, Ordinal, Space
from bayestuner.trial import Config


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """The [measure] section; `bayestuner.measure.job.schema` says what each key means."""

    budget: int = 20
    min_seconds: float = 5.0
    max_seconds: float = 30.0
    relative_error: float = 0.02
    min_executions: int = 2
    execution_timeout_s: float = 600.0
    startup_timeout_s: float = 60.0
    warmup_seconds: float | None = None
    idle_seconds: float = 10.0
    cooldown_seconds: float = 15.0
    retries: int = 1
    max_outside_load: float = 0.75
    reference_every: int = 10
    energy: tuple[str, ...] = ("perf", "powercap", "msr")
    energy_hz: float = 10.0
    isolation: Literal["cgroup", "affinity-allowed"] = "cgroup"
    repeats: int = 3
    launches: int | None = None
    confidence: float = 0.95
    memory_headroom: float = 0.0
    seed: int = 0
    stop: tuple[StopCondition, ...] = ()
    placement: Literal["compact", "spread"] = "compact"
    smt: Literal["last", "never"] = "last"
    housekeeping_cores: int | Literal["auto"] = "auto"
    platforms: tuple[str, ...] = ()
    learn_from: tuple[str, ...] | None = None

    @property
    def core_policy(self) -> CorePolicy:
        """How a job's cores are chosen."""
        return CorePolicy(self.placement, self.smt, self.housekeeping_cores)

    @property
    def allow_affinity(self) -> bool:
        """Whether a run may go on with core binding alone where no cgroup can be made."""
        return self.isolation == "affinity-allowed"


@dataclass(frozen=True)
class Job:
    """What a job file says.

    Attributes
    ----------
    name, unit : str
        What the job and one item of its work are called.
    command : tuple of str
        As in the file, placeholders included; see `argv`.
    knobs : tuple of JobKnob
        In the file's order.
    space : Space
        The configurations that these knobs make.
    goal : Goal
        Its bounds may be relative (see `Goal.resolve`).
    measure : MeasureSettings
    env : dict
        Environment variables set for the job.
    env_keep : tuple of str
        Names of variables that the job gets from the environment of BayesTuner.
    cwd : Path
        Folder the job runs in, absolute.
    throughput_regex, ready_regex, decimal_mark : str or None
        Patterns by which the job's output is read; None: the job reports on a pipe.
    text : str
        The text of the file.
    path : Path
        The file, absolute.
    user : str or None
        The user the job runs as; None: the one who runs BayesTuner.
    presets : mapping of str to Goal
        The goals of the file by name, see `with_preset`.
    mode : {"batches", "to_completion"}
        What one run of the job is.
    metrics : mapping of str to OwnMetric
        Metrics of the job's own, by name.
    """

    name: str
    command: tuple[str, ...]
    unit: str
    knobs: tuple[JobKnob, ...]
    space: Space
    goal: Goal
    measure: MeasureSettings
    env: Mapping[str, str]
    cwd: Path
    throughput_regex: str | None
    ready_regex: str | None
    text: str
    path: Path
    user: str | None = None
    decimal_mark: str | None = None
    env_keep: tuple[str, ...] = ()
    presets: Mapping[str, Goal] = field(default_factory=lambda: MappingProxyType({}))
    mode: Mode = "batches"
    metrics: Mapping[str, OwnMetric] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def metric_units(self) -> dict[str, str]:
        """Unit of each metric of the job's own."""
        return {name: metric.unit for name, metric in self.metrics.items()}

    @property
    def runs_to_completion(self) -> bool:
        """Whether a run is executions from start to exit."""
        return self.mode == "to_completion"

    @property
    def read_by_output(self) -> bool:
        """Whether the job's output says when it is ready or how many items it has done; otherwise the report pipe does."""
        return self.throughput_regex is not None or self.ready_regex is not None

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """The metrics that runs of this job may report: the built-in ones, then its own."""
        unknown = LATENCY_METRICS if self.throughput_regex is not None else frozenset()
        return (*(m for m in metrics_of_mode(self.mode) if m not in unknown), *self.metrics)

    @property
    def needs_power(self) -> bool:
        """Whether the goal is about power or energy, so that a meter (or the estimate) is needed."""
        return bool(POWER_METRICS & set(self.goal.metrics))

    @property
    def needs(self) -> frozenset[str]:
        """Which of "cores" and "memory" have to be limited so that this job's knobs take effect and its goal can be judged."""
        wanted = {"cores": "cores", "smt": "cores", "memory": "memory"}
        return frozenset(wanted[knob.kind] for knob in self.knobs if knob.kind in wanted) | self.goal_needs

    @property
    def goal_needs(self) -> frozenset[str]:
        """Which of "cores" and "memory" the goal is about, so that it means nothing where they aren't limited."""
        memory = self.knob_of_kind("memory")
        about_memory = {"memory_peak_bytes"} | ({memory.name} if memory is not None else set())
        return frozenset({"memory"}) if about_memory & set(self.goal.metrics) else frozenset()

    def knob_of_kind(self, kind: str) -> JobKnob | None:
        """The first knob of a kind, or None."""
        return next((knob for knob in self.knobs if knob.kind == kind), None)

    def all_max_config(self) -> Config:
        """The all-max configuration, with which results are compared: every ordered knob at its last value, every other at its first."""
        return {k.name: k.values[0] if isinstance(k, Categorical) else k.values[-1] for k in self.space.knobs}

    def cores_of(self, config: Mapping[str, Any]) -> int | None:
        """How many cores `config` asks for; None where the job has no knob of kind cores."""
        knob = self.knob_of_kind("cores")
        return None if knob is None else int(config[knob.name])

    def smt_of(self, config: Mapping[str, Any]) -> bool | None:
        """Whether `config` uses both threads of its cores; None where the job has no knob of kind smt."""
        knob = self.knob_of_kind("smt")
        return None if knob is None else bool(config[knob.name])

    def memory_bytes_of(self, config: Mapping[str, Any]) -> int | None:
        """The memory limit that `config` asks for, in bytes; None where the job has no knob of kind memory."""
        knob = self.knob_of_kind("memory")
        return None if knob is None else int(config[knob.name]) * knob.unit_bytes

    def argv(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The command for `config`: placeholders filled in, a program with a slash in its name resolved against the job file's folder."""
        return fill_placeholders(self.command, config, self.path.parent)

    def with_memory_held(self) -> Job:
        """This job with its memory knob held at the largest value: for where memory can't be limited and the knob has no effect."""
        memory = self.knob_of_kind("memory")
        if memory is None:
            return self
        held = replace(memory, knob=Ordinal(memory.name, memory.knob.values[-1:], more_is=memory.knob.more_is))
        knobs = tuple(held if knob is memory else knob for knob in self.knobs)
        return replace(self, knobs=knobs, space=Space(*(knob.knob for knob in knobs)))

    def with_goal(self, goal: Goal) -> Job:
        """This job with another goal; raises `InvalidGoal` where it names a metric that no run reports."""
        known = self.known_metrics()
        for metric in goal.metrics:
            if metric not in known:
                raise InvalidGoal(f"no run of {self.name} reports the metric {metric!r}{suggestion(metric, known)}")
        return replace(self, goal=goal)

    def with_preset(self, name: str) -> Job:
        """This job with one of the goals of its file; raises `InvalidGoal` where there is none of that name."""
        if name not in self.presets:
            raise InvalidGoal(f"{self.path.name} has no preset {name!r}{suggestion(name, self.presets)}")
        return replace(self, goal=self.presets[name])

    def known_metrics(self) -> tuple[str, ...]:
        """The names that a goal may use: the metrics that runs report, and the knobs whose values are numbers."""
        return (*self.reported_metrics, *(k.name for k in self.space.knobs if k.numeric))
