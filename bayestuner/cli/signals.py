"""Ctrl-C, SIGTERM and a closed terminal, all handled alike: what runs is stopped and cleaned up, then the program ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """One of the stop signals came; a KeyboardInterrupt, so that whatever cleans up after Ctrl-C does so after any of them.

    Attributes
    ----------
    signum : int
    message : str
        What to tell the user; who knows how to go on sets it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.message = f"bayestuner: stopped by {signal.Signals(signum).name}"


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` at the first stop signal; let later ones pass, so that they can't cut the cleaning up short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise Stopped(signum)

    # a signal that the caller has ignored (nohup) stays ignored
    before = {s: signal.getsignal(s) for s in _SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
