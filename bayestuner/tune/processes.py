"""The same work on many items, over several processes: searches of simulated and replayed jobs, which wait for nothing but the CPU.

Processes are spawned, never forked: compiled code and its threads don't survive a fork. They ignore the signals that stop a program, which
a terminal sends to all processes alike; the process that started them ends them, and where that one is killed they end by themselves.
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
    """Yield each item with the result of `work` on it, as soon as it is there.

    Where the generator is left early, by an exception or by closing it (`contextlib.closing`), its processes are killed at once.

    Parameters
    ----------
    work : callable
        A function at the top of a module, or a `functools.partial` of one: it is pickled for each process, as are items and results.
    items : sequence
    processes : int
        Largest number of processes; no more are started than there are items.

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
        with _stop_signals_blocked(), _safe_path():  # the processes start here and inherit both
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
def _stop_signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let interpreters that are started meanwhile not look for modules in the current folder, where others may have planted some."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


_work: Callable[[Any], Any]


def _begin(work: Callable[[Any], Any]) -> None:
    """Prepare a new process for `work`."""
    global _work  # noqa: PLW0603 - one function for the life of the process
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
