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
from dataclasses import asdict, dataclass
from pathlib import Path

from bayestuner.measure.cgroup.names import is_stale, new_name, owner_of
from bayestuner.measure.platform import TargetAccess

SUFFIX = ".changed.json"
_DRAFT = ".draft.json"


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
        draft = Path(str(self.path).removesuffix(SUFFIX) + _DRAFT)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        draft.replace(self.path)
        _sync_folder(self.path.parent)

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
    found = []
    for draft in folder.glob(f"*{_DRAFT}"):
        if is_stale(draft.name.removesuffix(_DRAFT)):  # killed before its journal was whole: nothing was set yet
            draft.unlink(missing_ok=True)
    for path in sorted(folder.glob(f"*{SUFFIX}"), key=_age, reverse=True):
        name = path.name.removesuffix(SUFFIX)
        owner = owner_of(name)
        if owner is None or not is_stale(name):
            continue
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            changes = tuple(Change(**change) for change in said["changes"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another user's, or no journal of ours
        if said.get("boot_id") == boot_id():
            found.append(LeftBehind(path, owner.pid, changes))
        else:
            with suppress(OSError):
                path.unlink()
    return found


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


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
