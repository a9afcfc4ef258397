"""The machine's lock: one BayesTuner at a time, because two on one machine would measure each other.

It is a flock on a file that only its owner can open, so nobody else can hold it, and the kernel releases it however its holder dies. Root's
lock excludes other users because they see who holds it (`holder`), and those exclude each other by a name that one of them at a time can
have. Root is told of them, but never kept out by them: anybody could hold on for ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bayestuner.errors import MachineBusy, NotPrivate, RuntimeFolderUnusable
from bayestuner.files.private import PrivateFolder
from bayestuner.measure.machine import holder
from bayestuner.measure.machine.runtime import ADVICE, ROOT_FOLDER, VARIABLE, open_runtime_folder, runtime_folder

FILE_NAME = "machine.lock"
_POLL_S = 0.2
_GLANCE_S = 0.2
"""How long a process that is not to wait tries all the same, seconds: `holder_of_machine` takes the lock for an instant."""
_DYING_S = 5.0
"""How long it tries where the holder is dead: a job the holder was just starting keeps the lock until it is executed, or dead as well."""


@contextmanager
def machine_lock(study: Path | str, *, wait: bool = False, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold this machine while the body runs.

    Parameters
    ----------
    study : path
        The study or table it is held for; whoever is refused is told.
    wait : bool
        Wait for another holder to end, instead of raising `MachineBusy`.
    tell : callable, optional
        Called once with a sentence where there is somebody to wait for, and for root where another user is measuring.

    Raises
    ------
    MachineBusy
        Another BayesTuner holds it; the message says which.
    RuntimeFolderUnusable
        There is no folder for the lock's file, or something else lies in its place.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(open_runtime_folder())
        patience = _Patience(wait, tell)
        _take(folder, stack, patience)
        if not os.environ.get(VARIABLE):
            if os.geteuid() == 0:
                _tell_of_others(tell)
            else:
                _exclude_other_users(stack, patience)
        stack.callback(folder.remove, holder.FILE_NAME)  # runs before the descriptor is closed, which releases the lock
        holder.sign(folder, os.path.abspath(study))  # noqa: PTH100 - links stay
        yield


def holder_of_machine() -> str | None:
    """Who holds the machine's lock now, in words; None where nobody does, or where this user can't see it. It creates no file."""
    return _own_holder() or (None if os.environ.get(VARIABLE) else _root_holder() or holder.holder_of_name())


def _own_holder() -> str | None:
    try:
        with PrivateFolder.open(runtime_folder()) as folder:
            fd = folder.open_file(FILE_NAME)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _words(folder, fd)
            finally:
                os.close(fd)
    except (OSError, NotPrivate):
        pass
    return None


def _root_holder() -> str | None:
    """Root's BayesTuner, where this process isn't root's: by the file in which it names itself, since its lock can't be opened."""
    if os.geteuid() == 0:
        return None
    try:
        with PrivateFolder.open(ROOT_FOLDER) as folder:
            found = holder.signed(folder)
    except (OSError, NotPrivate):
        return None
    return str(found) if found is not None and found.alive else None


class _Patience:
    """How long somebody is waited for, and what is said meanwhile."""

    def __init__(self, wait: bool, tell: Callable[[str], None] | None) -> None:
        self._wait = wait
        self._tell = tell
        self._begun = time.monotonic()

    def spend(self, find_who: Callable[[], str], patience_s: float = _GLANCE_S) -> None:
        """Sleep a little before the next try; raise `MachineBusy` where there is to be none."""
        if not self._wait and time.monotonic() > self._begun + patience_s:
            who = find_who()
            raise MachineBusy(f"{who} is measuring on this machine, and two at once would measure each other: wait for it, or add --wait")
        if self._wait and self._tell is not None:
            self._tell(f"waiting for {find_who()}")
            self._tell = None
        time.sleep(_POLL_S if self._wait else _GLANCE_S / 4)


def _take(folder: PrivateFolder, stack: ExitStack, patience: _Patience) -> None:
    """Take the lock's flock and keep it until `stack` is closed."""
    while True:
        fd = _open(folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = holder.signed(folder)
            dying = found is not None and not found.alive
            try:
                patience.spend(partial(_words, folder, fd), _DYING_S if dying else _GLANCE_S)
            finally:
                os.close(fd)
            continue
        if _is_still(folder, fd):
            stack.callback(os.close, fd)
            return
        os.close(fd)


def _open(folder: PrivateFolder) -> int:
    """The lock's file, 0600; one that others may read is made anew, since they could hold it already."""
    try:
        fd = folder.open_file(FILE_NAME, os.O_RDWR | os.O_CREAT)
        if not os.fstat(fd).st_mode & 0o077:
            return fd
        os.close(fd)
        folder.remove(FILE_NAME)
        return folder.open_file(FILE_NAME, os.O_RDWR | os.O_CREAT)
    except (OSError, NotPrivate) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RuntimeFolderUnusable(
            f"the machine's lock {folder.path / FILE_NAME} can't be opened: {reason}; make it usable, or {ADVICE}"
        ) from error


def _is_still(folder: PrivateFolder, fd: int) -> bool:
    """Whether the file that was locked is still the one that the next process will find under its name."""
    try:
        return os.path.samestat(os.stat(FILE_NAME, dir_fd=folder.fd, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _exclude_other_users(stack: ExitStack, patience: _Patience) -> None:
    """Take the name that one ordinary user at a time has, once root isn't measuring."""
    while True:
        if _root_holder() is not None:
            patience.spend(lambda: _root_holder() or "another BayesTuner")
        elif (taken := holder.take_name()) is not None:
            stack.enter_context(taken)
            return
        else:
            patience.spend(lambda: holder.holder_of_name() or "another user's BayesTuner")


def _tell_of_others(tell: Callable[[str], None] | None) -> None:
    """Say to root who else measures. Root is not kept out: an ordinary user could have the name for ever."""
    if tell is not None and (other := holder.holder_of_name()) is not None:
        tell(f"{other} is measuring on this machine too, which disturbs the figures of both")


def _words(folder: PrivateFolder, fd: int) -> str:
    """The process that holds the lock, in words: from what it wrote beside the lock, or else from the kernel's list of locks."""
    found = holder.signed(folder)
    if found is not None and found.alive:
        return str(found)
    listed = _listed_holder(os.fstat(fd).st_ino)
    return "another BayesTuner" + (f" (process {listed})" if listed else "")


def _listed_holder(inode: int) -> int | None:
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}") and words[4].isdecimal():
            return int(words[4])
    return None
