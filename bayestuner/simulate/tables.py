"""Reading a table that ``bayestuner measure-grid`` wrote: real test runs, one in each row, to be replayed.

The JSON file beside the CSV file says of what kind the knobs are and which part of the grid was asked for. Where an older one does not, it
is inferred: a knob whose values are numbers is ordered, any other is not; a knob whose name begins with ``memory`` is one of memory. A
finished table is either the whole product of its knobs' values or sorted in the order of the grid; one that is neither is not wholly
measured.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import BayesTunerError, StoreError
from bayestuner.foreign_text import from_csv_cell, harmless
from bayestuner.space import Categorical, Knob, Ordinal, Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading

FloatArray = npt.NDArray[np.float64]
Row = Mapping[str, str]

VERSION = 1
FLAG = "replayed"
ESTIMATED = "estimated_"
"""What the names of columns begin with whose figures are estimates."""


@dataclass(frozen=True)
class MeasuredTable:
    """A table as it was measured.

    Attributes
    ----------
    path : Path
        Path of the CSV file.
    digest : str
        Digest of its text, to tell tables apart.
    job, unit : str
        The job that was run, and what one of its items is called.
    metrics : tuple of str
        Names of the columns with figures; those of estimates begin with ``estimated_``.
    space : Space
        Its configurations: a grid, or exactly the rows of the table where they are not a whole grid.
    outcomes : tuple of Outcome, (n_rows,)
        In the order of the space's rows.
    duration_s : ndarray, (n_rows,)
        How long each run took, from launch to end; 0 where the table does not say.
    """

    path: Path
    digest: str
    job: str
    unit: str
    metrics: tuple[str, ...]
    space: Space
    outcomes: tuple[Outcome, ...]
    duration_s: FloatArray


def read_table(path: Path) -> MeasuredTable:
    """Read a table and the JSON file beside it.

    Raises
    ------
    StoreError
        There is no such table, it is damaged, or it is not wholly measured.
    """
    about = _read_about(path)
    try:
        text = path.read_bytes()
        metrics = tuple(about["units"])
        names = [str(name) for name in about["knobs"]]
        took = "run_s" if "duration_s" in metrics else "duration_s"
        rows = _read_rows(text, [*names, "status", *metrics, took, "flags", "message"])
        grid = about["starts"][-1].get("knobs") if about["starts"] else None
        knobs = [_knob_of_grid(entry, rows) for entry in grid] if grid else [_knob_by_values(name, rows) for name in names]
        space, order = _space_of(knobs, rows)
        outcomes = [_outcome(rows[i], metrics, i + 2) for i in order]
        duration_s = np.array([_number(rows[i], took, i + 2) or 0.0 for i in order])
        job, unit = harmless(str(about["job"]["name"])), harmless(str(about["job"]["unit"]))
    except OSError as error:
        raise StoreError(f"can't read the table {path}: {error.strerror}; give the CSV file that bayestuner measure-grid wrote") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path.with_suffix('.json')} is damaged: {error!r}; measure the table again, or take the file from a copy"
        ) from error
    except (ValueError, BayesTunerError) as error:
        raise StoreError(f"the table {path} is damaged: {error}; mend it, or measure it again") from error
    missing, n = _missing(space, knobs, rows, grid)
    if missing:
        raise StoreError(f"the table {path} is half measured: {missing} of its {n} configurations are missing; go on with measure-grid")
    return MeasuredTable(path, hashlib.sha256(text).hexdigest()[:16], job, unit, metrics, space, tuple(outcomes), duration_s)


def _read_about(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if beside == path:
        raise StoreError(f"a table is a CSV file with a JSON file of the same name beside it; {path} is the latter")
    try:
        if not path.exists():
            raise StoreError(f"there is no table {path}; give the CSV file that bayestuner measure-grid wrote")
        about = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"can't read {beside}, which says what the columns of {path.name} are: {error.strerror}; bayestuner measure-grid writes both"
        ) from error
    except ValueError as error:
        raise StoreError(f"{beside} is damaged: {error}; measure the table again, or take the file from a copy") from error
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise StoreError(f"{beside} is not of a table of version {VERSION}, which this BayesTuner reads")
    return about


def _read_rows(text: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    if not text.endswith(b"\n"):
        raise ValueError("its last line is cut short, which measure-grid mends")
    head, *lines = csv.reader(io.StringIO(text.decode("utf-8")))
    lacks = [name for name in columns if name not in head]
    if lacks:
        raise ValueError(f"it has no column {', '.join(lacks)}")
    if not lines:
        raise ValueError("it has no rows")
    for number, line in enumerate(lines, 2):
        if len(line) != len(head):
            raise ValueError(f"line {number} has {len(line)} cells where the first has {len(head)}")
    return [dict(zip(head, map(from_csv_cell, line), strict=True)) for line in lines]


def _knob_of_grid(entry: Mapping[str, Any], rows: Sequence[Row]) -> Knob:
    """The knob that the JSON file describes, with those of its values that occur in the table."""
    name = entry["name"]
    seen = {row[name] for row in rows}
    values = [value for value in entry["values"] if _text_of(value) in seen]
    unknown = seen - {_text_of(value) for value in values}
    if unknown:
        raise ValueError(f"the knob {name} has the value {min(unknown)!r}, which the job's doesn't")
    return _knob(name, values, ordered=bool(entry["ordered"]), memory=entry["kind"] == "memory")


def _knob_by_values(name: str, rows: Sequence[Row]) -> Knob:
    texts = list(dict.fromkeys(row[name] for row in rows))
    try:
        values: list[Any] = sorted(_numeral(text) for text in texts)
    except ValueError:
        return _knob(name, texts, ordered=False, memory=False)
    return _knob(name, values, ordered=True, memory=name.startswith("memory"))


def _knob(name: str, values: Sequence[Any], *, ordered: bool, memory: bool) -> Knob:
    return Ordinal(name, values, more_is="safer" if memory else None) if ordered else Categorical(name, values)


def _space_of(knobs: Sequence[Knob], rows: Sequence[Row]) -> tuple[Space, list[int]]:
    """The configurations of rows, and for each row of the space its place in `rows`."""
    by_text = [{_text_of(value): value for value in knob.values} for knob in knobs]
    configs = [{knob.name: texts[_text_in(row[knob.name], texts)] for knob, texts in zip(knobs, by_text, strict=True)} for row in rows]
    listed = Space.from_rows(knobs, configs)  # raises where the table has a configuration twice
    grid = Space(*knobs)
    if grid.n_rows != len(rows):
        return listed, list(range(len(rows)))
    return grid, [listed.row(config) for config in grid]


def _missing(space: Space, knobs: Sequence[Knob], rows: Sequence[Row], grid: Sequence[Mapping[str, Any]] | None) -> tuple[int, int]:
    """Number of configurations that are missing of the part asked for last, and number of configurations in that part."""
    if grid:
        wanted = set(product(*([_text_of(value) for value in entry["part"]] for entry in grid)))
        have = {tuple(row[entry["name"]] for entry in grid) for row in rows}
        return len(wanted - have), len(wanted)
    n = math.prod(len(knob) for knob in knobs)
    codes = space.codes(np.arange(space.n_rows)).tolist()
    return (n - len(rows) if codes != sorted(codes) else 0), n


def _outcome(row: Row, metrics: Sequence[str], line: int) -> Outcome:
    if row["status"] != "ok":
        return Failed(row["status"], f"replayed: {row['message']}")
    readings: dict[str, Reading] = {}
    for name in metrics:
        value = _number(row, name, line)
        if value is not None:
            readings[name] = Reading(value, _number(row, f"{name}_sd", line))
    return Measured(readings, (FLAG, *row["flags"].split()))


def _number(row: Row, name: str, line: int) -> float | None:
    """The number in a cell; None where the cell is empty or there is no such column."""
    text = row.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ValueError(f"line {line} has {text!r} as its {name}, which is no number")
    return value


def _numeral(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(text) if text.lstrip("-").isdigit() else number


def _text_in(text: str, known: Mapping[str, Any]) -> str:
    """The text of a known value that means the same number: 1.50 is 1.5."""
    return text if text in known else _text_of(_numeral(text))


def _text_of(value: Any) -> str:
    """A knob's value as measure-grid writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def values_of(config: Config, outcome: Outcome) -> dict[str, float]:
    """Metrics of a run and the knobs that are numbers, as a goal may name both; empty for one that failed."""
    if isinstance(outcome, Failed):
        return {}
    known = {name: float(value) for name, value in config.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    return {**known, **outcome.values}
