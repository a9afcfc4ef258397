"""Built models in the user's cache folder: written atomically, checked when used, safe between processes.

The name of a file contains a digest of its graph's description and of the writer's version, so that a changed network never uses an old
file. Beside ``NAME-DIGEST.onnx`` there are ``NAME-DIGEST.json`` (its size and SHA-256) and ``NAME-DIGEST.lock`` (locked by the process that
builds it).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.zoo.graph import Graph

_WRITER_VERSION = 1  # raise it when `bayestuner.zoo.export` writes other bytes for the same description
_CHUNK = 1 << 20


class CacheUnusable(BayesTunerError, OSError):
    """The cache folder can't be made or written."""

    def __str__(self) -> str:
        return str(self.args[0])


def folder() -> Path:
    """Folder of the models: ``zoo`` below ``$BAYESTUNER_CACHE``, else ``$XDG_CACHE_HOME/bayestuner``, else ``~/.cache/bayestuner``."""
    own = os.environ.get("BAYESTUNER_CACHE")
    if own:
        return Path(own).expanduser().absolute() / "zoo"
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "bayestuner" / "zoo"
    except RuntimeError:
        raise CacheUnusable("there is no home folder to keep zoo models in; set BAYESTUNER_CACHE to a folder you may write to") from None


def path_of(graph: Graph) -> Path:
    """The path that the graph's file has, or will have once it is built."""
    digest = hashlib.sha256(f"{_WRITER_VERSION} {graph.digest()}".encode()).hexdigest()
    return folder() / f"{graph.name}-{digest[:16]}.onnx"


def size_of(graph: Graph) -> int | None:
    """Bytes of the graph's file, or None where it isn't built."""
    try:
        return path_of(graph).stat().st_size
    except OSError:
        return None


def fetch(graph: Graph, *, rebuild: bool = False) -> Path:
    """Path of the graph's file, built first where it is missing or damaged.

    Parameters
    ----------
    graph : Graph
    rebuild : bool
        Build it even if there is a file that looks undamaged.

    Raises
    ------
    CacheUnusable
        The folder can't be made or written.
    """
    path = path_of(graph)
    if not rebuild and _is_sound(path):
        return path
    with _clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if rebuild or not _is_sound(path):  # another process may have built it while this one waited
                _build(graph, path)
    return path


def _is_sound(path: Path) -> bool:
    """True where the file has the size and the digest that its JSON file says.

    The digest is only computed where the file was changed since it was last checked (the JSON file has the time of its last change):
    hashing 350 MB before each test run would take longer than loading them.
    """
    try:
        seen = json.loads(path.with_suffix(".json").read_text())
        status = path.stat()
        if status.st_size != seen["size"]:
            return False
        if [status.st_mtime_ns, status.st_ctime_ns, status.st_ino] == seen.get("stamp"):
            return True
        if _sha256(path) != seen["sha256"]:
            return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    with contextlib.suppress(OSError):  # a cache that can't be written works too, only slower
        _write_sidecar(path, seen["sha256"])
    return True


def _build(graph: Graph, path: Path) -> None:
    """Write a temporary file, flush it to disk and rename it, so that no process ever sees half a file. The caller holds the lock."""
    from bayestuner.zoo.export import serialised

    temporary = path.with_suffix(".part")
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for piece in serialised(graph):
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".json").unlink(missing_ok=True)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _write_sidecar(path, digest.hexdigest())
    _sync_folder(path.parent)


def _write_sidecar(path: Path, sha256: str) -> None:
    status = path.stat()
    stamp = [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    temporary = path.with_suffix(f".json.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            json.dump({"size": status.st_size, "sha256": sha256, "stamp": stamp}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path.with_suffix(".json"))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can do this; the data of the file are on disk already
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the kernel releases it if this process is killed."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into one sentence that says what to do."""
    try:
        yield
    except BayesTunerError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "is full" if full else "can't be written"
        hint = "make room there, or set" if full else "set"
        reason: Any = error.strerror or error
        raise CacheUnusable(
            f"the cache folder {path.parent} {what} ({reason}), so the zoo model {path.stem.rpartition('-')[0]} can't be built there; "
            f"{hint} BAYESTUNER_CACHE to a folder you may write to"
        ) from error
