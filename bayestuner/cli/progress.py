"""What `tune` shows while it works: on a terminal a live line below one line per finished run, in a pipe the lines alone."""

from __future__ import annotations

import os
import shutil
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from bayestuner.cli.streams import write_now
from bayestuner.foreign_text import harmless
from bayestuner.measure.cgroup.isolation import Isolation
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.measure.metrics import POWER_METRICS
from bayestuner.report.result import came_to
from bayestuner.report.words import Units, duration, label, quantity
from bayestuner.study.study import Study
from bayestuner.trial import Measured
from bayestuner.tune import Progress, RunProgress

_TICK_S = 0.5
_PIPE_WIDTH = 120
_HEAD_WIDTH = 16
_ROLES = {"baseline": "default", "search": "", "reference": "reference", "repeat": "repeat"}


def screen_width(stream: TextIO) -> int:
    """Columns to wrap sentences at: the terminal's, or a fixed number in a pipe."""
    return shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns if stream.isatty() else _PIPE_WIDTH


def table_width(stream: TextIO) -> int | None:
    """Columns that a table has to fit in: the terminal's; None in a pipe, where nothing is to be cut off."""
    return screen_width(stream) if stream.isatty() else None


def _meter_words(meter: EnergyMeter | None) -> str:
    if meter is None:
        return "none: no power figures, no idle baseline"
    if meter.estimated:
        return f"{meter.source}, ESTIMATED, not measured; no idle baseline"
    return f"{meter.source} ({meter.boundary})"


def _name_of(run: RunProgress) -> str:
    """Number and role of a run; it has the same number in `bayestuner show`."""
    if run.role == "repeat":
        return f"{run.number + 1:>3} repeat {run.k}/{run.n}"
    return f"{run.k:>3}/{run.n} {_ROLES[run.role]}"


def make_progress(stream: TextIO) -> Lines:
    """The progress that suits the stream: with a live line on a terminal, lines alone elsewhere."""
    smart = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    return Live(stream) if smart else Lines(stream)


class Lines(Progress):
    """One line per finished run."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._units: Units | None = None
        self._estimated = False
        self._metrics: list[str] = []
        self._study: Study | None = None
        self._widths: list[int] = []

    def close(self) -> None:
        """Nothing more follows."""

    def began(self, study: Study, job: Job, *, resumed: bool, meter: EnergyMeter | None, isolation: Isolation | None) -> None:
        """Print what is about to happen."""
        self._study, self._units = study, job
        self._estimated = meter is not None and meter.estimated
        knobs = {k.name for k in study.space.knobs}
        wanted = [
            *study.goal.metrics,
            *(["power_w"] if meter is not None else []),
            "duration_s" if job.runs_to_completion else "throughput",
        ]
        self._metrics = [m for m in dict.fromkeys(wanted) if m not in knobs]
        names = [k.name for k in study.space.knobs]
        self._widths = [max(len(k.name), *(len(str(v)) for v in k.values)) for k in study.space.knobs]
        self._widths += [max(len(label(m, job, estimated=False)), len(self._quantity(m, 1.234))) for m in self._metrics]
        done = sum(r.tell_seq is not None for r in study.records())
        knob_text = " x ".join(f"{k.name} ({len(k)})" for k in study.space.knobs)
        self.line(f"{job.name}: {len(study.space)} configurations = {knob_text}, {study.info.budget} runs")
        self.line(f"  goal     {study.goal}")
        self.line(f"  meter    {_meter_words(meter)}")
        self.line(f"  limits   {isolation.name if isolation is not None else 'none'}")
        self.line(f"  study    {study.folder}" + (f", going on after {done} finished runs" if resumed else ""))
        self.line("")
        self.line(self._row("  run", [*names, *(label(m, job, estimated=False) for m in self._metrics)], ""))

    def run_finished(self, run: RunProgress) -> None:
        """Print how it ended."""
        goal = None if self._study is None else self._study.resolved_goal
        told = came_to(run.outcome, run.config, goal, room=200)
        if run.role != "repeat" and run.best is not None and run.best.number == run.number:
            told = told.replace("meets goal", "meets goal, best so far", 1)
        values = run.outcome.values if isinstance(run.outcome, Measured) else {}
        cells = [harmless(str(value)) for value in run.config.values()]
        cells += [self._quantity(m, values[m]) if m in values else "" for m in self._metrics]
        self.line(self._row(_name_of(run), cells, told))

    def note(self, text: str) -> None:
        """Print it."""
        self.line(f"note: {harmless(text)}")

    def line(self, text: str) -> None:
        """Write one line."""
        write_now(self.stream, f"{text}\n")

    def _row(self, head: str, cells: Sequence[str], end: str) -> str:
        columns = "  ".join(cell.rjust(width) for cell, width in zip(cells, self._widths, strict=True))
        row = f"{head:<{_HEAD_WIDTH}}  {columns}".rstrip()
        width = table_width(self.stream)
        if width is None or not end or len(row) + 2 + len(end) <= width:
            return f"{head:<{_HEAD_WIDTH}}  {columns}  {end}".rstrip()
        indent = " " * (len(head) - len(head.lstrip()) + 2)  # what does not fit beside the figures stands below them
        return "\n".join([row, *textwrap.wrap(end, max(width - len(indent), 20), initial_indent=indent, subsequent_indent=indent)])

    def _quantity(self, metric: str, value: float) -> str:
        estimate = " est." if self._estimated and metric in POWER_METRICS else ""
        assert self._units is not None  # noqa: S101 - `began` comes first
        return quantity(metric, value, self._units) + estimate


class Live(Lines):
    """The same, with a line below that moves while a run is on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lock = threading.Lock()
        self._run: RunProgress | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None

    def run_started(self, run: RunProgress) -> None:
        """Show the run in the live line."""
        with self._lock:
            self._run, self._since = run, time.monotonic()
            self._draw()
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()

    def run_finished(self, run: RunProgress) -> None:
        """Take the live line away and print how the run ended."""
        with self._lock:
            self._run = None
        super().run_finished(run)

    def line(self, text: str) -> None:
        """Write one line above the live one."""
        with self._lock:
            write_now(self.stream, f"{text}\n", erase_line=True)
            self._draw()

    def close(self) -> None:
        """Take the live line away."""
        self._ended.set()
        with self._lock:
            self._run = None
            write_now(self.stream, "", erase_line=True)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_S):
            with self._lock:
                if self._run is not None:
                    self._draw()

    def _draw(self) -> None:
        if self._run is not None:
            text = self._live_text(self._run)[: max(screen_width(self.stream) - 1, 10)]
            write_now(self.stream, text, erase_line=True)

    def _live_text(self, run: RunProgress) -> str:
        gone = time.monotonic() - self._since
        which = f"{run.number + 1} (repeat {run.k} of {run.n})" if run.role == "repeat" else f"{run.k} of {run.n}"
        parts = [f"run {which}, {gone:.0f} s"]
        if run.seconds_left is not None:
            parts.append(f"up to {duration(max(run.seconds_left - gone, 1.0))} left")
        if run.best is not None and self._study is not None:
            objective = self._study.goal.objective
            value = self._study.values_of(run.best).get(objective)
            if value is not None:
                parts.append(f"best so far {self._quantity(objective, value)}")
        parts.append(", ".join(f"{n}={v}" for n, v in run.config.items()))  # last: a narrow terminal cuts it off
        return "  |  ".join(parts)
