"""What a program that knows nothing of BayesTuner says about itself: numbers in its own words, found by the job file's expressions."""

from __future__ import annotations

import re

from bayestuner.foreign_text import output_text
from bayestuner.measure.run.bounded_search import BoundedSearch, SearchTooLong
from bayestuner.measure.run.lines import LineCutter
from bayestuner.measure.run.numbers import AmbiguousNumber, NotANumber, read_number
from bayestuner.measure.run.protocol import Reports, items_problem

MAX_SEARCHED_BYTES = 4096
"""Of a longer line only so much is searched."""


class OutputReports(Reports):
    """Lines of standard output and standard error, searched for numbers; a line's time is when its last byte was read.

    Lines end at a newline or a carriage return, and codes for the terminal (colours) are taken out before the search. Once a number was
    found in one of the two streams, the other is no longer searched for numbers: a program that logs to both must not count twice.

    Parameters
    ----------
    start_ns : int
        When the job was started, by CLOCK_MONOTONIC.
    throughput_regex : str or None
        None: no numbers are looked for.
        Its group ``rate`` is a number of items per second; its group ``items`` (or its only group) the items done since the line before.
    ready_regex : str, optional
        Without it the first line with a number above 0 says ready, and isn't counted.
    decimal_mark : {".", ","}, optional
        What stands before a fraction in the program's numbers; by default each number tells, see `read_number`.
    whole_run : bool
        Numbers count from the start on, the first included.
    search : BoundedSearch, optional
        What all searches of the run are made with.

    Attributes
    ----------
    found : int
        Lines in which `throughput_regex` found something, those before ready included.
    """

    def __init__(
        self,
        start_ns: int,
        throughput_regex: str | None,
        ready_regex: str | None = None,
        decimal_mark: str | None = None,
        *,
        whole_run: bool = False,
        search: BoundedSearch | None = None,
    ) -> None:
        super().__init__(start_ns, whole_run=whole_run)
        self.found = 0
        self._throughput = re.compile(throughput_regex) if throughput_regex is not None else None
        self._ready = re.compile(ready_regex) if ready_regex is not None else None
        groups = () if self._throughput is None else self._throughput.groupindex
        self._group: str | int = next((name for name in ("rate", "items") if name in groups), 1)
        self._decimal_mark = decimal_mark
        self._search = search or BoundedSearch()
        self._lines = {name: LineCutter(MAX_SEARCHED_BYTES) for name in ("stdout", "stderr")}
        self._stream_with_numbers: str | None = None
        self._last_ns: int | None = None
        self._ready_at_end = False

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes of standard output, read at `now_ns`; a half line waits for its other half."""
        self._take_all("stdout", self._lines["stdout"].feed(data, now_ns), len(data))

    def feed_errors(self, data: bytes, now_ns: int) -> None:
        """Take the next bytes of standard error."""
        self._take_all("stderr", self._lines["stderr"].feed(data, now_ns), len(data))

    def finish(self) -> None:
        """Take last lines that have no line end: the streams have ended."""
        was_ready = self.ready_ns is not None
        for name, lines in self._lines.items():
            self._take_all(name, lines.rest(), 0)
        self._ready_at_end = not was_ready and self.ready_ns is not None

    def why_not_ready(self) -> str:
        """What a job that wasn't ready in time has failed to say."""
        if self.faults:
            return f"no line of the job's output gave a number (the first that should have: {self.first_fault})"
        if self._ready_at_end:
            return (
                "the only line of the job's output that says it is ready had no line end (the program must end its lines, and flush them)"
            )
        if self._ready is not None:
            found = f", though throughput_regex finds something in {self.found} of them" if self.found else ""
            return f"ready_regex {self._ready.pattern!r} finds nothing in the lines of the job's output and errors{found}"
        if self.found:
            return f"each of the {self.found} lines that throughput_regex finds in the job's output says 0"
        pattern = None if self._throughput is None else self._throughput.pattern
        return f"throughput_regex {pattern!r} finds nothing in the lines of the job's output and errors"

    def _take_all(self, stream: str, lines: list[tuple[bytes, int]], n_bytes: int) -> None:
        self.n_bytes += n_bytes
        if self.unusable is not None or not lines:
            return
        with self._search.session():
            for line, read_ns in lines:
                text = output_text(line[:MAX_SEARCHED_BYTES])
                try:
                    self._take(stream, text, max(read_ns, self._last_ns or 0))
                except SearchTooLong:
                    self.unusable = (
                        f"the job file's regular expressions take too long on the job's output, at last on the line {text[:80]!r}: "
                        "write them so that fewer parts can match the same text, such as [^ ]+ instead of .*"
                    )
                except AmbiguousNumber as error:
                    self.unusable = (
                        f"a number in the job's output has two meanings: {error}, in the line {text[:80]!r}; "
                        'say which with decimal_mark = "." or "," under [job]'
                    )
                if self.unusable is not None:
                    return

    def _take(self, stream: str, line: str, now_ns: int) -> None:
        if self.ready_ns is None and self._ready is not None and self._search.search(self._ready, line):
            self.ready_ns = self._last_ns = now_ns
            return
        if self._throughput is None or self._stream_with_numbers not in (None, stream):
            return
        match = self._search.search(self._throughput, line)
        if match is None:
            return
        self.found += 1
        if self.ready_ns is not None or self._ready is None or self._whole_run:
            self._take_number(stream, line, match[self._group] or "", now_ns)

    def _take_number(self, stream: str, line: str, text: str, now_ns: int) -> None:
        try:
            number = read_number(text, self._decimal_mark)
        except NotANumber:
            self._fault(line, "throughput_regex catches no number in it")
            return
        problem = items_problem(number, zero_allowed=True)
        if problem:
            self._fault(line, problem)
            return
        self._stream_with_numbers = stream
        if self._last_ns is None and not self._whole_run:
            if number > 0:
                self.ready_ns = self._last_ns = now_ns
            return
        if self._group == "rate" and self._last_ns is not None:
            if now_ns <= self._last_ns:  # read together with the line before: no time in which anything could be done
                return
            number *= (now_ns - self._last_ns) / 1e9
        self._last_ns = now_ns
        self._add(number, now_ns)
