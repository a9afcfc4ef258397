"""Standard output and error as they come: closed, full, or in an encoding that lacks a character. None of that is BayesTuner's error.

A stream that is closed at the start takes nothing, as if it led to /dev/null. A character that an encoding lacks is replaced by one that it
has. A disk that is full, or a pipe that nobody reads any more, ends the command with one sentence, after whatever it has stored.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TextIO

from bayestuner.cli.output import ERASE_LINE, write_codes

_IN_ASCII = {"±": "+-", "→": "->"}
_HANDLER = "bayestuner"


class Output(io.TextIOWrapper):
    """Standard output that remembers why it could not be written, where whoever wrote to it hides that (argparse does).

    Attributes
    ----------
    failure : OSError or None
    """

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write, or raise and remember why not."""
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Flush, or raise and remember why not."""
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise


def prepare_streams() -> None:
    """Make standard input, output and error usable, whatever they are; called once, before anything is opened or printed.

    A descriptor that is closed would otherwise be given to the next file that is opened, and a job's output would go into it.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    codecs.register_error(_HANDLER, _replace)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, mode, errors=_HANDLER if number else "replace", closefd=False))  # noqa: SIM115 - it stays open to the end
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)
    if type(sys.stdout) is io.TextIOWrapper:
        given = sys.stdout
        encoding, lines, through = given.encoding, given.line_buffering, given.write_through
        sys.stdout = Output(given.detach(), encoding, _HANDLER, line_buffering=lines, write_through=through)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: characters that the encoding lacks become ones of ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(c, "?") for c in error.object[error.start : error.end]), error.end


def write_now(stream: TextIO, text: str, *, erase_line: bool = False) -> None:
    """Write progress at once, with `erase_line` in place of the terminal's last line.

    A stream that can't be written, such as a file on a full disk, must not end work whose results are stored; a pipe without reader does.

    Raises
    ------
    BrokenPipeError
    """
    try:
        if erase_line:
            write_codes(stream, ERASE_LINE)
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError:
        return


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream can write every character as it is."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def output_failure() -> OSError | None:
    """Why something that was printed could not be written; None where all of it was."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return getattr(sys.stdout, "failure", None)


def discard_output() -> None:
    """Let what is still to be printed go nowhere: at the end of the program Python would try again, and fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
