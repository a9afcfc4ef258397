"""Deferring the signals that stop this program while something is made or removed that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def defer_stop_signals() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGHUP until the body is over; those that came meanwhile are raised then.

    Handlers are exchanged for this, because a signal mask would not do: a mask belongs to one thread, any other thread (of a compiler, of a
    math library) would still receive the signal, and Python would run the handler in the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for pending in dict.fromkeys(came):
            signal.raise_signal(pending)
