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
"""Controllers in whose hierarchies a run gets a group."""

QUOTA_CONTROLLER = "cpu"
"""The v1 controller whose files say how much CPU time a group may use; they are only read."""


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
        v1 only: which of `V1_CONTROLLERS` and `QUOTA_CONTROLLER` this hierarchy has.
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

    `quota` is the one in the v1 hierarchy of `QUOTA_CONTROLLER`. `problems` says, for ``v2`` and for each of `V1_CONTROLLERS`, why there is
    none.
    """

    v2: OwnGroup | None = None
    v1: Mapping[str, OwnGroup] = field(default_factory=dict)
    quota: OwnGroup | None = None
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of mountinfo: `number` and `parent` identify a mount and the one it is mounted on; `mount` where it is one of cgroups."""

    number: str
    parent: str
    point: PurePosixPath
    mount: Mount | None


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Every cgroup mount of a mountinfo text that can be seen, in its order: a mount is hidden by one that was made over it."""
    lines = [line for line in map(_parse_line, text.splitlines()) if line is not None]
    by_number = {line.number: line for line in lines}
    mounted_on: dict[str, list[_Line]] = {}
    for line in lines:
        mounted_on.setdefault(line.parent, []).append(line)
    return tuple(line.mount for line in lines if line.mount is not None and not _is_hidden(line, by_number, mounted_on))


def _is_hidden(line: _Line, by_number: Mapping[str, _Line], mounted_on: Mapping[str, list[_Line]]) -> bool:
    """Whether the path of a mount leads into another mount: one over it, or over a folder on the way to it."""
    chain = {line.number}
    below: _Line | None = None  # what was looked at before, which is mounted on `line`
    while True:
        upon = [other for other in mounted_on.get(line.number, ()) if other is not below and other.number not in chain]
        if any(other.point == line.point if below is None else _leads_off(other, below) for other in upon):
            return True
        siblings = mounted_on[line.parent]
        if any(other.point == line.point for other in siblings[siblings.index(line) + 1 :]):
            return True
        parent = by_number.get(line.parent)
        if parent is None or parent.number in chain:
            return False
        chain.add(parent.number)
        line, below = parent, line


def _leads_off(other: _Line, below: _Line) -> bool:
    """Whether a mount lies over a folder on the way to another one on the same file system."""
    return below.point != other.point and below.point.is_relative_to(other.point)


def _parse_line(text: str) -> _Line | None:
    before, separator, after = text.partition(" - ")
    fields, tail = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(tail) < 3:
        return None
    mount = None
    if tail[0] in ("cgroup", "cgroup2"):
        options = set(tail[2].split(","))
        version = 2 if tail[0] == "cgroup2" else 1
        read_only = "ro" in fields[5].split(",") or "ro" in options
        controllers = frozenset(options & {*V1_CONTROLLERS, QUOTA_CONTROLLER}) if version == 1 else frozenset()
        mount = Mount(version, Path(_unescape(fields[4])), _unescape(fields[3]), controllers, read_only)
    return _Line(fields[0], fields[1], PurePosixPath(_unescape(fields[4])), mount)


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
            if controller in V1_CONTROLLERS or controller == QUOTA_CONTROLLER:
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
    quota = _own_group([m for m in mounts if QUOTA_CONTROLLER in m.controllers], paths.get(QUOTA_CONTROLLER), QUOTA_CONTROLLER, {})
    return OwnGroups(v2, v1, quota, problems)


def _own_group(mounts: list[Mount], path: str | None, name: str, problems: dict[str, str]) -> OwnGroup | None:
    if not mounts:
        problems[name] = "not mounted"
        return None
    if path is None:
        problems[name] = "not in this kernel's /proc/self/cgroup"
        return None
    seen = [OwnGroup(folder, mount) for mount in mounts if (folder := own_folder(mount, path)) is not None]
    if seen:
        return next((own for own in seen if not own.mount.read_only), seen[0])
    problems[name] = f"this process's group {path} is outside of what is mounted at {mounts[0].point}"
    return None


def discover(proc: Path = Path("/proc")) -> OwnGroups:
    """`locate` for the running process; where /proc can't be read there is no hierarchy, and `problems` says so."""
    try:
        return locate((proc / "self/mountinfo").read_text(), (proc / "self/cgroup").read_text())
    except OSError as error:
        problem = f"{error.filename} can't be read: {error.strerror}"
        return OwnGroups(problems=dict.fromkeys(("v2", *sorted(V1_CONTROLLERS)), problem))
