"""Built models in the user's cache folder: written atomically, checked when used, safe between processes.

The name of a file contains a digest of its graph's description and of the writer's version, so that a changed network never uses an old
file. Beside ``NAME-DIGEST.onnx`` there are ``NAME-DIGEST.json`` (its size and SHA-256, signed with this user's secret) and
``NAME-DIGEST.lock`` (locked by the process that builds it). The folder is used only where nobody else can write it (`bayestuner.files`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bayestuner.errors import BayesTunerError, NotPrivate
from bayestuner.files.places import CACHE_VARIABLE, cache_folder
from bayestuner.files.private import PrivateFolder
from bayestuner.files.replacing import PART
from bayestuner.zoo.graph import Graph

_WRITER_VERSION = 1  # raise it when `bayestuner.zoo.export` writes other bytes for the same description
_SIDECAR_BYTES = 1 << 16


class CacheUnusable(BayesTunerError, OSError):
    """The cache folder can't be made or written."""

    def __str__(self) -> str:
        return str(self.args[0])


def folder() -> Path:
    """Folder of the models: ``zoo`` below ``$BAYESTUNER_CACHE``, else ``$XDG_CACHE_HOME/bayestuner``, else ``~/.cache/bayestuner``."""
    try:
        return cache_folder("zoo")
    except NotPrivate as error:
        raise CacheUnusable(f"{error}; set {CACHE_VARIABLE} to a folder you may write to") from None


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
    with _clear_errors(path), PrivateFolder.open(path.parent, make=True) as private:
        if rebuild or not _is_sound(private, path.name):
            with _locked(private, _beside(path.name, ".lock")):
                if rebuild or not _is_sound(private, path.name):  # another process may have built it while this one waited
                    _build(private, graph, path.name)
        return private.path / path.name


def _beside(name: str, ending: str) -> str:
    return name.removesuffix(".onnx") + ending


def _is_sound(private: PrivateFolder, name: str) -> bool:
    """True where the file has the size and the digest that its JSON file says, and that file was signed with this user's secret.

    The digest is only computed where the file was changed since it was last checked (the JSON file has the time of its last change):
    hashing 350 MB before each test run would take longer than loading them.
    """
    try:
        seen = json.loads(private.read(_beside(name, ".json"), _SIDECAR_BYTES))
        with os.fdopen(private.open_file(name), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size != seen["size"] or not _is_signed(private, name, seen):
                return False
            if _stamp(status) == seen.get("stamp"):
                return True
            if hashlib.file_digest(file, "sha256").hexdigest() != seen["sha256"]:
                return False
    except (OSError, NotPrivate, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    with contextlib.suppress(OSError):  # a cache that can't be written works too, only slower
        _write_sidecar(private, name, seen["sha256"])
    return True


def _build(private: PrivateFolder, graph: Graph, name: str) -> None:
    """Write the file beside its place, flush it to disk and rename it, so that nobody ever sees half of it. The caller holds the lock."""
    from bayestuner.zoo.export import serialised

    for left in private.names():  # by a builder that was killed
        if left.startswith(f".{name}.") and left.endswith(PART):
            private.remove(left)
    digest = hashlib.sha256()
    with private.replacing(name, mode=0o644) as file:
        for piece in serialised(graph):
            file.write(piece)
            digest.update(piece)
        private.remove(_beside(name, ".json"))
    _write_sidecar(private, name, digest.hexdigest())


def _write_sidecar(private: PrivateFolder, name: str, sha256: str) -> None:
    status = os.stat(name, dir_fd=private.fd, follow_symlinks=False)
    about = {"size": status.st_size, "sha256": sha256, "stamp": _stamp(status)}
    about["signature"] = _sign(private.secret(), name, about)
    private.replace(_beside(name, ".json"), json.dumps(about).encode(), mode=0o644)


def _stamp(status: os.stat_result) -> list[int]:
    """What changes with a file's content."""
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _is_signed(private: PrivateFolder, name: str, about: Mapping[str, Any]) -> bool:
    """Whether this user wrote what is said of a file. In root's cache, whose secret others can't read, the folder's rule has to do."""
    try:
        secret = private.secret()
    except PermissionError:
        return True
    return hmac.compare_digest(str(about["signature"]), _sign(secret, name, about))


def _sign(secret: bytes, name: str, about: Mapping[str, Any]) -> str:
    return hmac.digest(secret, json.dumps([name, about["size"], about["sha256"], about["stamp"]]).encode(), "sha256").hex()


@contextlib.contextmanager
def _locked(private: PrivateFolder, name: str) -> Iterator[None]:
    """Hold an exclusive lock; the kernel releases it if this process is killed."""
    with os.fdopen(private.open_file(name, os.O_RDWR | os.O_CREAT), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into one sentence that says what to do."""
    try:
        yield
    except NotPrivate as error:
        raise CacheUnusable(f"{error}; or set {CACHE_VARIABLE} to a folder of your own") from error
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
