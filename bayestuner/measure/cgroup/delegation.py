"""Getting a cgroup v2 folder that is ours to use, with controllers on for the groups below it.

Two rules of the kernel and of systemd decide: a group that holds processes can't give controllers to groups below it (so we
move into a leaf), and a part of the tree has one writer (so we touch only what was delegated to us).
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from bayestuner.measure.cgroup.files import CgroupFiles, explain
from bayestuner.measure.cgroup.hierarchy import Place
from bayestuner.measure.cgroup.names import PREFIX, SUPERVISOR

WANTED = ("cpuset", "memory", "pids")


class NotDelegated(Exception):
    """Internal: no folder of cgroup v2 can be used; the text is the reason, `remedy` a cure other than delegation."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


def prepare_base(own: Place, needed: frozenset[str], files: CgroupFiles, *, systemd: bool) -> tuple[Path, frozenset[str]]:
    """The folder to make run groups in, and the controllers it gives them.

    Parameters
    ----------
    own : Place
        This process's own group.
    needed : frozenset of str
        Controllers without which there is no point.
    systemd : bool
        Whether systemd runs this machine and owns every group that it didn't delegate.

    Raises
    ------
    NotDelegated
        With the reason.
    """
    base = own.folder.parent if own.folder.name == SUPERVISOR else own.folder
    try:
        available = set(files.read(base / "cgroup.controllers").split())
        missing = needed - available
        if missing:
            raise _who_lacks(sorted(missing), base, own.mount.point, files)
        if systemd and base != own.mount.point and not _is_delegated(base, own.mount.point, files):
            raise NotDelegated(f"{base} belongs to systemd, which allows no other writer in it")
        enabled = set(files.read(base / "cgroup.subtree_control").split())
        _enable(base, [name for name in WANTED if name in available - enabled], files)
        return base, frozenset(files.read(base / "cgroup.subtree_control").split())
    except OSError as error:
        raise NotDelegated(explain(error)) from error


def _who_lacks(missing: list[str], base: Path, top: Path, files: CgroupFiles) -> NotDelegated:
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
    """Whether systemd gave the unit that `base` is part of to its processes (Delegate=yes).

    systemd marks such a unit's group with an attribute; before version 251 only where the superuser sees it, so units that carry a name of
    ours or one that systemd-run made up are trusted too, where we may write to them.
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
    if not controllers:
        return
    request = " ".join(f"+{name}" for name in controllers)
    try:
        files.write(base / "cgroup.subtree_control", request)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        _move_to_leaf(base, files)
        files.write(base / "cgroup.subtree_control", request)


def _move_to_leaf(base: Path, files: CgroupFiles) -> None:
    """Empty `base` into a leaf, so that it may give controllers to groups below it."""
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
