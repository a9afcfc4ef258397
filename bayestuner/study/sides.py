"""A configuration with its figures over launches, from what is stored and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayestuner.goal import Goal
from bayestuner.study.figures import Figure, figure
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


def ranked_rows(study: Study, records: Sequence[Record], goal: Goal) -> list[int]:
    """Rows whose mean meets the goal, best objective first."""
    sides = {row: side_of(study, records, row, goal) for row in {r.trial.row for r in records if isinstance(r.trial.outcome, Measured)}}
    feasible = [row for row, side in sides.items() if side.meets_goal]
    return sorted(feasible, key=lambda row: (goal.sign * _mean(sides[row], goal.objective), row))


def judging_goal(study: Study, records: Sequence[Record], goal: Goal | None = None) -> Goal | None:
    """The study's goal, or another, as final figures are held against it; None until its bounds are absolute.

    A relative bound refers to the all-max configuration as it does in the final launches, in rounds with the recommended one, so that a
    machine that has become slower or faster since the first run favours neither.
    """
    given = study.goal if goal is None else goal
    first = next((r for r in records if r.role == "baseline"), None)
    if given.relative and first is not None:
        repeats = [r.trial for r in records if r.role == "repeat" and r.trial.row == first.trial.row]
        values = [study.values_of(t) for t in repeats or [first.trial] if isinstance(t.outcome, Measured)]
        if values and (repeats or goal is not None):
            return given.resolve({m: figure([v[m] for v in values]).mean for m in given.metrics})
    return study.resolved_goal if goal is None else None if goal.relative else goal


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
