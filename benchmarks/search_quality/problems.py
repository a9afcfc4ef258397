"""Problems: a folder with ``problems.json`` and one CSV table of measurements for each.

A table has a column for every knob, then ``objective`` (to be minimised), ``constraint`` (to be at least the problem's ``threshold``) and
``status`` (``ok``, or ``failed`` for a run that gave no values). ``problems.json`` is a list of objects with ``name``, ``file``,
``family``, ``threshold`` and ``knobs`` (``name``; ``type``: ``ordinal`` or ``categorical``); ``objective`` and ``constraint`` where the
table's columns have other names (a text that names no column describes the column of the usual name). ``python -m benchmarks.tables``
writes one for tables of ``bayestuner measure-grid``.

In place of a folder, ``simulated`` and ``simulated-small`` are the paper's eight jobs on its server, SIMULATED without noise: 7168 and 224
configurations each.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import bayestuner as bt
from bayestuner.simulate.platform import SimulatedJob, large_space, small_space
from bayestuner.simulate.profiles import PROFILES

SIMULATED = {"simulated": large_space, "simulated-small": small_space}

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One table of measurements.

    Attributes
    ----------
    name, family : str
        Problems of one family are not independent; averages are taken within a family first.
    knobs : tuple of Knob
    configs : list of tuple
        Values of the knobs in each row.
    objective, constraint : ndarray, (rows,)
        nan where the run failed.
    threshold : float
    grid : Space, optional
        Whose rows the table's are; None for a table that lists its rows.
    """

    name: str
    family: str
    knobs: tuple[Any, ...]
    configs: list[tuple[Any, ...]]
    objective: FloatArray
    constraint: FloatArray
    threshold: float
    grid: bt.Space | None = None
    goal: Any = field(init=False)

    def __post_init__(self) -> None:
        goal = bt.Goal(minimize="objective", subject_to=[bt.AtLeast("constraint", self.threshold)])
        object.__setattr__(self, "goal", goal)

    @cached_property
    def space(self) -> bt.Space:
        """The rows of the table as a space; a space's row is the table's."""
        return bt.Space.from_rows(self.knobs, self.configs) if self.grid is None else self.grid

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Which runs gave values, (rows,)."""
        return np.isfinite(self.objective) & np.isfinite(self.constraint)

    @cached_property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Which rows meet the threshold, (rows,)."""
        return self.ok & (np.where(self.ok, self.constraint, -np.inf) >= self.threshold)

    @cached_property
    def optimum(self) -> float:
        """The lowest feasible objective."""
        return float(self.objective[self.feasible].min())

    @cached_property
    def worst(self) -> float:
        """The highest feasible objective: what a run that has found nothing feasible is counted as."""
        return float(self.objective[self.feasible].max())


def load(folder: Path, only: str = "") -> list[Problem]:
    """Read the problems of `folder`, or of `SIMULATED` by name, whose name contains `only`."""
    if str(folder) in SIMULATED and not folder.exists():
        return [_simulate(name, str(folder)) for name in PROFILES if only in name]
    listed = json.loads((folder / "problems.json").read_text())
    problems = [_read(folder, entry) for entry in listed if only in entry["name"]]
    if not problems:
        raise SystemExit(f"no problem in {folder}/problems.json has {only!r} in its name; it lists {', '.join(e['name'] for e in listed)}")
    return problems


def _simulate(name: str, which: str) -> Problem:
    job = SimulatedJob(name, SIMULATED[which]())
    space, metrics = job.space, job.table.metrics
    configs = [tuple(space.config(row).values()) for row in range(space.n_rows)]
    return Problem(f"{which}-{name}", which, space.knobs, configs, metrics["power_w"], metrics["throughput"], job.profile.constraint, space)


def _read(folder: Path, entry: dict[str, Any]) -> Problem:
    with (folder / entry["file"]).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = {knob["name"]: [_value(row[knob["name"]]) for row in rows] for knob in entry["knobs"]}
    knobs = tuple(_knob(knob, columns[knob["name"]]) for knob in entry["knobs"])
    failed = [row["status"] != "ok" for row in rows]
    objective, constraint = (
        np.array([np.nan if bad else float(row[_column(entry, name, rows[0])]) for row, bad in zip(rows, failed, strict=True)])
        for name in ("objective", "constraint")
    )
    configs = list(zip(*columns.values(), strict=True))
    return Problem(entry["name"], entry["family"], knobs, configs, objective, constraint, float(entry["threshold"]))


def _column(entry: dict[str, Any], name: str, row: dict[str, Any]) -> str:
    """The column that holds the objective or the constraint; a problem may also just describe what its column of the usual name is."""
    given = str(entry.get(name, name))
    return given if given in row else name


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number == int(number) else number


def _knob(knob: dict[str, Any], column: list[Any]) -> Any:
    if knob["type"] == "categorical":
        return bt.Categorical(knob["name"], sorted(set(column), key=str))
    return bt.Ordinal(knob["name"], knob.get("levels") or sorted(set(column)))
