"""The SQLite file of a study: made private, opened for writing or reading, and its errors turned into one clear sentence each.

A study that somebody else could have changed is never opened for writing, since SQLite would obey what lies beside the file (a journal may
name any file to be removed), and is read from a private copy. Whatever file is read, SQLite runs no code of it: views and triggers are not
there (`bayestuner.study.layout`), functions in its schema are not trusted, and no query may take longer than `QUERY_SECONDS`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bayestuner.errors import NotPrivate, StoreError
from bayestuner.files.private import PrivateFolder
from bayestuner.files.replacing import sync_folder
from bayestuner.files.rule import believed_owners, check_private, check_regular, open_regular
from bayestuner.foreign_text import harmless
from bayestuner.study.forms import WrongForm
from bayestuner.study.owner import LOCK_NAME

FILE_NAME = "study.sqlite"
SIDE_FILES = tuple(FILE_NAME + end for end in ("-wal", "-shm", "-journal"))
_ALL_FILES = (FILE_NAME, *SIDE_FILES, LOCK_NAME)
LARGEST_BYTES = 1 << 30
"""A study of somebody else that is larger is not copied to be read."""
LARGEST_TEXT = 1 << 26
"""Bytes of one column; what a run reports is far less."""
QUERY_SECONDS = 30.0
_BUSY_TIMEOUT_S = 60.0
_LONGEST_REASON = 200  # characters of what SQLite says
_STEPS_BETWEEN_LOOKS = 20_000  # of SQLite's virtual machine: about a millisecond


class Connection(sqlite3.Connection):
    """A connection whose queries end: each by itself, by its deadline, or by a signal."""

    stopped_by: BaseException | None = None
    folder_to_remove: Path | None = None
    _deadline = 0.0

    def guard(self) -> None:
        """Trust nothing of the file: see the module."""
        self.execute("PRAGMA trusted_schema=OFF")
        self.execute("PRAGMA cell_size_check=ON")
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_TEXT)
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        looks = self._looks()
        next(looks)
        self.set_progress_handler(looks.__next__, _STEPS_BETWEEN_LOOKS)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """Run a statement; its deadline counts from here."""
        self._deadline = time.monotonic() + QUERY_SECONDS
        return super().execute(*args)

    def close(self) -> None:
        """Close it, and remove the private copy where it reads one."""
        super().close()
        if self.folder_to_remove is not None:
            shutil.rmtree(self.folder_to_remove, ignore_errors=True)

    def _looks(self) -> Iterator[int]:
        """What SQLite is told each time it asks, while it works, whether to stop.

        A signal's handler runs where Python comes to run again: here, at the `yield`, within the `try`. In a plain function it would be
        before the first line, and what it raises would be lost in C; so it is kept, and raised by `clear_errors`.
        """
        stop = 0
        while True:
            try:
                yield stop
                stop = 0
                if time.monotonic() > self._deadline:
                    raise StoreError(f"reading it took more than {QUERY_SECONDS:g} s; it is damaged, or no study")
            except GeneratorExit:
                raise
            except BaseException as error:
                self.stopped_by = error
                stop = 1


def make_private_file(folder: Path) -> None:
    """Make the folder (0700) and the file (0600); raise `StoreError` where the folder can't hold a study."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, not a folder; name a folder for the study")
    if folder.is_dir() and not (folder / FILE_NAME).exists() and any(entry.name != LOCK_NAME for entry in folder.iterdir()):
        raise StoreError(f"{folder} holds other things and no study; name a new or empty folder with --study")
    try:
        if os.geteuid() == 0:
            PrivateFolder.open(folder, make=True, trust_sudo_caller=True).close()
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = why_not_ours(folder)
    except NotPrivate as error:
        reason = str(error)
    if reason is not None:
        raise StoreError(f"{folder} can't hold a study of this user: {reason}; name a new folder with --study")
    os.close(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    for new in (folder, folder.absolute().parent):  # a folder that is not on disk takes its files with it
        sync_folder_at(new)


def connect(folder: Path) -> Connection:
    """Open for reading and writing.

    Raises
    ------
    StoreError
        Somebody else could have changed the folder, the file or what SQLite keeps beside it.
    """
    reason = why_not_ours(folder)
    if reason is not None:
        raise StoreError(f"{folder} is not written to: {reason}; go on with a copy of it that is yours (cp -r), or as its owner")
    connection = sqlite3.connect(
        folder / FILE_NAME, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=Connection
    )
    return _guarded(connection)


def connect_read_only(folder: Path) -> Connection:
    """Open for reading, also in a folder that can't be written; a study that others could have changed is read from a private copy."""
    if why_not_ours(folder) is not None:
        return _connect_to_copy(folder)
    file = folder / FILE_NAME
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    immutable = "" if writable or (folder / f"{FILE_NAME}-wal").exists() else "&immutable=1"
    return _guarded(_connect_uri(file, f"mode=ro{immutable}"))


def why_not_ours(folder: Path) -> str | None:
    """Why a study can't be believed to be of this user (or root) alone; None where it can.

    For root on the whole way to it: whoever may write a folder on the way could put another one in its place. For other users the folder
    and its files count: they often work below folders of a project that several may write.
    """
    try:
        if os.geteuid() == 0:
            with PrivateFolder.open(folder, trust_sudo_caller=True) as private:
                for name in _ALL_FILES:
                    private.check(name)
            return None
        check_private(folder.stat(), str(folder), believed_owners())
        for name in _ALL_FILES:
            with suppress(FileNotFoundError):
                status = (folder / name).lstat()
                check_regular(status, str(folder / name))
                check_private(status, str(folder / name), believed_owners())
    except NotPrivate as reason:
        return str(reason)
    return None


def _connect_uri(file: Path, options: str) -> Connection:
    uri = f"{file.resolve().as_uri()}?{options}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=Connection)


def _connect_to_copy(folder: Path) -> Connection:
    """Open a copy of the file and of its write-ahead log; nothing else that lies there is looked at, a journal least of all."""
    private = Path(tempfile.mkdtemp(prefix="bayestuner-study-"))
    try:
        _copy(folder, FILE_NAME, private)
        with suppress(FileNotFoundError):
            _copy(folder, f"{FILE_NAME}-wal", private)
        connection = _connect_uri(private / FILE_NAME, "mode=rw")
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise
    connection.folder_to_remove = private
    return _guarded(connection)


def _copy(folder: Path, name: str, private: Path) -> None:
    try:
        fd = _open_in(folder, name)
    except NotPrivate as reason:
        raise StoreError(f"{folder} can't be read: {reason}") from None
    with os.fdopen(fd, "rb") as source, (private / name).open("xb") as target:
        if os.fstat(source.fileno()).st_size > LARGEST_BYTES:
            raise StoreError(f"{folder / name} is of somebody else and larger than {LARGEST_BYTES >> 20} MiB, so it is not read")
        shutil.copyfileobj(source, target)


def _open_in(folder: Path, name: str) -> int:
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_regular(name, os.O_RDONLY, here, folder / name)
    finally:
        os.close(here)


def _guarded(connection: Connection) -> Connection:
    try:
        connection.guard()
    except BaseException:
        connection.close()
        raise
    return connection


def remove_file(folder: Path) -> None:
    """Remove the file and what SQLite keeps beside it, then the folder where it is empty."""
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal", LOCK_NAME):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def sync_folder_at(folder: Path) -> None:
    """Have a folder's entries on disk, where it may be opened and the file system can do that."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder(fd)
        finally:
            os.close(fd)


@contextmanager
def clear_errors(folder: Path, connection: Connection | None = None) -> Iterator[None]:
    """Turn errors of SQLite and the operating system into `StoreError` with one sentence; a signal that ended a query goes through."""
    try:
        yield
    except StoreError as error:
        if isinstance(error, WrongForm):
            raise StoreError(f"{folder} can't be used: {error}; put back a copy of it or name another study") from error
        raise
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last of a text, or of SQLite's own words, that is no UTF-8
        stopped_by = None if connection is None else connection.stopped_by
        if connection is not None and stopped_by is not None:
            connection.stopped_by = None
            raise (StoreError(f"{folder} can't be read: {stopped_by}") if isinstance(stopped_by, StoreError) else stopped_by) from None
        raise StoreError(_sentence(folder, error)) from error


def _sentence(folder: Path, error: Exception) -> str:
    file = folder / FILE_NAME
    text = str(error.strerror or error) if isinstance(error, OSError) else _one_line(str(error))
    lower = text.lower()
    if "full" in lower or "no space" in lower:
        return f"no space is left for {file}; free some and start again: every outcome stored before is kept"
    if not _may(folder, os.X_OK) or (folder.is_dir() and not _may(file, os.R_OK)):
        return f"{file} may not be read by this user ({text}); ask its owner to make folder and file readable, or name another study"
    if "readonly" in lower or "read-only" in lower or "unable to open" in lower or isinstance(error, PermissionError):
        return f"{file} can't be written ({text}); make the folder writable or name another one with --study"
    if "locked" in lower or "busy" in lower:
        return f"{file} has been locked by another process for {_BUSY_TIMEOUT_S:g} s; end that process or wait, then start again"
    if "disk i/o error" in lower or "too large" in lower:
        return f"{file} can't be read or written here ({text}): look at the disk, and at the limit on the size of files (ulimit -f)"
    if isinstance(error, OSError):
        return f"{file} can't be used: {error.strerror or text}; name another folder with --study"
    return f"{file} is damaged ({text}); put back a copy of it or name a new folder with --study"


def _one_line(reason: str) -> str:
    """SQLite quotes the statements of a damaged schema, of any length and with any characters."""
    line = harmless(" ".join(reason.split()))
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


def _may(path: Path, right: int) -> bool:
    """Whether this user has a right to a path, or there is no such path to have it to."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, right)
