"""A process that this program started, held by its pid and its pidfd (a descriptor that can't come to mean another process)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

from bayestuner.measure.cgroup.isolation import Child

UNKNOWN_STATUS = 255
"""Return code where other code in this program took the process's status first (such as a SIGCHLD handler that waits for every child)."""


_dying: list[PidChild] = []


def reap_later(child: PidChild) -> None:
    """Hold on to a child that was killed but can't die yet, because its group is frozen; the next start of a process takes its status."""
    _dying.append(child)


def reap_dead() -> None:
    """Take the status of those children that have died meanwhile, so that none stays a zombie."""
    _dying[:] = [child for child in _dying if child.poll() is None]


class PidChild(Child):
    """A child of this process.

    Parameters
    ----------
    pid : int
        Its pid. The kernel gives it to no other process before its status was taken, which only `poll` and `release` do.
    pidfd : int
        Descriptor for it, or -1 on kernels that have none (before Linux 5.3).

    Attributes
    ----------
    keep_zombie : bool
        After the process ended leave its status with the kernel until `release`. Until then no other process can get the pid, so the
        session of that number is surely the one this process led.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.keep_zombie = False
        self.pid = pid
        self._pidfd = pidfd
        self._status: int | None = None
        self._lock = threading.Lock()  # a sampler may poll while the main thread waits

    def poll(self) -> int | None:
        """Return code (negative: killed by that signal) or None while it runs."""
        with self._lock:
            if self._status is None:
                self._status = self._reap()
                if self._status is not None:
                    self._close()
            return self._status

    def _reap(self) -> int | None:
        try:
            result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | (os.WNOWAIT if self.keep_zombie else 0))
        except ChildProcessError:
            return UNKNOWN_STATUS
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.001
        while (status := self.poll()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            pidfd = self._pidfd
            if pidfd >= 0:
                waiting = select.poll()
                waiting.register(pidfd, select.POLLIN)
                waiting.poll(max(1, round(min(left_s, 3600.0) * 1000)))
            else:
                time.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, 0.05)
        return status

    def terminate(self) -> None:
        """Send SIGTERM to the leader; does nothing where it is gone."""
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader; does nothing where it is gone."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._status is not None:
                return
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def release(self) -> None:
        """Take the status of a zombie that was kept; the pid may be given to another process from here on."""
        with self._lock, contextlib.suppress(ChildProcessError):
            if self.keep_zombie and self._status is not None:
                self.keep_zombie = False
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._close()
