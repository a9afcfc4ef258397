"""How much memory a job can be given here: what the machine has, and what the cgroups around this process allow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bayestuner.measure.cgroup.files import read_keyed
from bayestuner.measure.cgroup.hierarchy import OwnGroup, discover
from bayestuner.measure.cgroup.names import SUPERVISOR
from bayestuner.measure.energy.kernel_files import read_text

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """The most memory that a job can be given.

    Attributes
    ----------
    n_bytes : int
    reason : str
        Where the bound comes from, as a clause for messages: ``this machine has 23.5 GiB``.
    """

    n_bytes: int
    reason: str


def memory_bound(proc: Path = Path("/proc")) -> MemoryBound | None:
    """The machine's memory, or the limit of a cgroup around this process where that is lower; None where /proc doesn't say.

    A limit above it could never be reached: the job would be killed for the machine's or the container's lack of memory instead.
    """
    bounds = []
    total = read_keyed((read_text(proc / "meminfo") or "").replace(":", "").replace(" kB", "")).get("MemTotal")
    if total:
        bounds.append(MemoryBound(total * 1024, f"this machine has {memory_text(total * 1024)}"))
    own_groups = discover(proc)
    if own_groups.v2 is not None:
        bounds += _v2_bounds(own_groups.v2)
    if "memory" in own_groups.v1:
        bounds += _v1_bounds(own_groups.v1["memory"])
    return min(bounds, key=lambda bound: bound.n_bytes, default=None)


def _v2_bounds(own: OwnGroup) -> list[MemoryBound]:
    """The limits of the group in which groups of runs are made, and of all groups above it that can be seen."""
    folder = own.folder.parent if own.folder.name == SUPERVISOR else own.folder
    folders = [folder, *(parent for parent in folder.parents if parent.is_relative_to(own.mount.point))]
    limits = {path / "memory.max": read_text(path / "memory.max") or "" for path in folders}
    return [_group_bound(int(text), path) for path, text in limits.items() if text.isdecimal()]


def _v1_bounds(own: OwnGroup) -> list[MemoryBound]:
    path = own.folder / "memory.stat"
    limit = read_keyed(read_text(path) or "").get("hierarchical_memory_limit")
    return [] if limit is None else [_group_bound(limit, path)]


def _group_bound(n_bytes: int, path: Path) -> MemoryBound:
    return MemoryBound(n_bytes, f"the cgroup this process is in allows {memory_text(n_bytes)} ({path})")


def memory_text(n_bytes: float) -> str:
    """A number of bytes for people, in the largest unit of which it is at least one: ``512 KiB``, ``1.5 GiB``."""
    power = 0
    while n_bytes >= 1024 and power < len(_UNITS) - 1:
        n_bytes /= 1024
        power += 1
    return f"{n_bytes:.4g} {_UNITS[power]}"
