"""A stream of bytes cut into lines of bounded length."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"[\r\n]+")


class LineCutter:
    """Makes lines of bytes that come in pieces; a line ends at a newline or at a carriage return, as those of progress bars do.

    A line comes with the time at which its last byte was read, its end not counted: progress bars that begin with a carriage return end
    only when the next one is drawn.

    Parameters
    ----------
    limit : int
        Longest line in bytes. Of a longer one the first ``limit + 1`` bytes are given out at once and the rest is dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = b""
        self._read_ns = 0
        self._dropping = False

    def feed(self, data: bytes, now_ns: int) -> list[tuple[bytes, int]]:
        """Take the next bytes, read at `now_ns`; return the lines that are whole now, without their ends and without empty ones."""
        lines: list[tuple[bytes, int]] = []
        *whole, last = _LINE_END.split(data)
        for piece in whole:
            self._extend(piece, now_ns, lines)
            lines += self.rest()
        self._extend(last, now_ns, lines)
        return lines

    def rest(self) -> list[tuple[bytes, int]]:
        """The line that has begun, as if it had ended here: none or one."""
        line, self._begun, self._dropping = self._begun, b"", False
        return [(line, self._read_ns)] if line else []

    def _extend(self, piece: bytes, now_ns: int, lines: list[tuple[bytes, int]]) -> None:
        if self._dropping or not piece:
            return
        self._read_ns = now_ns
        self._begun += piece[: self._limit + 1 - len(self._begun)]
        if len(self._begun) > self._limit:
            lines.append((self._begun, now_ns))
            self._begun, self._dropping = b"", True
