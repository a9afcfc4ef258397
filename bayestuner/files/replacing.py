"""Files that take another one's place at once: a reader, a killed writer or the next boot finds the old one or the new one whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

PART = ".part"
"""How the name of a file ends that is being written; it begins with a dot and the name of the file whose place it will take."""


@contextmanager
def replacing_in(folder: int, name: str, mode: int, *, exact_mode: bool, sync: bool = True) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `name` in an open folder when the body ends without an error.

    Parameters
    ----------
    folder : int
        The folder's descriptor.
    name : str
    mode : int
        The new file's rights.
    exact_mode : bool
        They are these whatever the umask; else what it leaves of them.
    sync : bool
        File and folder are on disk when this returns.
    """
    beside = f".{name}.{os.urandom(8).hex()}{PART}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            if exact_mode:
                os.fchmod(fd, mode)
            yield file
            file.flush()
            if sync:
                os.fsync(fd)
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
    if sync:
        sync_folder(folder)


def sync_folder(folder: int) -> None:
    """Have an open folder's entries on disk, where the file system can do that."""
    with suppress(OSError):
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
