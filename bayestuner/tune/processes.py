"""The same work on many items, over several processes: searches of simulated and replayed jobs wait for nothing but the CPU.

Processes are spawned, never forked: compiled code and its threads don't survive a fork. They ignore the stop signals, which a terminal
sends to all of them; who started them ends them, and where that one is killed they end themselves.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

from bayestuner.errors import WorkerLost

Item = TypeVar("Item")
Result = TypeVar("Result")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def over_processes(work: Callable[[Item], Result], items: Sequence[Item], *, processes: int) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with what `work` makes of it, as soon as it is made.

    Left early, by an exception or by closing the generator (`contextlib.closing`), it ends its processes at once, in mid-work.

    Parameters
    ----------
    work : callable
        A function of a module, or a `functools.partial` of one: it is sent to the processes, once each, as are items and results.
    items : sequence
    processes : int
        At most so many; no more are started than there are items.

    Raises
    ------
    WorkerLost
        A process was ended from outside.
    Exception
        What `work` raised.
    """
    if not items:
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(min(processes, len(items)), mp_context=get_context("spawn"), initializer=_begin, initargs=(work,))
    try:
        with _held_back():  # the processes, which start here, inherit that
            futures = {pool.submit(_do, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException as error:
        for child in set(active_children()) - others:
            child.kill()
        if isinstance(error, BrokenProcessPool):
            raise WorkerLost("a process that searched was ended from outside, perhaps for memory; try fewer with --parallel") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_work: Callable[[Any], Any]


def _begin(work: Callable[[Any], Any]) -> None:
    """Set up a process."""
    global _work  # noqa: PLW0603 - one work a process
    _work = work
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, name="bayestuner-parent", daemon=True).start()


def _do(item: Any) -> Any:
    return _work(item)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
