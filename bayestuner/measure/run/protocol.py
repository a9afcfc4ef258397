"""What a job says about itself: parsers of bytes as they arrive, from the report pipe or from standard output.

Nothing a job writes may stop or mislead the runner: lines that make no sense are counted, the first is kept for the message.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from array import array

MAX_LINE_BYTES = 65536
MAX_ITEMS = 1e9
"""More items than this in one batch are taken for a mistake."""

MAX_BATCHES = 2_000_000
"""After so many batches no more are kept: the window is closed, long before memory is a matter."""

_FUTURE_NS = 50_000_000


class Reports(ABC):
    """Batch completions of one run, in order.

    Attributes
    ----------
    ready_ns : int or None
        When the job said it was ready.
    stamps_ns : array of int64, (n,)
        Completion of each batch.
    items : array of float64, (n,)
        Items of each batch.
    latencies_s : array of float64, (n,)
        What the job says a batch took from its arrival to its completion; nan where it doesn't say.
    faults : int
        Lines that made no sense.
    first_fault : str or None
        The first of them, and why.
    n_bytes : int
        Bytes read.
    """

    def __init__(self, start_ns: int) -> None:
        self.ready_ns: int | None = None
        self.stamps_ns = array("q")
        self.items = array("d")
        self.latencies_s = array("d")
        self.faults = 0
        self.first_fault: str | None = None
        self.n_bytes = 0
        self._start_ns = start_ns
        self._rest = b""
        self._skipping = False

    @property
    def full(self) -> bool:
        """True where no more batches are kept."""
        return len(self.stamps_ns) >= MAX_BATCHES

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes, read at `now_ns`; a half line waits for its other half."""
        self.n_bytes += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._line(line, now_ns)
        if len(self._rest) > MAX_LINE_BYTES:
            if not self._skipping:
                self._too_long(self._rest)
            self._skipping, self._rest = True, b""

    def _too_long(self, line: bytes) -> None:
        self._fault(line, f"a line longer than {MAX_LINE_BYTES} bytes")

    def finish(self, now_ns: int) -> None:
        """The stream has ended: a last line without its newline counts where it is whole."""
        if self._rest and not self._skipping:
            self._line(self._rest, now_ns)
        self._rest = b""

    @abstractmethod
    def _line(self, line: bytes, now_ns: int) -> None:
        """Take one whole line, without its newline."""

    def _fault(self, line: bytes, why: str) -> None:
        self.faults += 1
        if self.first_fault is None:
            shown = line[:80].decode("utf-8", "replace")
            self.first_fault = f"{shown!r}: {why}"

    def _time_problem(self, stamp_ns: int, now_ns: int) -> str | None:
        if stamp_ns > now_ns + _FUTURE_NS:
            return "a time in the future; use CLOCK_MONOTONIC in nanoseconds"
        if stamp_ns < self._start_ns:
            return "a time before the job was started; use CLOCK_MONOTONIC in nanoseconds"
        last = self.stamps_ns[-1] if self.stamps_ns else self.ready_ns
        if last is not None and stamp_ns < last:
            return "time goes backwards"
        return None

    def _items_problem(self, items: float) -> str | None:
        if not math.isfinite(items) or items <= 0:
            return "items must be a number above 0"
        return f"more than {MAX_ITEMS:g} items in one batch" if items > MAX_ITEMS else None

    def _done(self, items: float, stamp_ns: int, latency_s: float = math.nan) -> None:
        if self.ready_ns is None:  # never said ready: everything up to its first batch was start-up
            self.ready_ns = stamp_ns
        elif not self.full:
            self.stamps_ns.append(stamp_ns)
            self.items.append(items)
            self.latencies_s.append(latency_s)


class PipeReports(Reports):
    """``ready <ns>`` and ``done <items> <ns> [<latency in ns>]`` lines from the report pipe."""

    def _line(self, line: bytes, now_ns: int) -> None:
        words = line.split()
        if not words:
            return
        try:
            if words[0] == b"done" and len(words) in (3, 4):
                latency_s = _whole(words[3]) / 1e9 if len(words) == 4 else math.nan
                self._take_done(line, _number(words[1]), _whole(words[2]), latency_s, now_ns)
            elif words[0] == b"ready" and len(words) == 2:
                self._take_ready(line, _whole(words[1]), now_ns)
            else:
                self._fault(line, "neither 'ready <ns>' nor 'done <items> <ns> [<latency in ns>]'")
        except ValueError:
            self._fault(line, "not a number where one belongs")

    def _take_ready(self, line: bytes, stamp_ns: int, now_ns: int) -> None:
        problem = "ready a second time" if self.ready_ns is not None else self._time_problem(stamp_ns, now_ns)
        if problem:
            self._fault(line, problem)
        else:
            self.ready_ns = stamp_ns

    def _take_done(self, line: bytes, items: float, stamp_ns: int, latency_s: float, now_ns: int) -> None:
        problem = self._items_problem(items) or self._time_problem(stamp_ns, now_ns)
        if problem:
            self._fault(line, problem)
        else:
            self._done(items, stamp_ns, latency_s)


class OutputReports(Reports):
    """Lines of standard output, read with a program's own words; stamps are when the line was read.

    Parameters
    ----------
    throughput_regex : str
        Its group ``items`` (or its only group) is the items done since the line before; its group ``rate`` items per second since then.
    ready_regex : str, optional
        Without it the first line that `throughput_regex` finds says ready, and isn't counted.
    """

    def __init__(self, start_ns: int, throughput_regex: str, ready_regex: str | None = None) -> None:
        super().__init__(start_ns)
        self._throughput = re.compile(throughput_regex)
        self._ready = re.compile(ready_regex) if ready_regex is not None else None
        self._rate = "rate" in self._throughput.groupindex
        self._group: str | int = "rate" if self._rate else "items" if "items" in self._throughput.groupindex else 1

    def _too_long(self, line: bytes) -> None:
        """Output that isn't for us may have any form."""

    def _line(self, line: bytes, now_ns: int) -> None:
        text = line.decode("utf-8", "replace")
        if self.ready_ns is None and self._ready is not None:
            if self._ready.search(text):
                self.ready_ns = now_ns
            return
        match = self._throughput.search(text)
        if match is None:
            return
        try:
            number = float((match[self._group] or "").replace(",", ""))
        except ValueError:
            self._fault(line, "throughput_regex catches no number in it")
            return
        problem = self._items_problem(number)
        if problem:
            self._fault(line, problem)
            return
        last = self.stamps_ns[-1] if self.stamps_ns else self.ready_ns
        if self._rate and last is not None:
            number *= (now_ns - last) / 1e9
        if number > 0:
            self._done(number, now_ns)


def _whole(word: bytes) -> int:
    if len(word) > 19 or not word.isdigit():
        raise ValueError
    return int(word)


def _number(word: bytes) -> float:
    if len(word) > 40:
        raise ValueError
    return float(word)
