"""What a study came to: the recommended configuration and the default side by side, from what is stored and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bayestuner.goal import Goal
from bayestuner.study.decision import Decision, decide
from bayestuner.study.drift import Drift, drift_since_first
from bayestuner.study.figures import Figure
from bayestuner.study.pairing import paired_changes
from bayestuner.study.rounds import rounds_of
from bayestuner.study.sides import Side, judging_goal, nearest, ranked_rows, side_of
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed


@dataclass(frozen=True, slots=True)
class Summary:
    """A study at a glance; `complete` once `tune` has come to its end.

    `metric_units` are those of the job's own metrics. `goal` is as given, `search_goal` what was searched with, `judged_goal` what the
    final figures are held against: with a relative bound the last two differ, see `judging_goal`. `decision` is what the final launches
    decided: None where none were made, or an earlier version made them; `best_reading` is the configuration with the best reading of the
    search. `changes` are those of the recommended against the default configuration, round by round; `search_s` is the time of the runs up
    to the final launches, `duration_s` that of all of them; `drift` is what the default configuration's final launches (or its latest
    reference, before there are any) say of the
    machine since its first run.
    """

    name: str
    unit: str
    metric_units: dict[str, str]
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
    decision: Decision | None = None
    best_reading: Side | None = None
    learnt_from: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        sides = {k: None if s is None else s.as_dict() for k, s in self._sides().items()}
        return {
            "name": self.name,
            "unit": self.unit,
            "metric_units": self.metric_units,
            "goal": str(self.goal),
            "resolved_goal": None if self.judged_goal is None else str(self.judged_goal),
            "complete": self.complete,
            "verdict": None if self.decision is None else self.decision.verdict,
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
            "learnt_from": list(self.learnt_from),
            "decision": None if self.decision is None else self.decision.as_dict(self.goal),
        }

    def _sides(self) -> dict[str, Side | None]:
        return {"recommended": self.recommended, "all_max": self.baseline, "nearest": self.nearest}


def summarise(study: Study, goal: Goal | None = None, answer: Mapping[str, Any] | None = None) -> Summary:
    """Read a study's summary out of its store.

    Parameters
    ----------
    study : Study
    goal : Goal, optional
        Another goal than the study's, with `answer`, which stands for the stored result then.
    """
    info, records = study.info, study.records()
    given, searched = goal or study.goal, study.resolved_goal
    goal, other = judging_goal(study, records, goal), goal
    result = (answer if answer is not None else info.result) or {}
    recommended = _stored_side(study, records, result.get("recommended"), goal)
    first = next((r for r in records if r.role == "baseline"), None)
    baseline = None if first is None else side_of(study, records, first.trial.row, goal)
    candidates = [study.space.row(config) for config in result.get("candidates", ())]
    decided = decide(study, records, candidates, goal, other) if result.get("verdict") is not None else None
    near = _stored_side(study, records, result.get("nearest"), goal)
    if near is None and recommended is None and goal is not None:
        near = nearest(study, records, goal, result.get("rejected", []))
    counted = [r for r in records if costs_budget(r) and r.tell_seq is not None]
    power = [r.details for r in records if r.details.get("power_source")]
    return Summary(
        name=info.name,
        unit=(info.job or {}).get("unit", "item"),
        metric_units={name: str(own["unit"]) for name, own in ((info.job or {}).get("metrics") or {}).items()},
        goal=given,
        search_goal=searched,
        judged_goal=goal,
        complete=bool(result.get("complete")),
        recommended=recommended,
        baseline=baseline,
        rejected=tuple(s for c in result.get("rejected", []) if (s := _stored_side(study, records, c, goal)) is not None),
        nearest=near,
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
        decision=None if decided is None else decided[0],
        best_reading=_best_reading(study, records),
        learnt_from=study.learnt_from,
    )


def _drift(study: Study, records: Sequence[Record]) -> tuple[Drift, ...]:
    metrics = list(dict.fromkeys([*study.goal.metrics, "throughput", "power_w"]))
    return drift_since_first(records, "repeat", metrics) or drift_since_first(records, "reference", metrics)


def _changes(study: Study, records: Sequence[Record], recommended: Side | None, baseline: Side | None) -> dict[str, Figure]:
    if recommended is None or baseline is None or recommended.config == baseline.config:
        return {}
    return paired_changes(rounds_of(records).values(), study.space.row(recommended.config), study.space.row(baseline.config))


def _best_reading(study: Study, records: Sequence[Record]) -> Side | None:
    """The configuration with the best reading of the search, with the figures it had there."""
    if study.resolved_goal is None:
        return None
    searched = [r for r in records if r.role != "repeat"]
    rows = ranked_rows(study, searched, study.resolved_goal)
    return side_of(study, searched, rows[0], study.resolved_goal) if rows else None


def _stored_side(study: Study, records: Sequence[Record], config: Config | None, goal: Goal | None) -> Side | None:
    return None if config is None else side_of(study, records, study.space.row(config), goal)


def _seconds(record: Record) -> float:
    if record.details.get("duration_s") is not None:
        return float(record.details["duration_s"])
    if record.told_utc is None:
        return 0.0
    seconds = (datetime.fromisoformat(record.told_utc) - datetime.fromisoformat(record.asked_utc)).total_seconds()
    return max(seconds, 0.0)  # the clock may have been set back meanwhile
