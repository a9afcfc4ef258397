"""A folder that only this user and root can change, and the files in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bayestuner.errors import NotPrivate
from bayestuner.files.replacing import replacing_in, sync_folder
from bayestuner.files.rule import believed_owners, check_private, check_regular, open_regular, walk

SECRET_NAME = "secret"  # noqa: S105 - the name of a file
SECRET_BYTES = 32
LIMIT_BYTES = 1 << 28
"""No file that is read whole is larger."""


class PrivateFolder:
    """A folder that only this user and root can change, held open; its files are reached through the descriptor, never by its path.

    Made by `PrivateFolder.open`; a context manager.

    Attributes
    ----------
    path : Path
        The folder's absolute path without links and without ``..``.
    fd : int
        The descriptor.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def open(cls, path: str | Path, *, make: bool = False, trust_sudo_caller: bool = False) -> PrivateFolder:
        """Walk to a folder and check each step.

        Parameters
        ----------
        path : path
        make : bool
            Make what is missing of it, each folder with mode 0700 whatever the umask is.
        trust_sudo_caller : bool
            The folders that lead there may also belong to the user who became root by sudo. Not for what is run or written into the
            machine's settings.

        Raises
        ------
        NotPrivate
            Somebody else could change what it holds; the message names the folder in the way and has no full stop, so that the caller can
            add what else may be done.
        OSError
            It is missing (and `make` is false), or can't be made or opened.
        """
        real, fd = walk(os.fspath(path), make=make, trust_sudo_caller=trust_sudo_caller)
        return cls(Path(real), fd)

    def close(self) -> None:
        """Let go of the folder; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """The names of what lies in it, sorted."""
        return sorted(os.listdir(self.fd))  # noqa: PTH208 - of a descriptor

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """The descriptor of a file in it; a new one (O_CREAT) gets mode 0600.

        Raises
        ------
        NotPrivate
            It is a link, a pipe, a device or a folder, has a second link, or could have been changed by others.
        OSError
            It is missing or can't be opened.
        """
        fd = open_regular(name, flags, self.fd, self.path / name)
        try:
            check_private(os.fstat(fd), str(self.path / name), believed_owners())
        except BaseException:
            os.close(fd)
            raise
        return fd

    def check(self, name: str) -> bool:
        """Whether there is such a file; raises `NotPrivate` where it breaks the rule. It opens nothing, so that it disturbs no lock."""
        where = str(self.path / name)
        try:
            status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        check_regular(status, where)
        check_private(status, where, believed_owners())
        return True

    def read(self, name: str, limit: int = LIMIT_BYTES) -> bytes:
        """The bytes of a file in it, at most `limit`; errors as for `open_file`."""
        with os.fdopen(self.open_file(name), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(self.path / name))
        return data

    def replace(self, name: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
        """Put a file in the place of `name` at once: another process, or the next boot, finds the old one or the new one whole."""
        with self.replacing(name, mode=mode, sync=sync) as file:
            file.write(data)

    @contextmanager
    def replacing(self, name: str, *, mode: int = 0o600, sync: bool = True) -> Iterator[BinaryIO]:
        """A new file to write to, which takes the place of `name` when the body ends without an error."""
        with replacing_in(self.fd, name, mode, exact_mode=True, sync=sync) as file:
            yield file

    def remove(self, name: str) -> None:
        """Remove a file, where there is one."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def sync(self) -> None:
        """Have the folder's entries on disk, where the file system can do that."""
        sync_folder(self.fd)

    def secret(self) -> bytes:
        """Random bytes that only this user can read, made at the first use: the key that what is kept here is signed with.

        Where two processes make it at once the later one's stays; what the other signed meanwhile is not believed and made again.
        """
        with suppress(FileNotFoundError):
            fd = self.open_file(SECRET_NAME)
            with os.fdopen(fd, "rb") as file:
                unseen = not os.fstat(fd).st_mode & (stat.S_IRGRP | stat.S_IROTH)
                found = file.read(SECRET_BYTES + 1)
            if unseen and len(found) == SECRET_BYTES:
                return found
        self.replace(SECRET_NAME, os.urandom(SECRET_BYTES))
        return self.read(SECRET_NAME, SECRET_BYTES)


def why_unusable(path: str | Path, *, trust_sudo_caller: bool = False) -> str | None:
    """Why a folder can't be believed, or can't be made or written; None where it can. It makes nothing."""
    try:
        real, fd = walk(os.fspath(path), make=False, trust_sudo_caller=trust_sudo_caller, as_far_as_it_is=True)
    except NotPrivate as reason:
        return str(reason)
    except OSError as error:
        return f"{path} can't be opened: {error.strerror}"
    with PrivateFolder(Path(real), fd) as folder:
        return None if os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd) else f"{real} can't be written"
