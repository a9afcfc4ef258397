"""What a job says of its own metrics while it runs, and at its end: the values collected, and made one reading for each metric."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bayestuner.foreign_text import harmless, output_text
from bayestuner.measure.job.own_metrics import OwnMetric
from bayestuner.measure.run.bounded_search import BoundedSearch, SearchTooLong
from bayestuner.measure.run.documents import (
    FileState,
    Unreadable,
    column_of,
    file_state,
    json_object,
    last_object,
    number_in,
    numbers_at,
    read_document,
)
from bayestuner.measure.run.lines import LineCutter
from bayestuner.measure.run.output_reports import MAX_SEARCHED_BYTES
from bayestuner.measure.run.protocol import MAX_BATCHES
from bayestuner.measure.run.steady import FloatArray, effective_size, mean_interval
from bayestuner.trial import Reading

ENOUGH_VALUES = 4
"""From so many values on their spread says how precise what is made of them is."""

_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}
_KEPT_OUTPUT = 1 << 20


class OwnMetrics:
    """The values of a job's own metrics in one run, or in one execution.

    Parameters
    ----------
    metrics : mapping of str to OwnMetric
    folder : Path
        The folder that the job runs in.
    decimal_mark : {".", ","}, optional
        What stands before a fraction in the numbers of its output.
    search : BoundedSearch, optional
        What all searches of the run are made with.
    """

    def __init__(
        self, metrics: Mapping[str, OwnMetric], folder: Path, decimal_mark: str | None = None, search: BoundedSearch | None = None
    ) -> None:
        self._metrics = metrics
        self._folder = folder
        self._decimal_mark = decimal_mark
        self._search = search or BoundedSearch()
        self._patterns = {name: re.compile(m.place) for name, m in metrics.items() if m.source == "regex"}
        self._printed = {name: m.place for name, m in metrics.items() if m.source == "json" and m.file is None}
        longest = _KEPT_OUTPUT if self._printed else MAX_SEARCHED_BYTES  # an object may be one long line
        self._lines = {"stdout": LineCutter(longest), "stderr": LineCutter(MAX_SEARCHED_BYTES)}
        self._output = b""
        self._stamped: dict[str, list[tuple[int, float]]] = {name: [] for name in metrics}
        self._at_end: dict[str, list[float]] = {name: [] for name in metrics}
        self._problems: dict[str, str] = {}
        self._before: dict[str, FileState] = {m.file: file_state(folder / m.file) for m in metrics.values() if m.file is not None}

    @property
    def reads_output(self) -> bool:
        """Whether what the job prints has to be fed."""
        return bool(self._patterns or self._printed)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes of standard output, read at `now_ns`."""
        if self._printed:
            self._output = (self._output + data)[-_KEPT_OUTPUT:]
        self._take("stdout", self._lines["stdout"].feed(data, now_ns))

    def feed_errors(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes of standard error."""
        self._take("stderr", self._lines["stderr"].feed(data, now_ns))

    def finish(self, reported: Sequence[tuple[str, int, float]]) -> None:
        """Take what is there once the job has ended: last lines, documents, and what came on the report pipe, see `Reports.values`."""
        for stream, lines in self._lines.items():
            self._take(stream, lines.rest())
        for name, stamp_ns, number in reported:
            metric = self._metrics.get(name)
            if metric is not None and metric.source == "pipe":
                self._add(name, stamp_ns, number)
        for name, metric in self._metrics.items():
            if metric.file is not None:
                self._read_file(name, metric)
            elif metric.source == "json" and not self._stamped[name]:
                self._read_printed(name, metric)

    def readings(self, start_ns: int, end_ns: int) -> tuple[dict[str, Reading], dict[str, str]]:
        """One reading of each metric over a span of time, and of each that has none why, as a clause.

        Values that come while the job runs count where they were said within the span; of a job that says them only outside of it, such
        as an accuracy that is found before the first batch, all count. So does what the job leaves at its end.
        """
        found: dict[str, Reading] = {}
        problems = dict(self._problems)
        for name, metric in self._metrics.items():
            if name in problems:
                continue
            stamped = self._stamped[name]
            values = [v for stamp, v in stamped if start_ns < stamp <= end_ns] or [v for _, v in stamped]
            values = [metric.scale * v for v in values + self._at_end[name]]
            wrong = next((v for v in values if not math.isfinite(v) or v < 0), None)
            if not values:
                problems[name] = self._why_none(metric)
            elif wrong is not None:
                problems[name] = f"one of its values is {wrong:g}, and a metric is a finite number that isn't below 0"
            else:
                found[name] = combined(values, metric.combine)
        return found, problems

    def _take(self, stream: str, lines: list[tuple[bytes, int]]) -> None:
        if not lines or not self.reads_output:
            return
        if self._patterns:
            with self._search.session():
                for line, read_ns in lines:
                    text = output_text(line[:MAX_SEARCHED_BYTES])
                    for name, pattern in self._patterns.items():
                        if name not in self._problems:
                            self._search_in(name, pattern, text, read_ns)
        if stream == "stdout" and self._printed:
            for line, read_ns in lines:
                if line.lstrip().startswith(b"{"):
                    self._take_object(line, read_ns)

    def _search_in(self, name: str, pattern: re.Pattern[str], line: str, read_ns: int) -> None:
        try:
            match = self._search.search(pattern, line)
        except SearchTooLong:
            self._problems[name] = (
                f"its regex takes too long on the job's output, at last on the line {line[:80]!r}: write it so that fewer parts can match "
                "the same text, such as [^ ]+ instead of .*"
            )
            return
        if match is None:
            return
        try:
            text = match["value" if "value" in pattern.groupindex else 1] or ""
            number = number_in(text, f"in the line {line[:80]!r}", self._decimal_mark)
        except Unreadable as why:
            self._problems[name] = f"what its regex finds {why}; let the group catch the digits alone"
            return
        self._add(name, read_ns, number)

    def _take_object(self, line: bytes, read_ns: int) -> None:
        """A line that is a JSON object by itself."""
        try:
            document = json_object(line.decode("utf-8", "replace"))
        except Unreadable:
            return
        for name, path in self._printed.items():
            try:
                numbers = numbers_at(document, path)
            except Unreadable:  # not every object has to hold every metric
                continue
            for number in numbers:
                self._add(name, read_ns, number)

    def _read_printed(self, name: str, metric: OwnMetric) -> None:
        document = last_object(self._output.decode("utf-8", "replace"))
        if document is None:
            return
        try:
            self._at_end[name] += numbers_at(document, metric.place)
        except Unreadable as why:
            self._problems[name] = harmless(f"the last JSON object that the job printed {why}")

    def _read_file(self, name: str, metric: OwnMetric) -> None:
        assert metric.file is not None  # noqa: S101 - narrows the type
        path = self._folder / metric.file
        try:
            text = read_document(path, self._before[metric.file])
        except Unreadable as why:
            self._problems[name] = harmless(str(why))
            return
        try:
            found = numbers_at(json_object(text), metric.place) if metric.source == "json" else column_of(text, metric.place)
        except Unreadable as why:
            self._problems[name] = harmless(f"{path} {why}")
            return
        self._at_end[name] += found

    def _add(self, name: str, stamp_ns: int, number: float) -> None:
        if len(self._stamped[name]) < MAX_BATCHES:
            self._stamped[name].append((stamp_ns, number))

    def _why_none(self, metric: OwnMetric) -> str:
        if metric.source == "pipe":
            return (
                f"no line 'value {metric.name} <number> <ns>' came on the report pipe (bayestuner.measure.reporter.value writes one); or "
                "say with regex, json or csv where its values are"
            )
        if metric.source == "regex":
            return f"its regex {metric.place!r} finds nothing in the lines of the job's output and errors"
        more = f" in its last {_KEPT_OUTPUT >> 20} MiB" if len(self._output) >= _KEPT_OUTPUT else ""
        return f"no JSON object begins a line of the job's standard output{more}"


def combined(values: Sequence[float], how: str) -> Reading:
    """Several values as one, with its standard error where there are enough of them to tell.

    That of a quantile is half the distance between the values one standard error of its rank to either side, where those ranks exist.

    Parameters
    ----------
    values : sequence of float, (n,)
        In the order in which they came; n > 0.
    how : str
        A choice of the key ``combine``.
    """
    y = np.asarray(values, dtype=np.float64)
    if how == "last":
        return Reading(float(y[-1]))
    if how == "max":
        return Reading(float(y.max()))
    if how in _QUANTILES:
        return _quantile(y, _QUANTILES[how])
    interval = mean_interval(y)
    times = y.size if how == "sum" else 1
    return Reading(times * interval.mean, times * interval.se if y.size >= ENOUGH_VALUES else None)


def _quantile(y: FloatArray, share: float) -> Reading:
    value = float(np.quantile(y, share))
    gaps = y - y.mean()
    power = float(gaps @ gaps)
    n_eff = effective_size(gaps, power) if power > 0.0 else float(y.size)
    spread = math.sqrt(share * (1.0 - share) / n_eff)
    if y.size < ENOUGH_VALUES or share + spread >= 1.0 or share - spread <= 0.0:
        return Reading(value)
    low, high = np.quantile(y, [share - spread, share + spread])
    return Reading(value, float(high - low) / 2.0)
