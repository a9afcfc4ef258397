"""Killing processes that were found by their pid, without ever hitting another process that got the same pid since."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable


def send_to_members(pids: Iterable[int], number: signal.Signals, belongs: Callable[[int], bool]) -> None:
    """Send a signal to each of these processes for which `belongs` is true.

    A pidfd is opened first, then `belongs` is asked, then the signal is sent through the pidfd: so the process that was asked about is the
    one that gets the signal, even where the pid is given to another process meanwhile.
    """
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            try:
                held = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except OSError:  # no pidfd_open (before Linux 5.3, gVisor): the pid may change hands between the check and the signal
                if belongs(pid):
                    os.kill(pid, number)
                continue
            try:
                if belongs(pid):
                    signal.pidfd_send_signal(held, number)
            finally:
                os.close(held)


def wait_until(condition: Callable[[], bool], timeout_s: float, *, first_pause_s: float = 0.001, last_pause_s: float = 0.05) -> bool:
    """Ask again and again, in growing intervals; return whether the condition came true within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    pause_s = first_pause_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, last_pause_s)
    return True
