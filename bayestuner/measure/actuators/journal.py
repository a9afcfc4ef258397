"""The journal of changed settings: it is on disk before the first setting is changed, and removed after the last one was put back.

There is one file for each run that changes settings, in the runtime folder, which a reboot empties just as it resets the settings. The
file's name says which process made it (as the names of our groups do), so that what a killed BayesTuner left changed can be told from what
a living one has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

from bayestuner.errors import NotPrivate
from bayestuner.files.private import PrivateFolder
from bayestuner.files.replacing import PART
from bayestuner.measure.cgroup.names import is_stale, new_name, owner_of
from bayestuner.measure.platform import TargetAccess

SUFFIX = ".changed.json"
_LIMIT_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Change:
    """One changed setting.

    Attributes
    ----------
    kind : str
        Kind of the knob.
    platform : str
        Spec of the platform that the kind is from; empty for a built-in kind.
    target : str
        What was written: a file, or what the platform calls it.
    old, new : str
        What the target held before, and what it was to hold.
    """

    kind: str
    platform: str
    target: str
    old: str
    new: str


class Journal:
    """The journal of the settings of one run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{new_name()}{SUFFIX}"

    def write(self, changes: Sequence[Change]) -> None:
        """Write the journal; it is on disk, complete, when this returns."""
        text = json.dumps({"boot_id": boot_id(), "changes": [asdict(change) for change in changes]})
        with PrivateFolder.open(self.path.parent) as folder:
            folder.replace(self.path.name, text.encode())

    def clear(self) -> None:
        """Remove the journal: every setting was put back."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Settings that a dead BayesTuner left changed."""

    path: Path
    pid: int
    changes: tuple[Change, ...]


def left_behind(folder: Path) -> list[LeftBehind]:
    """The journals that dead processes left since this boot, the newest first.

    Journals from before this boot are removed: the boot has reset the settings.
    """
    try:
        opened = PrivateFolder.open(folder)
    except (OSError, NotPrivate):
        return []
    with opened:
        names = opened.names()
        for name in names:
            if name.endswith(PART) and _is_stale(name.removeprefix(".").partition(SUFFIX)[0]):
                opened.remove(name)  # killed before its journal was whole: nothing was set yet
        journals = [name for name in names if name.endswith(SUFFIX) and _is_stale(name.removesuffix(SUFFIX))]
        read = [_read(opened, name) for name in sorted(journals, key=partial(_age, opened), reverse=True)]
    return [left for left in read if left is not None]


def _is_stale(name: str) -> bool:
    return owner_of(name) is not None and is_stale(name)


def _read(folder: PrivateFolder, name: str) -> LeftBehind | None:
    """What a dead process's journal says; None where it is not to be believed, none of ours, or from before this boot (it is removed)."""
    owner = owner_of(name.removesuffix(SUFFIX))
    try:
        said = json.loads(folder.read(name, _LIMIT_BYTES))
        changes = tuple(Change(**change) for change in said["changes"])
        booted = said.get("boot_id")
    except (OSError, NotPrivate, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if owner is None or not all(isinstance(text, str) for change in changes for text in astuple(change)):
        return None
    if booted != boot_id():
        with suppress(OSError):
            folder.remove(name)
        return None
    return LeftBehind(folder.path / name, owner.pid, changes)


def undo(left: LeftBehind, access_to: Callable[[Change], TargetAccess]) -> tuple[list[str], list[str]]:
    """Put back the settings that a dead BayesTuner left changed, the last change first. The caller holds the machine's lock.

    Parameters
    ----------
    left : LeftBehind
    access_to : callable
        Gives for a change the object that can read and write its target.

    Returns
    -------
    done, failed : list of str
        Sentences for people. The journal is removed only where nothing failed.
    """
    done, failed = [], []
    for change in reversed(left.changes):
        try:
            access = access_to(change)
            found = access.read(change.target)
            if found != change.old:
                access.write(change.target, change.old)
                got = access.read(change.target)
                if got != change.old and not access.agrees(change.target, change.old, got):
                    raise OSError(None, f"it holds {got} after {change.old} was written", change.target)
                done.append(f"{change.target} is {change.old} again; a BayesTuner that was killed (process {left.pid}) had left {found}")
        except Exception as error:  # a platform's code may raise anything
            failed.append(
                f"{change.target} was left at {change.new} by a BayesTuner that was killed (process {left.pid}) and can't be put back: "
                f"{error_text(error)}; set it to {change.old}{_command_to_restore(change)}"
            )
    if not failed:
        left.path.unlink(missing_ok=True)
    return done, failed


def boot_id() -> str:
    """The kernel's identifier of this boot; empty where it can't be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def error_text(error: Exception) -> str:
    """What an error says, to be used as a part of a sentence."""
    return str(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)


def _command_to_restore(change: Change) -> str:
    return "" if change.platform else f": echo {change.old} | sudo tee {change.target}"


def _age(folder: PrivateFolder, name: str) -> float:
    try:
        return os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0.0
