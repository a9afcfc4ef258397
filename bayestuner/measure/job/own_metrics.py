"""The [metrics] section of a job file: metrics of the job's own, each with its unit and the place that its values come from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bayestuner.measure.job.keys import ReportMistake, check_table
from bayestuner.measure.job.schema import METRIC_KEYS
from bayestuner.measure.metrics import METRICS

Source = Literal["pipe", "regex", "json", "csv"]
_SOURCES: tuple[Source, ...] = ("regex", "json", "csv")

TABLE_COLUMNS = frozenset({"status", "window_s", "startup_s", "run_s", "measured_utc", "flags", "message"})
"""Columns that tables of `measure-grid` have beside knobs and metrics."""

_UNITS_IN_NAMES = {"s", "ms", "us", "ns", "w", "mw", "j", "kj", "bytes", "kib", "mib", "gib", "mb", "gb", "hz", "mhz", "ghz"}


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """A metric that a job file describes.

    Attributes
    ----------
    name, unit, about : str
        What it is called, its unit as people read it, and one line about it.
    source : {"pipe", "regex", "json", "csv"}
        Where its values come from: ``value`` lines of the report pipe, lines of output, a JSON document, a column of a CSV file.
    place : str
        The regular expression, the dotted path or the name of the column; empty for the pipe.
    file : str or None
        The file that holds the document, from the job's folder; None: the job prints it.
    scale : float
        Every value is multiplied by it.
    combine : str
        How several values become one: last, mean, median, p90, p99, max or sum.
    """

    name: str
    unit: str
    about: str
    source: Source
    place: str
    file: str | None
    scale: float
    combine: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form: what must stay the same for two values of it to be comparable, and its unit and words."""
        return {name: getattr(self, name) for name in ("unit", "about", "source", "place", "file", "scale", "combine")}


def build_metrics(table: Mapping[str, Any], knobs: Collection[str], report: ReportMistake, *, read_by_output: bool) -> dict[str, OwnMetric]:
    """Make the metrics of the [metrics] section; one that is wrong is reported and left out.

    Parameters
    ----------
    table : dict
        The section as read.
    knobs : collection of str
        Names of the job's knobs: a goal could not tell a metric of the same name apart.
    report : callable
    read_by_output : bool
        The job has a throughput_regex or a ready_regex: it gets no report pipe.
    """
    made: dict[str, OwnMetric] = {}
    for name, given in table.items():
        key = f"metrics.{name}"
        if not isinstance(given, dict):
            report(key, "expected a table, as in { unit = \"ms\", regex = 'took ([0-9.]+) ms' }")
            continue
        problem = _name_problem(name, knobs)
        if problem:
            report(key, problem)
        mistakes: list[str] = []

        def note(where: str, what: str, mistakes: list[str] = mistakes) -> None:
            mistakes.append(where)
            report(where, what)

        found = check_table(given, METRIC_KEYS, key, note)
        if mistakes:
            continue
        metric = _build(name, found, note, read_by_output=read_by_output)
        if metric is not None and not problem:
            made[name] = metric
    return made


def _build(name: str, found: Mapping[str, Any], report: ReportMistake, *, read_by_output: bool) -> OwnMetric | None:
    """Make one metric of its keys, each of which is right by itself; None where they don't fit together."""
    key = f"metrics.{name}"
    sources = [source for source in _SOURCES if found[source] is not None]
    if len(sources) > 1:
        report(f"{key}.{sources[1]}", f"given beside {sources[0]}; a metric comes from one place")
        return None
    source: Source = sources[0] if sources else "pipe"
    place, file = found[source] if sources else "", found["file"]
    problem = _place_problem(source, place, file, read_by_output=read_by_output)
    if problem:
        report(f"{key}.{source}" if sources else key, problem)
        return None
    ending = name.lower().rpartition("_")[2]
    if "_" in name and ending in _UNITS_IN_NAMES and found["unit"].lower() != ending:
        report(f"{key}.unit", f"the name says that the unit is {ending}, but this says {found['unit']!r}; make both the same")
        return None
    return OwnMetric(name, found["unit"], found["about"], source, place, file, found["scale"], found["combine"])


def _name_problem(name: str, knobs: Collection[str]) -> str | None:
    if not name.isidentifier() or not name.isascii():
        return "a metric's name is a word of letters, digits and underscores that doesn't begin with a digit"
    if name in METRICS:
        return f"{name!r} is the name of a metric that runs report by themselves; call this one something else"
    if name in knobs:
        return f"{name!r} is the name of a knob too; call one of them something else"
    if name in TABLE_COLUMNS or name.endswith("_sd") or name.startswith("estimated_"):
        return f"{name!r} is the name of another column of the tables that measure-grid writes; call the metric something else"
    return None


def _place_problem(source: Source, place: str, file: str | None, *, read_by_output: bool) -> str | None:
    """Why values can't come from that place, or None."""
    if source == "pipe":
        if file is not None:
            return "has a file, but neither json nor csv says where in it the values are; give one of them"
        if read_by_output:
            return "comes from the report pipe, which a job with throughput_regex or ready_regex doesn't get; give regex, json or csv"
    if source == "regex":
        if file is not None:
            return "is searched in what the job prints, not in a file; leave file out, or read the file with json or csv"
        compiled = re.compile(place)
        if "value" not in compiled.groupindex and compiled.groups != 1:
            return "needs one group that catches the number: (?P<value>...), or a pair of brackets alone"
    if source == "csv" and file is None:
        return "needs file, the CSV file that the job writes"
    if source in ("json", "csv") and not place.strip():
        return "is empty; name the key or the column"
    return None
