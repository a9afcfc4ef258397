"""Finding a cgroup v2 folder in which this process may make groups, and enabling controllers for the groups below it.

Two rules decide. The kernel's: a group that holds processes can't enable controllers for groups below it, so this process and its
neighbours are first moved into a group of their own below. systemd's: every part of the tree has one writer, so only a part that was
delegated to us is touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from bayestuner.measure.cgroup.files import CgroupFiles, explain
from bayestuner.measure.cgroup.hierarchy import OwnGroup
from bayestuner.measure.cgroup.names import PREFIX, SUPERVISOR

WANTED = ("cpuset", "memory", "pids")
"""Controllers that are enabled where they can be had; which of them a run can't do without is the caller's to say."""


class NotDelegated(Exception):
    """Internal: no folder of cgroup v2 can be used. Its text is the reason; `remedy`, where given, is what helps instead of delegation."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


def prepare_base(own: OwnGroup, needed: frozenset[str], files: CgroupFiles, *, systemd: bool) -> tuple[Path, frozenset[str]]:
    """The folder to make run groups in, and the controllers it gives them.

    Parameters
    ----------
    own : OwnGroup
        This process's own group.
    needed : frozenset of str
        Controllers without which the folder is of no use.
    systemd : bool
        Whether systemd runs this machine and owns every group that it didn't delegate.

    Raises
    ------
    NotDelegated
        No folder can be used; the text says why.
    """
    base = own.folder.parent if own.folder.name == SUPERVISOR else own.folder
    try:
        available = set(files.read(base / "cgroup.controllers").split())
        missing = needed - available
        if missing:
            raise _missing_controllers(sorted(missing), base, own.mount.point, files)
        if systemd and base != own.mount.point and not _is_delegated(base, own.mount.point, files):
            raise NotDelegated(f"{base} belongs to systemd, which allows no other writer in it")
        enabled = set(files.read(base / "cgroup.subtree_control").split())
        _enable(base, [name for name in WANTED if name in available - enabled], files)
        return base, frozenset(files.read(base / "cgroup.subtree_control").split())
    except OSError as error:
        raise NotDelegated(explain(error)) from error


def _missing_controllers(missing: list[str], base: Path, top: Path, files: CgroupFiles) -> NotDelegated:
    """Say which group above `base` keeps the missing controllers to itself, or that the whole hierarchy lacks them."""
    names = " and ".join(missing)
    folder = base
    while folder != top and folder.is_relative_to(top):
        folder = folder.parent
        with contextlib.suppress(OSError):
            if set(missing) <= set(files.read(folder / "cgroup.controllers").split()):
                return NotDelegated(f"{folder} does not give the {names} controller to the groups below it")
    reason = f"no {names} controller in {top / 'cgroup.controllers'}: bound to cgroup v1, or switched off in this kernel"
    return NotDelegated(reason, "use cgroup v1 as it is, or boot with cgroup_no_v1=all (systemd: systemd.unified_cgroup_hierarchy=1)")


def _is_delegated(base: Path, top: Path, files: CgroupFiles) -> bool:
    """Whether systemd delegated the unit that `base` is part of to the unit's own processes (``Delegate=yes``).

    systemd marks such a unit's group with an extended attribute; before version 251 only with one that the superuser alone can read. So
    units with a name of ours, or with one that systemd-run makes up, are trusted too where this process may write to them.
    """
    for folder in (base, *base.parents):
        if folder == top:
            return False
        if folder.suffix not in (".scope", ".service"):
            continue
        if any(files.attribute(folder, name) == b"1" for name in ("user.delegate", "trusted.delegate")):
            return True
        return folder.name.startswith(("run-", PREFIX)) and os.access(folder / "cgroup.subtree_control", os.W_OK)
    return False


def _enable(base: Path, controllers: list[str], files: CgroupFiles) -> None:
    """Enable controllers for the groups below `base`, which must hold no process for that.

    The kernel insists on it only for some controllers, such as memory. Others (cpuset, cpu, pids) it enables in a group with processes as
    well, but makes that group a "threaded domain", below which no process can be started. The root of the hierarchy may hold processes.
    """
    kind = _kind(base, files)
    if kind not in (None, "domain"):
        remedy = "start BayesTuner in a group of its own, or where systemd runs: systemd-run --scope -p Delegate=yes -- bayestuner ..."
        raise NotDelegated(f"{base} is of the type {kind!r}, and no process can be started in a group below it", remedy)
    if not controllers:
        return
    request = " ".join(f"+{name}" for name in controllers)
    if kind is not None and files.read(base / "cgroup.procs").split():
        _move_to_leaf(base, files)
    try:
        files.write(base / "cgroup.subtree_control", request)
    except OSError as error:
        if error.errno != errno.EBUSY:  # processes were forked meanwhile
            raise
        _move_to_leaf(base, files)
        files.write(base / "cgroup.subtree_control", request)


def _kind(base: Path, files: CgroupFiles) -> str | None:
    """The type of a group; None for the root of the hierarchy, which has none."""
    try:
        return files.read(base / "cgroup.type").strip()
    except FileNotFoundError:
        return None


def _move_to_leaf(base: Path, files: CgroupFiles) -> None:
    """Move the processes of `base` into a group of their own below it, so that `base` may enable controllers for the groups below it."""
    leaf = base / SUPERVISOR
    with contextlib.suppress(FileExistsError):
        files.make(leaf)
    for _ in range(10):  # processes may be forked meanwhile
        pids = files.read(base / "cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            try:
                files.write(leaf / "cgroup.procs", pid)
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.EINVAL):  # gone; a kernel thread, which can't be moved
                    raise
