"""Outputs for people (tables, plots): they may lie in any folder, never follow a link, and are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bayestuner.errors import NotPrivate
from bayestuner.files.replacing import replacing_in
from bayestuner.files.rule import kind_of, open_regular


@contextmanager
def replacing_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of an output when the body ends without an error, whole and on disk.

    Parameters
    ----------
    path : Path
        In any folder, which has to exist. A link, a device or a folder of that name is refused, not followed and not replaced.
    mode : int
        What the umask leaves of it are the new file's rights; a file that was there keeps its own, but for others' right to write.

    Raises
    ------
    OSError
        It can't be written, or is no regular file.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, f"it is {kind_of(found)}, no regular file", str(path))
            mode = stat.S_IMODE(found.st_mode) & 0o755
        with replacing_in(folder, path.name, mode, exact_mode=False) as file:
            yield file
    finally:
        os.close(folder)


def replace_file(path: Path, data: bytes) -> None:
    """Write an output whole: see `replacing_file`."""
    with replacing_file(path) as file:
        file.write(data)


def open_output(path: Path, flags: int) -> int:
    """The descriptor of an output that is gone on with (O_APPEND, O_RDWR); OSError where it is no regular file or has a second link."""
    try:
        return open_regular(os.fspath(path), flags & ~os.O_CREAT, None, path)
    except NotPrivate as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
