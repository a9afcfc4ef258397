"""What a study's records and summary give to the report: words, the table of runs, the points of the charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bayestuner.goal import Goal
from bayestuner.report.result import came_to, closing, comparison, goal_text
from bayestuner.report.tables import Rows
from bayestuner.report.verdict import verdict_title
from bayestuner.report.words import label, quantity, scaled
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary
from bayestuner.trial import Measured

KINDS = {"default": "default", "search": "search run", "launch": "final launch"}
"""What a run was for, as the charts' legend says."""


@dataclass(frozen=True)
class Axis:
    """A metric or knob on a chart: its name in the data, its title, and how its values are scaled.

    Attributes
    ----------
    name, title : str
    factor : float
        From the metric's own unit to the one in the title.
    limit : float or None
        The goal's bound on it, scaled.
    """

    name: str
    title: str
    factor: float = 1.0
    limit: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of text; `keys` are the values behind its cells, to sort a column by."""

    header: list[str]
    rows: Rows
    keys: list[list[Any]] = field(default_factory=list)


def axis_of(metric: str, summary: Summary, goal: Goal | None) -> Axis:
    """How a metric is drawn."""
    factor, unit = scaled(metric, summary)
    title = label(metric, summary, estimated=summary.estimated) + (f" ({unit})" if unit else "")
    bound = next((b for b in (goal.bounds if goal else ()) if b.metric == metric and not b.relative), None)
    return Axis(metric, title, factor, None if bound is None else bound.limit * factor)


def points(study: Study, goal: Goal | None, records: Sequence[Record], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """One entry for each measured run: the axes' values, and what a reader who points at it is told."""
    found = []
    for record in records:
        values = study.values_of(record.trial)
        if not all(axis.name in values for axis in axes):
            continue
        kind = "launch" if record.role == "repeat" else "default" if record.role in ("baseline", "reference") else "search"
        meets = goal is not None and not goal.relative and goal.feasible(values)
        found.append(
            {
                "run": record.trial.number + 1,
                "kind": KINDS[kind],
                "meets": "meets the goal" if meets else "misses a bound",
                "config": ", ".join(f"{name}={value}" for name, value in record.trial.config.items()),
                **{f"v{i}": values[axis.name] * axis.factor for i, axis in enumerate(axes)},
            }
        )
    return found


def convergence(study: Study, goal: Goal | None, records: Sequence[Record], objective: Axis) -> list[dict[str, Any]]:
    """The objective of each run of the search that met the goal, and the best so far."""
    best: float | None = None
    found: list[dict[str, Any]] = []
    if goal is None or goal.relative:
        return []
    for count, record in enumerate((r for r in records if costs_budget(r)), start=1):
        values = study.values_of(record.trial)
        if values and goal.feasible(values):
            value = values[goal.objective]
            best = value if best is None or goal.sign * value < goal.sign * best else best
            found.append({"run": count, "value": value * objective.factor, "best": best * objective.factor})
        elif best is not None:
            found.append({"run": count, "value": None, "best": best * objective.factor})
    return found


def runs_table(study: Study, summary: Summary, records: Sequence[Record]) -> Table:
    """Every run: text for people, and what its columns sort by."""
    knobs = list(study.space.names)
    names = [*summary.goal.metrics, "power_w", "throughput", "energy_j_per_item", "latency_p50_s", "memory_peak_bytes"]
    metrics = [m for m in dict.fromkeys(names) if m not in knobs and any(m in r.trial.metrics for r in records)]
    header = ["run", "role", *knobs, *(label(m, summary, estimated=summary.estimated) for m in metrics), "came to"]
    rows, keys = [], []
    for r in records:
        measured = r.trial.metrics if isinstance(r.trial.outcome, Measured) else {}
        said = came_to(r.trial.outcome, r.trial.config, summary.search_goal, orphaned=r.orphaned, room=300)
        cells = [quantity(m, measured[m], summary) if m in measured else "" for m in metrics]
        config = [r.trial.config[k] for k in knobs]
        rows.append([str(r.trial.number + 1), r.role, *map(str, config), *cells, said])
        keys.append([r.trial.number, r.role, *config, *(measured.get(m) for m in metrics), said])
    return Table(header, rows, keys)


@dataclass(frozen=True)
class Words:
    """The first screen: what the study came to."""

    name: str
    title: str
    goal: str
    sentences: list[str]
    config: list[tuple[str, str]]
    sides: Table | None
    apply: str | None
    facts: list[tuple[str, str]]
    estimated: bool


FIRST = ("saving", "change", "verdict", "to do", "stopped")
"""What of a result's closing facts stands on the first screen; the rest comes at the end."""


def words(summary: Summary, study_path: Path, records: Sequence[Record]) -> Words:
    """Everything that is said about a study, in the words of the terminal's result."""
    pairs = closing(summary, study_path, records)
    shown = summary.recommended or summary.nearest
    sides = None
    if shown is not None:
        header, rows = comparison(summary, shown)
        sides = Table(header, rows)
    return Words(
        name=summary.name,
        title=verdict_title(summary),
        goal=goal_text(summary),
        sentences=[text for name, text in pairs if name in FIRST],
        config=[] if summary.recommended is None else [(k, str(v)) for k, v in summary.recommended.config.items()],
        sides=sides,
        apply=next((text for name, text in pairs if name == "apply with"), None),
        facts=[(name, text) for name, text in pairs if name not in (*FIRST, "apply with")],
        estimated=summary.estimated,
    )


def provenance(study: Study) -> list[tuple[str, str]]:
    """What is known of the machine and the versions, flattened to one line a fact; the last sitting of several."""
    sittings = list(study.provenance())
    return _flat("", sittings[-1]) if sittings else []


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix} / {key}" if prefix else str(key), inner)]
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return [pair for i, inner in enumerate(value, start=1) for pair in _flat(f"{prefix} {i}", inner)]
    text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
    return [(prefix, text[:500])]


def as_script(text: str) -> str:
    """JSON that can't end the script element it stands in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
