"""Several instances of one net in a run, as serving systems keep them: one parent, n processes that share the granted cores.

The parent starts the instances, waits until all have loaded their model, reports ``ready`` once and lets all begin at the same moment. From
then on every instance writes its own ``done`` lines to the one report pipe. It holds a lock from taking a stamp until it is written, so
that reports come in the order of their stamps; the lock is a record lock on an unnamed file, which the kernel releases when its holder
dies. Nothing passes through the parent, which sleeps until an instance ends. The parent ends when all have ended; the instances end when
the parent has gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO

from bayestuner.errors import BayesTunerError


@dataclass(frozen=True, slots=True)
class ParentLink:
    """How an instance and its parent tell each other how far they are: descriptors that the instance inherits.

    Attributes
    ----------
    ready : int
        Pipe to which the instance writes one byte once it has loaded its model.
    go : int
        Pipe whose end of file says that all instances have loaded.
    lock : int
        File that is locked while an instance reports, so that reports come in the order of their stamps.
    """

    ready: int
    go: int
    lock: int

    def as_text(self) -> str:
        """A text for the instance's command line, which `read` reads."""
        return f"{self.ready},{self.go},{self.lock}"

    @staticmethod
    def read(text: str) -> ParentLink:
        """Read what `as_text` wrote."""
        ready, go, lock = map(int, text.split(","))
        return ParentLink(ready, go, lock)

    def wait_for_the_others(self) -> None:
        """Say that this instance has loaded, and return once all have (or the parent has gone)."""
        os.write(self.ready, b".")
        os.close(self.ready)
        os.read(self.go, 1)

    @contextlib.contextmanager
    def report_lock(self) -> Iterator[None]:
        """Hold the lock: no other instance reports meanwhile."""
        fcntl.lockf(self.lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.lock, fcntl.LOCK_UN)


def threads_per_instance(threads: int, instances: int) -> list[int]:
    """Divide threads among instances as equally as possible, with at least one each."""
    each, more = divmod(threads, instances)
    return [max(1, each + (i < more)) for i in range(instances)]


class Instances:
    """The processes of one run; use as a context, which leaves none behind. From its making on, SIGTERM and SIGINT end them.

    Parameters
    ----------
    arguments : sequence of str
        Of ``python -m bayestuner.zoo``, without instances and threads.
    threads : sequence of int
        Of each instance.
    report_fd : int
        The pipe they report on.
    """

    def __init__(self, arguments: Sequence[str], threads: Sequence[int], report_fd: int) -> None:
        self._loaded, ready = os.pipe()
        go, self._go = os.pipe()
        lock = os.memfd_create("bayestuner-zoo-lock", os.MFD_CLOEXEC)
        self._running: dict[int, int] = {}
        self._errors: dict[int, IO[bytes]] = {}
        self._n = len(threads)
        self._stopping = False
        self.memory_peak_bytes = 0
        member = ParentLink(ready, go, lock)
        environment = {**os.environ, "BAYESTUNER_FD": str(report_fd)}
        self._handle_signals()  # before there is anyone to leave behind
        try:
            for number, share in enumerate(threads, 1):
                if self._stopping:
                    break
                command = [sys.executable, "-P", "-m", "bayestuner.zoo", *arguments, "--threads", str(share), "--member", member.as_text()]
                errors = tempfile.TemporaryFile()  # noqa: SIM115 - kept until its writer has ended
                process = subprocess.Popen(
                    command, env=environment, pass_fds=(report_fd, ready, go, lock), stdin=subprocess.DEVNULL, stderr=errors
                )
                process.returncode = 0  # it is waited for here, not by subprocess
                self._running[process.pid], self._errors[process.pid] = number, errors
            if self._stopping:  # the signal may have come before the last one started was known
                self.stop()
        except BaseException:
            self._kill()
            raise
        finally:
            for fd in (ready, go, lock):
                os.close(fd)

    def all_loaded(self) -> bool:
        """Wait until every instance has loaded; False where one ended before."""
        loaded = 0
        while loaded < self._n:
            got = os.read(self._loaded, self._n)
            if not got:  # every instance has closed its end
                return False
            loaded += len(got)
            if self._stopping:
                return False
        return True

    def go(self) -> None:
        """Let all instances begin."""
        fd, self._go = self._go, -1
        if fd >= 0:
            os.close(fd)

    def stop(self) -> None:
        """Ask all to end after their batch."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        self.go()  # one that waits for the others has been asked before it can begin

    def wait(self) -> None:
        """Wait until all have ended; the first that fails stops the others.

        Raises
        ------
        InstanceFailed
        """
        failed: InstanceFailed | None = None
        while self._running:
            pid, status, usage = os.wait4(-1, 0)
            number = self._running.pop(pid, None)
            if number is None:
                continue
            self.memory_peak_bytes += usage.ru_maxrss * 1024
            code = os.waitstatus_to_exitcode(status)
            with self._errors.pop(pid) as errors:
                errors.seek(0)
                stderr_text = errors.read().decode("utf-8", "replace").strip()
            if code != 0 and failed is None and not (self._stopping and code == -signal.SIGTERM):
                failed = InstanceFailed(number, code, stderr_text)
                self.stop()
        if failed is not None:
            raise failed

    def _handle_signals(self) -> None:
        """Pass SIGTERM and SIGINT on as SIGTERM; a second one ends the instances at once."""

        def passed_on(_number: int, _frame: FrameType | None) -> None:
            if self._stopping:
                self._signal(signal.SIGKILL)
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, passed_on)

    def _signal(self, number: int) -> None:
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        for pid in list(self._running):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            self._running.pop(pid, None)

    def __enter__(self) -> Instances:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for errors in self._errors.values():
            errors.close()
        for fd in (self._loaded, self._go):
            if fd >= 0:
                os.close(fd)


class InstanceFailed(BayesTunerError):
    """An instance ended by itself.

    Attributes
    ----------
    code : int
        Its exit code, or less than 0 for a signal.
    stderr_text : str
        What it wrote to standard error.
    """

    def __init__(self, number: int, code: int, stderr_text: str) -> None:
        self.code = code
        self.stderr_text = stderr_text
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        super().__init__(f"instance {number} {how}")
