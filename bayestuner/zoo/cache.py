"""Built models in the user's cache folder: content-addressed, written atomically, checked when used, safe between processes.

A file's name holds the digest of its graph's description and of the writer's version, so a changed net never meets an old file.
Beside ``NAME-DIGEST.onnx`` stand ``NAME-DIGEST.json`` (its size and SHA-256) and ``NAME-DIGEST.lock`` (held by whoever builds).
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
    """Where models are kept: ``zoo`` below ``$BAYESTUNER_CACHE``, else ``$XDG_CACHE_HOME/bayestuner``, else ``~/.cache/bayestuner``."""
    own = os.environ.get("BAYESTUNER_CACHE")
    if own:
        return Path(own).expanduser().absolute() / "zoo"
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "bayestuner" / "zoo"
    except RuntimeError:
        raise CacheUnusable("there is no home folder to keep zoo models in; set BAYESTUNER_CACHE to a folder you may write to") from None


def path_of(graph: Graph) -> Path:
    """Where the graph's file is or will be."""
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
        Build even if a file is there that looks sound.

    Raises
    ------
    CacheUnusable
        One sentence: the folder, what went wrong, what to do.
    """
    path = path_of(graph)
    if not rebuild and _is_sound(path):
        return path
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if rebuild or not _is_sound(path):  # another process may have built it while we waited
                _build(graph, path)
    return path


def _is_sound(path: Path) -> bool:
    """True where the file has the size and the digest its sidecar names.

    The digest is only computed when the file was touched since it was last found right (its time of change is in the sidecar, as git does
    with its index): hashing 350 MB before each test run would cost more than loading them.
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
    with contextlib.suppress(OSError):  # a read-only cache is as good, only slower
        _write_sidecar(path, seen["sha256"])
    return True


def _build(graph: Graph, path: Path) -> None:
    """Write beside, flush to disk, rename: whoever sees the name sees a whole file. The caller holds the lock, so that name is free."""
    from bayestuner.zoo.export import serialised

    beside = path.with_suffix(".part")
    digest = hashlib.sha256()
    try:
        with beside.open("wb") as file:
            for piece in serialised(graph):
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".json").unlink(missing_ok=True)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    _write_sidecar(path, digest.hexdigest())
    _sync_folder(path.parent)


def _write_sidecar(path: Path, sha256: str) -> None:
    status = path.stat()
    stamp = [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    beside = path.with_suffix(f".json.{os.getpid()}")
    try:
        with beside.open("w") as file:
            json.dump({"size": status.st_size, "sha256": sha256, "stamp": stamp}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path.with_suffix(".json"))
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _sync_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can; the file's own data are on disk
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
    """Hold an exclusive lock; the kernel gives it back if we are killed."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what the operating system says into one sentence a user can act on."""
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
