"""Standard output and standard error while a command runs: whatever is printed, a terminal gets nothing from it that it would obey."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from bayestuner.foreign_text import harmless

ERASE_LINE = "\r\x1b[K"
"""Back to the beginning of the line, and erase it."""


class HarmlessStream:
    """A text stream that lets printable text and line ends through and writes everything else as visible escapes.

    Names, messages and values that come from a job or from somebody else's study are made one harmless line where they are put into a
    sentence or a table. This is the last door, for all that anybody forgets.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; return its length."""
        self._stream.write(harmless(text, keep_newlines=True))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def write_codes(self, codes: str) -> None:
        """Write codes for the terminal that are our own."""
        self._stream.write(codes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def write_codes(stream: TextIO, codes: str) -> None:
    """Write codes for the terminal that are our own, to a stream that may be a `HarmlessStream`."""
    write = stream.write_codes if isinstance(stream, HarmlessStream) else stream.write
    write(codes)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Put a `HarmlessStream` in front of standard output and standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", HarmlessStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
