"""A table of measured configurations: a CSV file with one line per run, and beside it a JSON file that says how its figures were measured.

Each line is written at once and flushed to disk, so a killed process loses no run but the one it was making. A line without its end, which
only a power failure or a full disk leaves behind, is removed when the table is opened again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bayestuner.errors import StoreError
from bayestuner.files.outputs import open_output, replace_file
from bayestuner.foreign_text import csv_cell, from_csv_cell
from bayestuner.measure.job.command import text_of
from bayestuner.measure.metrics import METRICS, POWER_METRICS, metrics_of_mode
from bayestuner.trial import Config, Failed, Measured, Outcome

VERSION = 1
_RUN_COLUMNS = {"window_s": "window_s", "startup_s": "startup_s", "duration_s": "duration_s"}
"""Column -> detail of a run; how long the whole run took is the column ``run_s`` where ``duration_s`` is a metric of it."""
_WITH_SPREAD = ("power_w", "throughput", "cpu_s_per_item", "duration_s")
_OTHER_WORDS = {"knobs": "other knobs", "job": "another job", "power": "another power meter"}
"""What all rows of a table must have in common, by its name in the JSON file -> what to call a difference."""


def metric_column(metric: str, *, estimated: bool) -> str:
    """The name of a metric's column; that of an estimated power or energy says so, as ``estimated_power_w``."""
    return f"estimated_{metric}" if estimated and metric in POWER_METRICS else metric


@dataclass(frozen=True, slots=True)
class Provenance:
    """What all runs of one table have in common, so that they can be compared.

    Attributes
    ----------
    knobs : list of str
        Names of the knobs.
    job : dict
        What is run; ``mode`` and ``metrics`` say which metrics its runs report, where they are not those of every job.
    power : dict or None
        The meter's source and boundary, and whether it is an estimate; None: no power is measured.
    """

    knobs: list[str]
    job: dict[str, Any]
    power: dict[str, Any] | None

    @property
    def estimated(self) -> bool:
        """Whether power is a model's estimate."""
        return bool(self.power and self.power["estimated"])


class Table:
    """A table: its CSV file and its JSON file.

    Parameters
    ----------
    path : Path
        The CSV file; the JSON file has the same name with the ending ``.json``.
    provenance : Provenance

    Attributes
    ----------
    rows : list of dict
        The lines of the CSV file: column -> text.
    starts : list of dict
        What was recorded at each start of measuring, the latest last.

    Raises
    ------
    StoreError
        The files can't be read or written, or were begun with another provenance.
    """

    def __init__(self, path: Path, provenance: Provenance) -> None:
        self.path = path
        self.provenance = provenance
        self.about = path.with_suffix(".json")
        if self.about == path:
            raise StoreError(f"a table is a CSV file with a JSON file of the same name beside it; don't call the table {path.name}")
        own = provenance.job.get("metrics", {})
        known = [*metrics_of_mode(provenance.job.get("mode", "batches")), *own]
        metrics = [
            metric_column(m, estimated=provenance.estimated) for m in known if provenance.power is not None or m not in POWER_METRICS
        ]
        spread = [f"{metric_column(m, estimated=provenance.estimated)}_sd" for m in (*_WITH_SPREAD, *own)]
        self._units = {name: METRICS[name].unit if name in METRICS else own[name]["unit"] for name in known}
        self._metrics = metrics
        self._spread = [name for name in spread if name.removesuffix("_sd") in metrics]
        self._run_columns = {"run_s" if column in metrics else column: detail for column, detail in _RUN_COLUMNS.items()}
        self.columns = [*provenance.knobs, "status", *metrics, *self._spread, *self._run_columns, "measured_utc", "flags", "message"]
        self.starts: list[dict[str, Any]] = []
        try:
            self.rows = self._read() if path.exists() else []
        except (OSError, ValueError) as error:
            raise StoreError(f"can't go on with the table {path}: {error}; move it away, or name another with --out") from error

    @property
    def measured(self) -> set[tuple[str, ...]]:
        """The configurations that have been measured, each as the texts of its knobs' values."""
        return {tuple(row[name] for name in self.provenance.knobs) for row in self.rows}

    def key(self, config: Config) -> tuple[str, ...]:
        """A configuration in the form in which `measured` holds it."""
        return tuple(text_of(config[name]) for name in self.provenance.knobs)

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Record in the JSON file that measuring starts, or goes on, now; `facts` describes the machine."""
        self.starts.append({"utc": _now(), "rows_before": len(self.rows), **facts})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.rows:
                replace_file(self.path, _line(self.columns))
            self._write_about()
        except OSError as error:
            raise StoreError(f"can't write the table {self.path}: {error.strerror or error}") from error

    def add(self, config: Config, outcome: Outcome, details: Mapping[str, Any]) -> None:
        """Append the line of one run; it is on disk when this returns."""
        row = self._row(config, outcome, details)
        try:
            with os.fdopen(open_output(self.path, os.O_WRONLY | os.O_APPEND), "ab") as file:
                file.write(_line([row[name] for name in self.columns]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"can't write the table {self.path}: {error.strerror or error}; what stands in it is whole") from error
        self.rows.append(row)

    def sort(self, order: Sequence[tuple[str, ...]]) -> None:
        """Put the lines into the order of the grid, given as the `key` of each configuration."""
        place = {key: i for i, key in enumerate(order)}
        rows = sorted(self.rows, key=lambda row: place.get(tuple(row[name] for name in self.provenance.knobs), len(place)))
        if rows == self.rows:
            return
        self.rows = rows
        lines = [self.columns, *([row[name] for name in self.columns] for row in self.rows)]
        replace_file(self.path, b"".join(map(_line, lines)))

    def _row(self, config: Config, outcome: Outcome, details: Mapping[str, Any]) -> dict[str, str]:
        row = dict.fromkeys(self.columns, "")
        row |= {name: text_of(config[name]) for name in self.provenance.knobs}
        row["status"] = outcome.kind if isinstance(outcome, Failed) else "ok"
        row["message"] = (outcome.message or "") if isinstance(outcome, Failed) else ""
        row["flags"] = " ".join(outcome.flags) if isinstance(outcome, Measured) else ""
        row["measured_utc"] = _now()
        if isinstance(outcome, Measured):
            for metric, reading in outcome.metrics.items():
                name = metric_column(metric, estimated=self.provenance.estimated)
                if name in row:
                    row[name] = f"{reading.value:.6g}"
                if f"{name}_sd" in row and reading.sd is not None:
                    row[f"{name}_sd"] = f"{reading.sd:.3g}"
        row |= {column: f"{details[name]:.4g}" for column, name in self._run_columns.items() if details.get(name) is not None}
        return row

    def _read(self) -> list[dict[str, str]]:
        about = json.loads(self.about.read_text(encoding="utf-8"))
        mine = self._about()
        changed = [name for name in _OTHER_WORDS if about[name] != mine[name]]
        if changed:
            other = " and ".join(_OTHER_WORDS[name] for name in changed)
            raise ValueError(f"it was begun with {other} ({self.about.name} says which)")
        self.starts = about["starts"]
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        rows = [{n: from_csv_cell(v) for n, v in row.items()} for row in csv.DictReader(io.StringIO(whole.decode("utf-8")))]
        if whole.splitlines()[:1] != _line(self.columns).splitlines():
            raise ValueError("its columns are not those of this job's table")
        if len(whole) < len(text):
            with os.fdopen(open_output(self.path, os.O_RDWR), "r+b") as file:
                file.truncate(len(whole))
        return rows

    def _about(self) -> dict[str, Any]:
        return {"version": VERSION, "knobs": self.provenance.knobs, "job": self.provenance.job, "power": self.provenance.power}

    def _write_about(self) -> None:
        units = {metric_column(name, estimated=self.provenance.estimated): unit for name, unit in self._units.items()}
        about = {**self._about(), "units": {name: units[name] for name in self._metrics}, "starts": self.starts}
        replace_file(self.about, (json.dumps(about, indent=1) + "\n").encode())


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(csv_cell, cells))
    return text.getvalue().encode("utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
