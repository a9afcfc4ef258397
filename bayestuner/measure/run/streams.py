"""The pipes of a running job: always emptied, so that no job waits for BayesTuner, while only the last lines of its output are kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Callable
from types import TracebackType

from bayestuner.foreign_text import harmless, output_text

TAIL_BYTES = 16384
"""Bytes that are kept of the end of each stream."""

MAX_LINE_SHOWN = 400
"""Characters of a line that are shown."""

_CHUNK = 65536
_CHUNKS_PER_TURN = 16


class Tail:
    """The last bytes of a stream, given out as lines of text that can be shown.

    Attributes
    ----------
    n_bytes : int
        How many bytes the whole stream had so far.
    """

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self.n_bytes = 0
        self._limit = limit
        self._kept = b""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self.n_bytes += len(data)
        self._kept = (self._kept + data)[-self._limit :]

    def lines(self, count: int = 20) -> list[str]:
        """The last lines that hold anything, each cut to `MAX_LINE_SHOWN` characters."""
        lines = (line[:MAX_LINE_SHOWN] for line in output_text(self._kept).splitlines())
        return [harmless(line) for line in lines if line.strip()][-count:]


class Streams:
    """Pipes from a job: the reports (where it reports on a pipe), standard output and standard error.

    Parameters
    ----------
    with_reports : bool
        Make a report pipe.

    Attributes
    ----------
    tails : dict of str to Tail
        The ends of ``stdout`` and ``stderr``, kept apart so that much output on one doesn't push out what the other says.
    open : set of str
        Which of ``reports``, ``stdout`` and ``stderr`` still have a writer.
    """

    def __init__(self, *, with_reports: bool) -> None:
        self.tails = {"stdout": Tail(), "stderr": Tail()}
        self.open: set[str] = set()
        self._on_data: dict[str, list[Callable[[bytes, int], None]]] = {}
        self._read: dict[str, int] = {}
        self._write: dict[str, int] = {}
        self._poll = select.poll()
        for name in ("reports", "stdout", "stderr") if with_reports else ("stdout", "stderr"):
            self._read[name], self._write[name] = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._read[name], False)
            with contextlib.suppress(OSError):  # larger pipes than 64 KiB only save wake-ups
                fcntl.fcntl(self._write[name], fcntl.F_SETPIPE_SZ, 1 << 20)
            self._poll.register(self._read[name], select.POLLIN)
            self.open.add(name)

    @property
    def output_bytes(self) -> int:
        """How many bytes the job has printed."""
        return sum(tail.n_bytes for tail in self.tails.values())

    def last_lines(self, count: int = 20) -> list[str]:
        """The last lines of output, then those of errors."""
        return [*self.tails["stdout"].lines(count), *self.tails["stderr"].lines(count)]

    def write_end(self, name: str) -> int:
        """The descriptor that the job writes to."""
        return self._write[name]

    def on_data(self, name: str, take: Callable[[bytes, int], None]) -> None:
        """Call ``take(data, now_ns)`` for what comes on a stream; several may take it, in the order in which they were named."""
        self._on_data.setdefault(name, []).append(take)

    def started(self) -> None:
        """Close the write ends, which the job has inherited: once it has closed its own too, or died, the pipes end."""
        for fd in self._write.values():
            os.close(fd)
        self._write.clear()

    def pump(self, timeout_s: float) -> bool:
        """Read what is there, waiting up to `timeout_s` for something; at most a few megabytes, so that a flood holds up nothing else.

        Returns
        -------
        bool
            True where there is more to read at once.
        """
        if not self.open:
            time.sleep(timeout_s)
            return False
        names = {fd: name for name, fd in self._read.items()}
        ready = self._poll.poll(max(0, round(timeout_s * 1000)))
        more = [self._drain(names[fd], fd) for fd, _ in ready]
        return any(more)

    def _drain(self, name: str, fd: int) -> bool:
        """Read one pipe; whether it holds more."""
        for _ in range(_CHUNKS_PER_TURN):
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return False
            if not data:
                self._poll.unregister(fd)
                self.open.discard(name)
                return False
            if name in self.tails:
                self.tails[name].add(data)
            now_ns = time.monotonic_ns()
            for take in self._on_data.get(name, ()):
                take(data, now_ns)
            if len(data) < _CHUNK:
                return False
        return True

    def close(self) -> None:
        """Close every descriptor; may be called twice."""
        self.started()
        for fd in self._read.values():
            os.close(fd)
        self._read.clear()
        self.open.clear()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
