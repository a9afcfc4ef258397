"""Numbers out of documents that a job leaves: a JSON object, a column of a CSV file. What is wrong with one is said in a clause."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from bayestuner.measure.run.numbers import AmbiguousNumber, NotANumber, read_number

MAX_DOCUMENT_BYTES = 16 << 20
"""A larger file, or more output than that, is no summary of a run."""

_KEYS_SHOWN = 8
_OBJECT_START = re.compile(r"^\{", re.MULTILINE)
_MAX_STARTS = 1000
"""Of output with more lines that begin with a brace only the last ones are tried: each try may read all that follows."""


class Unreadable(ValueError):
    """A document, or a place in it, that gives no number; the message says why, as a clause."""


FileState = tuple[int, int, int, int] | None
"""Device, inode, size and time of change of a file; None where there is none."""


def file_state(path: Path) -> FileState:
    """By what a file can be told from what it was before."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_document(path: Path, before: FileState) -> str:
    """The text of a file that a job was to write.

    Parameters
    ----------
    path : Path
    before : tuple or None
        Its `file_state` before the job was started.

    Raises
    ------
    Unreadable
        It isn't there, is as it was before, is no plain file, too large or no text.
    """
    now = file_state(path)
    if now is None:
        raise Unreadable(f"the job did not write {path}")
    if now == before:
        raise Unreadable(f"{path} is left from before this run: the job did not write it anew")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"{path} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unreadable(f"{path} is no plain file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Unreadable(f"{path} is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is no text in UTF-8") from None


def json_object(text: str) -> Any:
    """The JSON document that a text is; raises `Unreadable`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is no JSON ({error})") from None


def last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object whose brace begins a line of a text, and that isn't inside of another one; None where there is none."""
    decoder = json.JSONDecoder()
    found, end = None, 0
    starts = [match.start() for match in _OBJECT_START.finditer(text)][-_MAX_STARTS:]
    for start in starts:
        if start < end:
            continue
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
    return found


def numbers_at(document: Any, path: str) -> list[float]:
    """The number, or the numbers of the list, at a dotted path.

    A part of the path is a key, or the place of an element in a list. A key that holds a dot itself is found too.

    Raises
    ------
    Unreadable
        There is no such place, or what is there is no number.
    """
    found = _follow(document, path)
    if found is _NOWHERE:
        keys = list(document)[:_KEYS_SHOWN] if isinstance(document, dict) else []
        has = f"; its first keys are {', '.join(map(repr, keys))}" if keys else ""
        raise Unreadable(f"has nothing at {path!r}{has}")
    return [_as_number(value, path) for value in (found if isinstance(found, list) else [found])]


_NOWHERE = object()


def _follow(document: Any, path: str) -> Any:
    if isinstance(document, dict) and path in document:
        return document[path]
    if isinstance(document, list) and path.isdecimal():
        return document[int(path)] if int(path) < len(document) else _NOWHERE
    head, dot, rest = path.partition(".")
    while dot:
        inner = _follow(document, head) if "." not in head else (document.get(head, _NOWHERE) if isinstance(document, dict) else _NOWHERE)
        found = _NOWHERE if inner is _NOWHERE else _follow(inner, rest)
        if found is not _NOWHERE:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _NOWHERE


def _as_number(value: Any, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    if isinstance(value, str):
        return number_in(value, f"at {where!r}")
    raise Unreadable(f"has {json.dumps(value)[:60]} at {where!r}, which is no number")


def number_in(text: str, where: str, decimal_mark: str | None = None) -> float:
    """The number that a text says; raises `Unreadable` with its place."""
    try:
        return read_number(text, decimal_mark)
    except NotANumber:
        if text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return float("nan")
        raise Unreadable(f"has {text[:60]!r} {where}, which is no number") from None
    except AmbiguousNumber as error:
        raise Unreadable(f"has a number {where} with two meanings: {error}") from None


def column_of(text: str, column: str) -> list[float]:
    """The numbers of a column of a CSV text with a first line of names, of the rows that have one; raises `Unreadable`."""
    rows = csv.reader(io.StringIO(text), delimiter=";" if ";" in text.partition("\n")[0] else ",")
    try:
        head = [name.strip() for name in next(rows, [])]
        if column not in head:
            raise Unreadable(f"has no column {column!r}; its columns are {', '.join(map(repr, head[:_KEYS_SHOWN])) or 'none'}")
        place = head.index(column)
        cells = [row[place] for row in rows if len(row) > place and row[place].strip()]
    except csv.Error as error:
        raise Unreadable(f"is no CSV file ({error})") from None
    if not cells:
        raise Unreadable(f"has no row with a value in the column {column!r}")
    return [number_in(cell, f"in the column {column!r}") for cell in cells]
