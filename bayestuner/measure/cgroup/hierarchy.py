"""Which group this process is in, in every cgroup hierarchy, and where that group's folder is.

Pure functions of the texts of /proc/self/mountinfo and /proc/self/cgroup. mountinfo and not /proc/mounts, because inside a container a
mount shows only a part of the tree, and only mountinfo (its root field) says which part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

V1_CONTROLLERS = frozenset({"cpuset", "memory", "freezer", "cpuacct", "pids"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted cgroup file system.

    Attributes
    ----------
    version : {1, 2}
    point : Path
        Where it is mounted.
    root : str
        The group whose folder `point` is, as a path within the hierarchy.
    controllers : frozenset of str
        v1 only: which of `V1_CONTROLLERS` this hierarchy has.
    read_only : bool
    """

    version: int
    point: Path
    root: str
    controllers: frozenset[str] = frozenset()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class OwnGroup:
    """The folder of this process's own group in one hierarchy."""

    folder: Path
    mount: Mount


@dataclass(frozen=True, slots=True)
class OwnGroups:
    """This process's own group in the v2 hierarchy, and by controller in those of v1.

    `problems` says, for ``v2`` and for each v1 controller, why there is none.
    """

    v2: OwnGroup | None = None
    v1: Mapping[str, OwnGroup] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Every cgroup mount of a mountinfo text, in its order."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        options = set(tail[2].split(","))
        version = 2 if tail[0] == "cgroup2" else 1
        read_only = "ro" in fields[5].split(",") or "ro" in options
        controllers = frozenset(options & V1_CONTROLLERS) if version == 1 else frozenset()
        mounts.append(Mount(version, Path(_unescape(fields[4])), _unescape(fields[3]), controllers, read_only))
    return tuple(mounts)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def parse_membership(text: str) -> dict[str, str]:
    """v1 controller -> path of the process's group in that hierarchy, and ``""`` -> its path in v2, from a /proc/PID/cgroup text."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not separator:
            continue
        if number == "0" and not controllers:
            paths[""] = path
        for controller in controllers.split(","):
            if controller in V1_CONTROLLERS:
                paths[controller] = path
    return paths


def own_folder(mount: Mount, path: str) -> Path | None:
    """The folder of the group `path` below `mount`; None where the mount, or this process's cgroup namespace, doesn't show that group."""
    own, root = PurePosixPath(path), PurePosixPath(mount.root)
    if ".." in own.parts or ".." in root.parts or not own.is_relative_to(root):
        return None
    return mount.point / own.relative_to(root)


def locate(mountinfo: str, membership: str) -> OwnGroups:
    """Find this process's own group in the v2 hierarchy and in that of every v1 controller we use."""
    mounts, paths = parse_mountinfo(mountinfo), parse_membership(membership)
    v1: dict[str, OwnGroup] = {}
    problems: dict[str, str] = {}
    v2 = _own_group([m for m in mounts if m.version == 2], paths.get(""), "v2", problems)
    for controller in sorted(V1_CONTROLLERS):
        own = _own_group([m for m in mounts if controller in m.controllers], paths.get(controller), controller, problems)
        if own is not None:
            v1[controller] = own
    return OwnGroups(v2, v1, problems)


def _own_group(mounts: list[Mount], path: str | None, name: str, problems: dict[str, str]) -> OwnGroup | None:
    if not mounts:
        problems[name] = "not mounted"
        return None
    if path is None:
        problems[name] = "not in this kernel's /proc/self/cgroup"
        return None
    for mount in mounts:
        folder = own_folder(mount, path)
        if folder is not None:
            return OwnGroup(folder, mount)
    problems[name] = f"this process's group {path} is outside of what is mounted at {mounts[0].point}"
    return None


def discover(proc: Path = Path("/proc")) -> OwnGroups:
    """`locate` for the running process; where /proc can't be read there is no hierarchy, and `problems` says so."""
    try:
        return locate((proc / "self/mountinfo").read_text(), (proc / "self/cgroup").read_text())
    except OSError as error:
        problem = f"{error.filename} can't be read: {error.strerror}"
        return OwnGroups(problems=dict.fromkeys(("v2", *sorted(V1_CONTROLLERS)), problem))
