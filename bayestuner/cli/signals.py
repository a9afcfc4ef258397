"""Ctrl-C, SIGTERM and a closed terminal, all handled alike: what runs is stopped and cleaned up, then the program ends."""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHECK_EVERY_S = 0.2


class Stopped(KeyboardInterrupt):
    """One of the stop signals came; a KeyboardInterrupt, so that whatever cleans up after Ctrl-C does so after any of them.

    Attributes
    ----------
    signum : int
    message : str
        What to tell the user; the command that knows how to go on adds that to it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.message = f"bayestuner: stopped by {signal.Signals(signum).name}"


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` at the first stop signal; ignore later ones, so that they can't interrupt the cleaning up.

    An exception can get lost: modules in C that are being imported swallow whatever is raised in them (numpy.random does). Therefore, until
    the exception has left this block, a timer checks whether it still exists, and raises the signal again once nothing refers to it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised: weakref.ref[Stopped] | None = None
    first = 0

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal raised, first
        if raised is not None and raised() is not None:
            return  # an earlier one is being handled
        first = first or signum
        error = Stopped(first)
        raised = weakref.ref(error)
        signal.setitimer(signal.ITIMER_REAL, _CHECK_EVERY_S, _CHECK_EVERY_S)
        try:
            raise error
        finally:
            del error  # else its own traceback would hold it

    def check(signum: int, frame: FrameType | None) -> None:
        if raised is not None and raised() is None:
            signal.raise_signal(first)  # handled by stop, or by the runner where it defers signals

    # a signal that the caller has ignored (nohup) stays ignored
    before = {s: signal.getsignal(s) for s in _SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    alarm = signal.signal(signal.SIGALRM, check)
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in {**before, signal.SIGALRM: alarm}.items():
            signal.signal(number, handler)
