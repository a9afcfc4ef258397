"""Reading several counters back to back: through the C extension, or in plain Python where the extension isn't built.

The extension takes both time stamps and all counts in one call, without the interpreter in between, so the two stamps lie closer together;
the counts are the same.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class SourceKind(Enum):
    """How a counter is read; the values are the extension's ``enum bt_source_kind``."""

    MSR = 0
    PERF = 1
    TEXT = 2


@dataclass(frozen=True, slots=True)
class Source:
    """One counter to read.

    Attributes
    ----------
    fd : int
        Open descriptor.
    kind : SourceKind
    label : str
        What the counter is called in errors.
    offset : int
        MSR only: where in the file the register is.
    """

    fd: int
    kind: SourceKind
    label: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Raw counts of several counters, and CLOCK_MONOTONIC in nanoseconds before the first and after the last was read."""

    before_ns: int
    after_ns: int
    counts: tuple[int, ...]


Reader = Callable[[], Reading]
"""Reads all counters of a meter once."""


def read_plain(source: Source) -> int:
    """One raw count in plain Python; OSError, with the source's label, also for a short read and for text that is no number."""
    try:
        return _read_unnamed(source)
    except OSError as error:
        raise OSError(error.errno, error.strerror, source.label) from error


def _read_unnamed(source: Source) -> int:
    if source.kind is SourceKind.TEXT:
        text = os.pread(source.fd, 64, 0).partition(b"\n")[0]
        if not text.isdigit():
            raise OSError(errno.EINVAL, f"holds {text!r} instead of a number")
        return int(text)
    data = os.read(source.fd, 8) if source.kind is SourceKind.PERF else os.pread(source.fd, 8, source.offset)
    if len(data) != 8:  # the kernel's device never answers so, but a truncated file in its place does
        raise OSError(errno.EIO, f"{len(data)} bytes instead of 8")
    value: int = struct.unpack("=Q", data)[0]
    return value


def plain_reader(sources: Sequence[Source]) -> Reader:
    """A reader that needs nothing but Python."""

    def read() -> Reading:
        before_ns = time.monotonic_ns()
        counts = tuple(read_plain(source) for source in sources)
        return Reading(before_ns, time.monotonic_ns(), counts)

    return read


def source_table(sources: Sequence[Source]) -> Any:
    """The sources as the extension's ``struct bt_source[]``; ImportError where the extension isn't built."""
    from bayestuner._native import ffi

    table = ffi.new("struct bt_source[]", len(sources))
    for entry, source in zip(table, sources, strict=True):
        entry.fd, entry.kind, entry.offset = source.fd, source.kind.value, source.offset
    return table


def native_reader(sources: Sequence[Source]) -> Reader:
    """A reader that makes one call into the C extension; ImportError where that isn't built.

    The reader may be called from several threads, which then take turns.
    """
    from bayestuner._native import ffi, lib
    from bayestuner._native.status import check

    labels = tuple(source.label for source in sources)
    n = len(labels)
    table = source_table(sources)
    before_ns, after_ns, failed, values = ffi.new("int64_t *"), ffi.new("int64_t *"), ffi.new("int *"), ffi.new("uint64_t[]", n)
    turn = threading.Lock()
    read_all, unpack = lib.bt_read_all, ffi.unpack

    def read() -> Reading:
        with turn:
            status = read_all(table, n, before_ns, after_ns, values, failed)
            if status < 0:
                check(status, labels[failed[0]] if 0 <= failed[0] < n else "CLOCK_MONOTONIC")
            return Reading(before_ns[0], after_ns[0], tuple(unpack(values, n)))

    return read


def best_reader(sources: Sequence[Source]) -> Reader:
    """`native_reader` where the extension is built, else `plain_reader`."""
    try:
        return native_reader(sources)
    except ImportError:
        return plain_reader(sources)
