"""A stream of bytes cut into lines of bounded length."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"[\r\n]+")


class LineCutter:
    """Makes lines of bytes that come in pieces; a line ends at a newline or at a carriage return, as those of progress bars do.

    Parameters
    ----------
    limit : int
        Longest line in bytes. Of a longer one the first ``limit + 1`` bytes are given out at once and the rest is dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = b""
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that are whole now, without their ends and without empty ones."""
        lines: list[bytes] = []
        *whole, last = _LINE_END.split(data)
        for piece in whole:
            self._extend(piece, lines)
            lines += self.rest()
        self._extend(last, lines)
        return lines

    def rest(self) -> list[bytes]:
        """The line that has begun, as if it had ended here: none or one."""
        line, self._begun, self._dropping = self._begun, b"", False
        return [line] if line else []

    def _extend(self, piece: bytes, lines: list[bytes]) -> None:
        if self._dropping:
            return
        self._begun += piece[: self._limit + 1 - len(self._begun)]
        if len(self._begun) > self._limit:
            lines.append(self._begun)
            self._begun, self._dropping = b"", True
