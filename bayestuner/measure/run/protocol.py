"""What a job says about itself on the report pipe; `Reports` is what every way of reporting comes to.

Nothing a job writes may stop or mislead the runner: lines that make no sense are counted, the first is kept for the message.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array

from bayestuner.measure.run.lines import LineCutter

MAX_LINE_BYTES = 65536
MAX_ITEMS = 1e9
"""More items than this in one batch are taken for a mistake."""

MAX_BATCHES = 2_000_000
"""After so many batches no more are kept: the window is closed, long before memory is a matter."""

_FUTURE_NS = 50_000_000  # how far ahead of our own clock a stamp may be


class Reports(ABC):
    """Batch completions of one run, in order.

    Attributes
    ----------
    ready_ns : int or None
        When the job said it was ready, by CLOCK_MONOTONIC.
    stamps_ns : array of int64, (n,)
        When each batch was completed.
    items : array of float64, (n,)
        Items of each batch.
    latencies_s : array of float64, (n,)
        What the job says a batch took from its arrival to its completion; nan where it doesn't say.
    faults : int
        Lines that made no sense.
    first_fault : str or None
        The first of them, and why.
    unusable : str or None
        Why nothing that the job says can be used, as one sentence: the run has failed.
    n_bytes : int
        Bytes read.
    values : list of (str, int, float)
        Values of the job's own metrics: name, when (CLOCK_MONOTONIC), number.

    Parameters
    ----------
    start_ns : int
        When the job was started, by CLOCK_MONOTONIC.
    whole_run : bool
        Everything counts from the start on, where the job never says that it is ready; otherwise its first batch says so and isn't counted.
    """

    def __init__(self, start_ns: int, *, whole_run: bool = False) -> None:
        self.ready_ns: int | None = None
        self.stamps_ns = array("q")
        self.items = array("d")
        self.latencies_s = array("d")
        self.faults = 0
        self.first_fault: str | None = None
        self.unusable: str | None = None
        self.n_bytes = 0
        self.values: list[tuple[str, int, float]] = []
        self._start_ns = start_ns
        self._whole_run = whole_run

    @property
    def full(self) -> bool:
        """True where no more batches are kept."""
        return len(self.stamps_ns) >= MAX_BATCHES

    @abstractmethod
    def feed(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes, read at `now_ns`; a half line waits for its other half."""

    @abstractmethod
    def finish(self) -> None:
        """Take a last line that has no line end: the stream has ended."""

    @abstractmethod
    def why_not_ready(self) -> str:
        """What a job that wasn't ready in time has failed to say, as the beginning of a sentence."""

    def _fault(self, line: str, why: str) -> None:
        self.faults += 1
        if self.first_fault is None:
            self.first_fault = f"{line[:80]!r}: {why}"

    def _add(self, items: float, stamp_ns: int, latency_s: float = math.nan) -> None:
        if not self.full:
            self.stamps_ns.append(stamp_ns)
            self.items.append(items)
            self.latencies_s.append(latency_s)


class PipeReports(Reports):
    """``ready <ns>``, ``done <items> <ns> [<latency in ns>]`` and ``value <name> <number> <ns>`` lines from the report pipe."""

    def __init__(self, start_ns: int, *, whole_run: bool = False) -> None:
        super().__init__(start_ns, whole_run=whole_run)
        self._lines = LineCutter(MAX_LINE_BYTES)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes, read at `now_ns`; a half line waits for its other half."""
        self.n_bytes += len(data)
        for line, read_ns in self._lines.feed(data, now_ns):
            self._take(line, read_ns)

    def finish(self) -> None:
        """Take a last line that has no line end: the stream has ended."""
        for line, read_ns in self._lines.rest():
            self._take(line, read_ns)

    def why_not_ready(self) -> str:
        """What a job that wasn't ready in time has failed to say."""
        if self.faults:
            return f"the job reported nothing usable (first report line {self.first_fault})"
        if not self.n_bytes:
            return (
                "the job reported nothing (it must write 'ready' and 'done' lines to the pipe in BAYESTUNER_FD, as "
                "bayestuner.measure.reporter does, or the job file needs throughput_regex)"
            )
        return "the job was not ready"

    def _take(self, line: bytes, now_ns: int) -> None:
        words = line.split()
        text = line[:80].decode("utf-8", "replace")
        if len(line) > MAX_LINE_BYTES:
            self._fault(text, f"a line longer than {MAX_LINE_BYTES} bytes")
            return
        if not words:
            return
        try:
            if words[0] == b"done" and len(words) in (3, 4):
                latency_s = _whole(words[3]) / 1e9 if len(words) == 4 else math.nan
                self._take_done(text, _number(words[1]), _whole(words[2]), latency_s, now_ns)
            elif words[0] == b"ready" and len(words) == 2:
                self._take_ready(text, _whole(words[1]), now_ns)
            elif words[0] == b"value" and len(words) == 4:
                self._take_value(text, words[1].decode("ascii"), _number(words[2]), _whole(words[3]), now_ns)
            else:
                self._fault(text, "none of 'ready <ns>', 'done <items> <ns> [<latency in ns>]' and 'value <name> <number> <ns>'")
        except ValueError:
            self._fault(text, "not a number where one belongs")

    def _take_ready(self, line: str, stamp_ns: int, now_ns: int) -> None:
        problem = "ready a second time" if self.ready_ns is not None else self._time_problem(stamp_ns, now_ns)
        if problem:
            self._fault(line, problem)
        else:
            self.ready_ns = stamp_ns

    def _take_done(self, line: str, items: float, stamp_ns: int, latency_s: float, now_ns: int) -> None:
        problem = items_problem(items, zero_allowed=False) or self._time_problem(stamp_ns, now_ns)
        if problem:
            self._fault(line, problem)
        elif self.ready_ns is None and not self._whole_run:  # never said ready: everything up to its first batch was start-up
            self.ready_ns = stamp_ns
        else:
            self._add(items, stamp_ns, latency_s)

    def _take_value(self, line: str, name: str, number: float, stamp_ns: int, now_ns: int) -> None:
        if stamp_ns > now_ns + _FUTURE_NS or stamp_ns < self._start_ns:
            self._fault(line, "a time that lies not between the job's start and now; use CLOCK_MONOTONIC in nanoseconds")
        elif len(self.values) < MAX_BATCHES:
            self.values.append((name, stamp_ns, number))

    def _time_problem(self, stamp_ns: int, now_ns: int) -> str | None:
        if stamp_ns > now_ns + _FUTURE_NS:
            return "a time in the future; use CLOCK_MONOTONIC in nanoseconds"
        if stamp_ns < self._start_ns:
            return "a time before the job was started; use CLOCK_MONOTONIC in nanoseconds"
        last = self.stamps_ns[-1] if self.stamps_ns else self.ready_ns
        if last is not None and stamp_ns < last:
            return "time goes backwards"
        return None


def items_problem(items: float, *, zero_allowed: bool) -> str | None:
    """Why a number can't be that of a batch's items, or None."""
    if not math.isfinite(items) or items < 0 or (items == 0 and not zero_allowed):
        return f"items must be a number {'of at least' if zero_allowed else 'above'} 0"
    return f"more than {MAX_ITEMS:g} items in one batch" if items > MAX_ITEMS else None


def _whole(word: bytes) -> int:
    if len(word) > 19 or not word.isdigit():
        raise ValueError
    return int(word)


def _number(word: bytes) -> float:
    if len(word) > 40:
        raise ValueError
    return float(word)
