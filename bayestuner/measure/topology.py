"""Packages, NUMA nodes, cores and SMT siblings of this machine, and which CPUs a request for k cores gets.

Sources: /sys/devices/system/cpu and /sys/devices/system/node; nothing is assumed about numbering (even CPUs may sit on one socket
and odd ones on the other).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bayestuner.errors import IsolationUnavailable


@dataclass(frozen=True, slots=True)
class Cpu:
    """Where one logical CPU sits.

    Attributes
    ----------
    number : int
    package, node, l3, core : int
        `l3` is the lowest CPU number that shares its L3 cache; `core` the lowest one on its physical core.
    sibling : int
        0 for the first thread of its physical core, 1 for the next, ...
    """

    number: int
    package: int
    node: int
    l3: int
    core: int
    sibling: int


@dataclass(frozen=True)
class Topology:
    """The CPUs this process may use.

    Attributes
    ----------
    cpus : tuple of Cpu
        By number.
    node_free_bytes : dict of int to int
        Free memory of each NUMA node when this was read; empty where there are no nodes.
    node_distances : dict of int to tuple of int
        The kernel's relative distances from each node to every node, by number.
    """

    cpus: tuple[Cpu, ...]
    node_free_bytes: Mapping[int, int] = field(default_factory=dict)
    node_distances: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    _order: tuple[Cpu, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", _compact_order(self.cpus))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The CPUs' numbers, rising."""
        return tuple(cpu.number for cpu in self.cpus)

    @property
    def packages(self) -> tuple[int, ...]:
        """The packages these CPUs sit on."""
        return tuple(sorted({cpu.package for cpu in self.cpus}))

    def pick_cpus(self, count: int) -> tuple[int, ...]:
        """CPUs for a request of `count` cores: compact, always the same, and a part of what ``count + 1`` gets.

        One package is filled before the next, within it NUMA node by node, L3 by L3; all physical cores of the machine come before any
        second thread of one.

        Raises
        ------
        IsolationUnavailable
            Where this process may use fewer.
        """
        if not 1 <= count <= len(self._order):
            n = len(self._order)
            raise IsolationUnavailable(f"{count} cores were asked for, but this process may use {n}; ask for 1 to {n}")
        return tuple(sorted(cpu.number for cpu in self._order[:count]))

    def mems_for(self, cpus: Iterable[int], memory_bytes: int | None) -> tuple[int, ...]:
        """NUMA nodes a job on `cpus` may take its memory from, rising.

        Those of the CPUs where a limit of `memory_bytes` fits into nine tenths of what they have free; otherwise the nearest others with
        them. Without a limit every node: a job that filled its own would be killed for it, and that would look like too small a limit.
        """
        chosen = list(self.mems_of(cpus))
        known = sorted({*self.node_free_bytes, *chosen})
        if memory_bytes is None:
            return tuple(known)
        near = sorted(set(known) - set(chosen), key=lambda node: (min(self._distance(own, node) for own in chosen), node))
        while near and memory_bytes > 0.9 * sum(self.node_free_bytes.get(node, 0) for node in chosen):
            chosen.append(near.pop(0))
        return tuple(sorted(chosen))

    def _distance(self, a: int, b: int) -> int:
        row = self.node_distances.get(a, ())
        return row[b] if b < len(row) else 255

    def mems_of(self, cpus: Iterable[int]) -> tuple[int, ...]:
        """NUMA nodes of the given CPUs, rising."""
        wanted = set(cpus)
        return tuple(sorted({cpu.node for cpu in self.cpus if cpu.number in wanted}))


def _compact_order(cpus: tuple[Cpu, ...]) -> tuple[Cpu, ...]:
    """Most free package first, then by id, so that a package taken up by others (out of our mask) isn't woken for its last cores."""
    size = {package: sum(cpu.package == package for cpu in cpus) for package in {cpu.package for cpu in cpus}}
    # Rank of each thread among the usable ones of its core: where only the second thread may be used, it counts as the first.
    rank: dict[int, int] = {}
    for cpu in sorted(cpus, key=lambda c: (c.package, c.core, c.sibling)):
        rank[cpu.number] = sum(other.core == cpu.core and other.package == cpu.package and other.number in rank for other in cpus)
    return tuple(sorted(cpus, key=lambda c: (rank[c.number], -size[c.package], c.package, c.node, c.l3, c.core, c.number)))


def read_topology(sysfs: Path | str = "/sys", usable: Iterable[int] | None = None) -> Topology:
    """Read the machine's topology.

    Parameters
    ----------
    sysfs : path
        Where sysfs is mounted; tests put a tree of their own here.
    usable : iterable of int, optional
        CPUs that may be used; by default this process's affinity, which the kernel keeps within its cpuset.
    """
    root = Path(sysfs)
    allowed = sorted(os.sched_getaffinity(0) if usable is None else set(usable))
    online = _read_list(root / "devices/system/cpu/online")
    if online is not None:
        allowed = [number for number in allowed if number in online] or allowed
    node_of = _nodes(root)
    cpus = tuple(_read_cpu(root, number, node_of.get(number, 0)) for number in allowed)
    return Topology(cpus, *_node_memory(root))


def _read_cpu(root: Path, number: int, node: int) -> Cpu:
    folder = root / f"devices/system/cpu/cpu{number}"
    package = _read_int(folder / "topology/physical_package_id")
    siblings = _read_list(folder / "topology/thread_siblings_list") or (number,)
    shared = _read_list(folder / "cache/index3/shared_cpu_list")
    package = max(package or 0, 0)  # -1 is the kernel's word for "unknown" on some virtual machines
    l3 = min(shared) if shared else node
    return Cpu(number, package, node, l3, min(siblings), sorted(siblings).index(number) if number in siblings else 0)


def _nodes(root: Path) -> dict[int, int]:
    """CPU -> NUMA node; empty where the kernel has no NUMA support, which means node 0."""
    found: dict[int, int] = {}
    for folder in (root / "devices/system/node").glob("node[0-9]*"):
        match = re.fullmatch(r"node(\d+)", folder.name)
        for cpu in (_read_list(folder / "cpulist") or ()) if match else ():
            found[cpu] = int(match[1])  # type: ignore[index]
    return found


def _node_memory(root: Path) -> tuple[dict[int, int], dict[int, tuple[int, ...]]]:
    """Free bytes of every node that has memory, and distances between nodes."""
    free: dict[int, int] = {}
    distances: dict[int, tuple[int, ...]] = {}
    for folder in (root / "devices/system/node").glob("node[0-9]*"):
        number = int(folder.name.removeprefix("node"))
        try:
            match = re.search(r"MemFree:\s*(\d+) kB", (folder / "meminfo").read_text())
            distances[number] = tuple(int(word) for word in (folder / "distance").read_text().split())
        except (OSError, ValueError):
            continue
        if match:
            free[number] = int(match[1]) * 1024
    return free, distances


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _read_list(path: Path) -> tuple[int, ...] | None:
    """``0-2,5`` -> (0, 1, 2, 5); None where the file is missing, empty or says something else."""
    try:
        text = path.read_text().strip()
        numbers: set[int] = set()
        for span in filter(None, text.split(",")):
            first, _, last = span.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return None
    return tuple(sorted(numbers)) or None
