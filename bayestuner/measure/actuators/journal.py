"""The journal of changed settings: on disk before the first write, gone after the last one was put back.

One file per process and change, in the runtime folder, which a reboot empties just as it resets the settings. Its name says who made it (as
our groups' names do), so that what a killed BayesTuner left can be told from what a living one has in force.
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
    """One setting: which kind of knob, of which platform (empty: built in), what it held and what it is to hold."""

    kind: str
    platform: str
    target: str
    old: str
    new: str


class Journal:
    """The journal of one application of settings."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{new_name()}{SUFFIX}"

    def write(self, changes: Sequence[Change]) -> None:
        """Have it on disk, whole, when this returns."""
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
        """Everything is as it was."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Settings that a dead BayesTuner left changed."""

    path: Path
    pid: int
    changes: tuple[Change, ...]


def left_behind(folder: Path) -> list[LeftBehind]:
    """What dead owners of this boot left, the newest first; journals of an earlier boot, whose settings are gone, are removed."""
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
    """Put back what a dead BayesTuner left, the last change first; hold the machine's lock meanwhile.

    Returns
    -------
    done, failed : list of str
        Sentences. The journal goes only where nothing failed.
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
    """Tells this boot from others; empty where there is no such file."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def error_text(error: Exception) -> str:
    """What an error says, for a sentence of ours."""
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
