"""What a study came to: the recommended configuration and the default side by side, from what is stored and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bayestuner.goal import Goal
from bayestuner.study.drift import Drift, drift_since_first
from bayestuner.study.figures import Figure, figure
from bayestuner.study.pairing import paired_changes
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed, Measured, Trial


@dataclass(frozen=True, slots=True)
class Side:
    """A configuration with its figures over launches.

    Attributes
    ----------
    config : dict
    figures : dict
        Metric -> `Figure`; from the interleaved repeats where there are any (`repeated`), else from the search run.
    failures : tuple of str
        How its launches failed.
    meets_goal : bool or None
        Whether the means meet every bound and no repeat failed; None where nothing was measured or bounds are not absolute yet.
    surely : bool or None
        Whether the 95 % intervals meet every bound as well; None where there is no interval.
    repeated : bool
    cpus : tuple of int
        CPUs it ran on, as the runner reported them.
    memory_max_bytes : int or None
    """

    config: Config
    figures: dict[str, Figure]
    failures: tuple[str, ...]
    meets_goal: bool | None
    repeated: bool
    cpus: tuple[int, ...] = ()
    memory_max_bytes: int | None = None
    surely: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "config": self.config,
            "metrics": {name: f.as_dict() for name, f in self.figures.items()},
            "failures": list(self.failures),
            "meets_goal": self.meets_goal,
            "surely": self.surely,
            "repeated": self.repeated,
            "cpus": list(self.cpus),
            "memory_max_bytes": self.memory_max_bytes,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """A study at a glance; `complete` once `tune` has come to its end.

    `goal` is as given, `search_goal` what was searched with, `judged_goal` what the final figures are held against: with a relative bound
    the last two differ, see `judging_goal`. `changes` are those of the recommended against the default configuration, launch by launch;
    `search_s` is the time of the runs up to the repeats, `duration_s` that of all of them; `drift` is what the default configuration's
    final launches (or its latest reference, before there are any) say of the machine since its first run.
    """

    name: str
    unit: str
    goal: Goal
    search_goal: Goal | None
    judged_goal: Goal | None
    complete: bool
    recommended: Side | None
    baseline: Side | None
    rejected: tuple[Side, ...]
    nearest: Side | None
    meter: str | None
    estimated: bool
    n_runs: int
    n_failed: int
    n_repeats: int
    duration_s: float
    stop_reason: str | None
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    notes: tuple[str, ...] = field(default=())
    changes: dict[str, Figure] = field(default_factory=dict)
    search_s: float = 0.0
    drift: tuple[Drift, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        sides = {k: None if s is None else s.as_dict() for k, s in self._sides().items()}
        return {
            "name": self.name,
            "unit": self.unit,
            "goal": str(self.goal),
            "resolved_goal": None if self.judged_goal is None else str(self.judged_goal),
            "complete": self.complete,
            **sides,
            "rejected": [s.as_dict() for s in self.rejected],
            "meter": self.meter,
            "estimated": self.estimated,
            "runs": self.n_runs,
            "failed": self.n_failed,
            "repeats": self.n_repeats,
            "duration_s": self.duration_s,
            "search_s": self.search_s,
            "drift": [d.as_dict() for d in self.drift],
            "changes": {name: f.as_dict() for name, f in self.changes.items()},
            "stop_reason": self.stop_reason,
            "command": list(self.command),
            "env": self.env,
            "user": self.user,
            "notes": list(self.notes),
        }

    def _sides(self) -> dict[str, Side | None]:
        return {"recommended": self.recommended, "all_max": self.baseline, "nearest": self.nearest}


def summarise(study: Study) -> Summary:
    """Read a study's summary out of its store."""
    info, records = study.info, study.records()
    searched, goal = study.resolved_goal, judging_goal(study, records)
    result = info.result or {}
    recommended = _stored_side(study, records, result.get("recommended"), goal)
    first = next((r for r in records if r.role == "baseline"), None)
    baseline = None if first is None else side_of(study, records, first.trial.row, goal)
    counted = [r for r in records if costs_budget(r) and r.tell_seq is not None]
    power = [r.details for r in records if r.details.get("power_source")]
    return Summary(
        name=info.name,
        unit=(info.job or {}).get("unit", "item"),
        goal=study.goal,
        search_goal=searched,
        judged_goal=goal,
        complete=bool(result.get("complete")),
        recommended=recommended,
        baseline=baseline,
        rejected=tuple(s for c in result.get("rejected", []) if (s := _stored_side(study, records, c, goal)) is not None),
        nearest=None if recommended is not None or goal is None else nearest(study, records, goal, result.get("rejected", [])),
        meter=power[-1]["power_source"] if power else None,
        estimated=any(bool(d.get("estimated")) for d in power),
        n_runs=len(counted),
        n_failed=sum(isinstance(r.trial.outcome, Failed) for r in counted),
        n_repeats=sum(r.role == "repeat" and r.tell_seq is not None for r in records),
        duration_s=sum(_seconds(r) for r in records),
        stop_reason=result.get("stop_reason"),
        command=tuple(result.get("command", ())),
        env=dict(result.get("env", {})),
        user=result.get("user"),
        notes=tuple(result.get("notes", ())),
        changes=_changes(study, records, recommended, baseline),
        search_s=sum(_seconds(r) for r in records if r.role != "repeat"),
        drift=_drift(study, records),
    )


def side_of(study: Study, records: Sequence[Record], row: int, goal: Goal | None) -> Side:
    """Figures of one configuration, from its repeats where there are any."""
    told = [r for r in records if r.trial.row == row and r.trial.outcome is not None and not _transient(r.trial)]
    repeats = [r for r in told if r.role == "repeat"]
    used = repeats or told
    if not any(isinstance(r.trial.outcome, Measured) for r in used):
        used = told  # every repeat failed: show what the search run measured beside the failures
    values = [study.values_of(r.trial) for r in used if isinstance(r.trial.outcome, Measured)]
    knobs = {k.name for k in study.space.knobs}
    names = [n for n in dict.fromkeys(n for v in values for n in v) if n not in knobs]
    figures = {n: figure([v[n] for v in values if n in v]) for n in names}
    failures = tuple(f"{o.kind}: {o.message}" if o.message else o.kind for r in used if isinstance(o := r.trial.outcome, Failed))
    meets = surely = None
    if values and goal is not None:
        means = {n: figure([v[n] for v in values]).mean for n in goal.metrics}
        meets = goal.feasible(means) and not failures
        surely = _surely(figures, goal) if meets else None
    elif failures:
        meets = False
    placed: dict[str, Any] = next((r.details for r in reversed(used) if r.details.get("cpus")), {})
    memory = placed.get("memory_max")
    return Side(
        study.space.config(row),
        figures,
        failures,
        meets,
        bool(repeats),
        tuple(placed.get("cpus", ())),
        None if memory is None else int(memory),
        surely,
    )


def _surely(figures: dict[str, Figure], goal: Goal) -> bool | None:
    """Whether every bound holds at the end of the interval that is nearer to it; knobs have no interval and need none."""
    ends = [(b, f.low if b.sense == ">=" else f.high) for b in goal.bounds if (f := figures.get(b.metric)) is not None]
    if any(end is None for _, end in ends):
        return None
    return all(b.violation(end) <= 0 for b, end in ends if end is not None)


def _drift(study: Study, records: Sequence[Record]) -> tuple[Drift, ...]:
    metrics = list(dict.fromkeys([*study.goal.metrics, "throughput", "power_w"]))
    return drift_since_first(records, "repeat", metrics) or drift_since_first(records, "reference", metrics)


def _changes(study: Study, records: Sequence[Record], recommended: Side | None, baseline: Side | None) -> dict[str, Figure]:
    if recommended is None or baseline is None or recommended.config == baseline.config:
        return {}
    return paired_changes(records, study.space.row(recommended.config), study.space.row(baseline.config))


def ranked_rows(study: Study, records: Sequence[Record], goal: Goal) -> list[int]:
    """Rows whose mean meets the goal, best objective first."""
    sides = {row: side_of(study, records, row, goal) for row in {r.trial.row for r in records if isinstance(r.trial.outcome, Measured)}}
    feasible = [row for row, side in sides.items() if side.meets_goal]
    return sorted(feasible, key=lambda row: (goal.sign * _mean(sides[row], goal.objective), row))


def judging_goal(study: Study, records: Sequence[Record]) -> Goal | None:
    """The goal that final figures are held against; None until its bounds are absolute.

    A relative bound refers to the all-max configuration as it does in the repeats, launched in alternation with the recommended one, so
    that a machine that has become slower or faster since the first run favours neither.
    """
    first = next((r for r in records if r.role == "baseline"), None)
    if study.goal.relative and first is not None:
        repeats = [r.trial for r in records if r.role == "repeat" and r.trial.row == first.trial.row]
        values = [study.values_of(t) for t in repeats if isinstance(t.outcome, Measured)]
        if values:
            return study.goal.resolve({m: figure([v[m] for v in values]).mean for m in study.goal.metrics})
    return study.resolved_goal


def nearest(study: Study, records: Sequence[Record], goal: Goal, rejected: Sequence[Config] = ()) -> Side | None:
    """The best configuration that meets the goal, else the one that misses it by least; among those rejected where there are any."""
    ranked = [] if rejected else ranked_rows(study, records, goal)
    if ranked:
        return side_of(study, records, ranked[0], goal)
    rows = {r.trial.row for r in records if isinstance(r.trial.outcome, Measured)}
    rows = {row for row in map(study.space.row, rejected) if row in rows} or rows
    if not rows:
        return None

    def violation(row: int) -> float:
        side = side_of(study, records, row, goal)
        return goal.violation({m: _mean(side, m) for m in goal.metrics})

    return side_of(study, records, min(sorted(rows), key=violation), goal)


def _mean(side: Side, metric: str) -> float:
    if metric in side.figures:
        return side.figures[metric].mean
    return float(side.config[metric])


def _transient(trial: Trial) -> bool:
    return isinstance(trial.outcome, Failed) and trial.outcome.kind == "transient"


def _stored_side(study: Study, records: Sequence[Record], config: Config | None, goal: Goal | None) -> Side | None:
    return None if config is None else side_of(study, records, study.space.row(config), goal)


def _seconds(record: Record) -> float:
    if record.details.get("duration_s") is not None:
        return float(record.details["duration_s"])
    if record.told_utc is None:
        return 0.0
    seconds = (datetime.fromisoformat(record.told_utc) - datetime.fromisoformat(record.asked_utc)).total_seconds()
    return max(seconds, 0.0)  # the clock may have been set back meanwhile
