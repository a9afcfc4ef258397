"""The SQLite file of a study: made private, opened for writing or reading, and its errors turned into one clear sentence each."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bayestuner.errors import StoreError
from bayestuner.study.owner import LOCK_NAME

FILE_NAME = "study.sqlite"
_BUSY_TIMEOUT_S = 60.0


def make_private_file(folder: Path) -> None:
    """Make the folder (0700) and the file (0600); raise `StoreError` where the folder can't hold a study."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, not a folder; name a folder for the study")
    if folder.is_dir() and not (folder / FILE_NAME).exists() and any(entry.name != LOCK_NAME for entry in folder.iterdir()):
        raise StoreError(f"{folder} holds other things and no study; name a new or empty folder with --study")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def connect(folder: Path) -> sqlite3.Connection:
    """Open for reading and writing."""
    return sqlite3.connect(folder / FILE_NAME, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def connect_read_only(folder: Path) -> sqlite3.Connection:
    """Open for reading, also in a folder that can't be written; a write-ahead log that was left in such a folder can't be read then."""
    file = folder / FILE_NAME
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    immutable = "" if writable or (folder / f"{FILE_NAME}-wal").exists() else "&immutable=1"
    uri = f"{file.resolve().as_uri()}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def remove_file(folder: Path) -> None:
    """Remove the file and what SQLite keeps beside it, then the folder where it is empty."""
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal", LOCK_NAME):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite, the operating system and JSON into `StoreError` with one clear sentence."""
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
        raise StoreError(_sentence(folder, error)) from error


def _sentence(folder: Path, error: Exception) -> str:
    file = folder / FILE_NAME
    text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    lower = text.lower()
    if "full" in lower or "no space" in lower:
        return f"no space is left for {file}; free some and start again: every outcome stored before is kept"
    if not _may(folder, os.X_OK) or (folder.is_dir() and not _may(file, os.R_OK)):
        return f"{file} may not be read by this user ({text}); ask its owner to make folder and file readable, or name another study"
    if "readonly" in lower or "read-only" in lower or "unable to open" in lower or isinstance(error, PermissionError):
        return f"{file} can't be written ({text}); make the folder writable or name another one with --study"
    if "locked" in lower or "busy" in lower:
        return f"{file} has been locked by another process for {_BUSY_TIMEOUT_S:g} s; end that process or wait, then start again"
    if isinstance(error, OSError):
        return f"{file} can't be used: {error.strerror or text}; name another folder with --study"
    return f"{file} is damaged ({text}); put back a copy of it or name a new folder with --study"


def _may(path: Path, right: int) -> bool:
    """Whether this user has a right to a path, or there is no such path to have it to."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, right)
