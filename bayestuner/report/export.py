"""A study as plain objects, rows of a table, or a data frame, for whoever goes on with the figures elsewhere."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayestuner.foreign_text import csv_cell
from bayestuner.measure.metrics import POWER_METRICS
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary, summarise
from bayestuner.trial import Config, Failed, Measured


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One run of a study.

    Attributes
    ----------
    number : int
        From 1, in the order of asking, as everywhere that people read.
    role : str
        ``baseline``, ``search``, ``reference`` or ``repeat``, see `bayestuner.study.store.Role`.
    config : dict
        Knob name -> value.
    state : str
        ``measured``, ``failed`` or ``running``.
    metrics, metrics_sd : dict
        Metric name -> value, and the standard deviation of its noise (None where it is not known), in the units of docs/measuring.md.
    flags : tuple of str
        What makes its figures doubtful.
    failure, message : str or None
        How it failed.
    asked_utc, told_utc : str or None
    """

    number: int
    role: str
    config: Config
    state: str
    metrics: dict[str, float]
    metrics_sd: dict[str, float | None]
    flags: tuple[str, ...]
    failure: str | None
    message: str | None
    asked_utc: str
    told_utc: str | None


@dataclass(frozen=True, slots=True)
class StudyData:
    """A study, read.

    Attributes
    ----------
    name, goal : str
    unit : str
        What an item is called.
    estimated : bool
        Whether power is a model's estimate; columns of `rows` then say so in their names.
    knobs, metrics : tuple of str
    runs : tuple of StudyRun
    recommended : dict or None
        The configuration that the study recommends.
    verdict : str or None
        ``better``, ``no_improvement`` or ``none_meets``; None while the study is not finished.
    """

    name: str
    goal: str
    unit: str
    estimated: bool
    knobs: tuple[str, ...]
    metrics: tuple[str, ...]
    runs: tuple[StudyRun, ...]
    recommended: Config | None
    verdict: str | None

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict a run, all with the same keys; what a run does not have is None."""
        return [self._row(run) for run in self.runs]

    def to_csv(self) -> str:
        """The rows as CSV with a header; texts that a spreadsheet would run as a formula have an apostrophe in front."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rows = self.rows()
        writer.writerow(map(csv_cell, rows[0] if rows else self._columns()))
        writer.writerows([csv_cell("" if value is None else str(value)) for value in row.values()] for row in rows)
        return text.getvalue()

    def to_dataframe(self) -> Any:
        """The rows as a pandas data frame.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.rows(), columns=self._columns())

    def _columns(self) -> list[str]:
        named = [self._column(metric) for metric in self.metrics]
        metrics = [column for name in named for column in (name, f"{name}_sd")]
        return ["run", "role", *self.knobs, "state", *metrics, "flags", "failure", "message", "asked_utc", "told_utc"]

    def _row(self, run: StudyRun) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        for metric in self.metrics:
            metrics |= {self._column(metric): run.metrics.get(metric), f"{self._column(metric)}_sd": run.metrics_sd.get(metric)}
        ended = {"flags": " ".join(run.flags), "failure": run.failure, "message": run.message}
        times = {"asked_utc": run.asked_utc, "told_utc": run.told_utc}
        return {"run": run.number, "role": run.role, **run.config, "state": run.state, **metrics, **ended, **times}

    def _column(self, metric: str) -> str:
        return f"estimated_{metric}" if self.estimated and metric in POWER_METRICS else metric


def load_study(path: str | Path) -> StudyData:
    """Read a study, finished or not; it is not changed.

    Raises
    ------
    StoreError
        There is no study, or it can't be read.
    """
    with Study.open(Path(path), read_only=True) as study:
        return study_data(study, summarise(study))


def study_data(study: Study, summary: Summary) -> StudyData:
    """An open study as plain objects."""
    runs = tuple(map(_run, study.records()))
    return StudyData(
        name=summary.name,
        goal=str(summary.goal),
        unit=summary.unit,
        estimated=summary.estimated,
        knobs=study.space.names,
        metrics=tuple(dict.fromkeys(metric for run in runs for metric in run.metrics)),
        runs=runs,
        recommended=None if summary.recommended is None else dict(summary.recommended.config),
        verdict=None if summary.decision is None else summary.decision.verdict,
    )


def _run(record: Record) -> StudyRun:
    outcome = record.trial.outcome
    measured = dict(outcome.metrics) if isinstance(outcome, Measured) else {}
    return StudyRun(
        number=record.trial.number + 1,
        role=record.role,
        config=dict(record.trial.config),
        state=record.trial.state,
        metrics={name: reading.value for name, reading in measured.items()},
        metrics_sd={name: reading.sd for name, reading in measured.items()},
        flags=outcome.flags if isinstance(outcome, Measured) else (),
        failure=outcome.kind if isinstance(outcome, Failed) else None,
        message=(outcome.message or None) if isinstance(outcome, Failed) else None,
        asked_utc=record.asked_utc,
        told_utc=record.told_utc,
    )
