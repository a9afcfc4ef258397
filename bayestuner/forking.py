"""Fork safety: a fork waits until no thread is in the middle of something that the child would inherit half done.

A child has only the thread that forked. A lock that another thread held (one of ours, or the interpreter's for a module being imported)
stays locked in the child for ever. So objects that work under a lock are `ForkSafe`: before a fork all their locks are taken, which waits
for the work in hand; afterwards the parent releases them and the child makes new ones.
"""

from __future__ import annotations

import concurrent.futures.thread
import logging
import os
import threading
import time
import weakref
from typing import Any

# These modules take locks of their own before a fork. The latest to register is called first: that has to be us, since a thread that we
# wait for may log, or end a pool of threads.
_REGISTERED_BEFORE = (concurrent.futures.thread, logging)

# A fork waits no longer than this: a thread that is busy for longer waits, most likely, for something that the forking thread itself holds.
MAX_WAIT_S = 60.0


class ForkSafe:
    """Base of objects whose work, done under `_lock`, is never cut in two by a fork in another thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        with _registry:
            _objects.add(self)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        ForkSafe.__init__(self)

    def _after_fork_in_child(self) -> None:
        """Renew what does not survive a fork: the lock, and in subclasses threads."""
        self._lock = threading.RLock()


_objects: weakref.WeakSet[ForkSafe] = weakref.WeakSet()
_registry = threading.RLock()  # guards `_objects`; held throughout a fork, so that two forks wait for each other and not crosswise
_held: list[threading.RLock] = []  # locks taken for the fork under way


def _before() -> None:
    _registry.acquire()
    deadline = time.monotonic() + MAX_WAIT_S
    for lock in [thing._lock for thing in _objects]:
        if lock.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            _held.append(lock)


def _after_in_parent() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


def _after_in_child() -> None:
    global _registry  # noqa: PLW0603 - a lock is renewed by replacing it
    _held.clear()
    for thing in list(_objects):
        thing._after_fork_in_child()
    _registry = threading.RLock()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
