"""Where this process stands in the cgroup hierarchies: pure functions of /proc/self/mountinfo and /proc/self/cgroup.

mountinfo and not /proc/mounts: inside a container the mount shows only a part of the tree, and which part stands in mountinfo's root field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

V1_CONTROLLERS = frozenset({"cpuset", "memory", "freezer", "cpuacct", "pids"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted cgroup file system; `root` is the group that is seen at `point`."""

    version: int
    point: Path
    root: str
    controllers: frozenset[str] = frozenset()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of this process's own group in one hierarchy."""

    folder: Path
    mount: Mount


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """This process's own places; `problems` says for a hierarchy (``v2`` or a v1 controller) why it has none."""

    v2: Place | None = None
    v1: Mapping[str, Place] = field(default_factory=dict)
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
    """Own path per v1 controller, and under ``""`` for v2, from a /proc/PID/cgroup text."""
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
    """Where group `path` is seen through `mount`; None where it lies outside of what the mount or the namespace shows."""
    own, root = PurePosixPath(path), PurePosixPath(mount.root)
    if ".." in own.parts or ".." in root.parts or not own.is_relative_to(root):
        return None
    return mount.point / own.relative_to(root)


def locate(mountinfo: str, membership: str) -> Hierarchies:
    """Find this process's own group in the v2 hierarchy and in that of every v1 controller we use."""
    mounts, paths = parse_mountinfo(mountinfo), parse_membership(membership)
    v1: dict[str, Place] = {}
    problems: dict[str, str] = {}
    v2 = _place([m for m in mounts if m.version == 2], paths.get(""), "v2", problems)
    for controller in sorted(V1_CONTROLLERS):
        place = _place([m for m in mounts if controller in m.controllers], paths.get(controller), controller, problems)
        if place is not None:
            v1[controller] = place
    return Hierarchies(v2, v1, problems)


def _place(mounts: list[Mount], path: str | None, name: str, problems: dict[str, str]) -> Place | None:
    if not mounts:
        problems[name] = "not mounted"
        return None
    if path is None:
        problems[name] = "not in this kernel's /proc/self/cgroup"
        return None
    for mount in mounts:
        folder = own_folder(mount, path)
        if folder is not None:
            return Place(folder, mount)
    problems[name] = f"this process's group {path} is outside of what is mounted at {mounts[0].point}"
    return None


def discover(proc: Path = Path("/proc")) -> Hierarchies:
    """`locate` for the running process; where /proc can't be read there is no hierarchy, and `problems` says so."""
    try:
        return locate((proc / "self/mountinfo").read_text(), (proc / "self/cgroup").read_text())
    except OSError as error:
        problem = f"{error.filename} can't be read: {error.strerror}"
        return Hierarchies(problems=dict.fromkeys(("v2", *sorted(V1_CONTROLLERS)), problem))
