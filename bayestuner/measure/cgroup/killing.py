"""Killing processes that were found by their number, without ever hitting a stranger who got the number since."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable


def send_to_members(pids: Iterable[int], number: signal.Signals, belongs: Callable[[int], bool]) -> None:
    """Signal each process that still belongs to us.

    The process is held first (pidfd), then asked about, then signalled: its number can't change hands in between.
    """
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            try:
                held = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except OSError:  # no pidfd_open (before Linux 5.3, gVisor): the gap stays, as short as can be
                if belongs(pid):
                    os.kill(pid, number)
                continue
            try:
                if belongs(pid):
                    signal.pidfd_send_signal(held, number)
            finally:
                os.close(held)


def wait_until(condition: Callable[[], bool], timeout_s: float, *, first_pause_s: float = 0.001, last_pause_s: float = 0.05) -> bool:
    """Ask again and again, ever more slowly; whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    pause_s = first_pause_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, last_pause_s)
    return True
