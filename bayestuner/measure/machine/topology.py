"""Packages, NUMA nodes, cores and threads of this machine, and which CPUs and memory nodes a run gets.

Read from /sys/devices/system/cpu and /sys/devices/system/node. Nothing is assumed about numbering: even CPUs may be on one socket and odd
ones on the other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.machine.core_order import COMPACT, CoreOrder, CorePolicy, Cpu, order_cores

_NO_L3 = 1 << 20  # above every CPU's number: the cores of a node that share no L3 cache are treated as one group


@dataclass(frozen=True)
class Topology:
    """The CPUs this process may use.

    Attributes
    ----------
    cpus : tuple of Cpu
        By number.
    node_free_bytes : dict of int to int
        NUMA node -> its free memory in bytes when this was read; empty where the kernel shows no nodes.
    node_distances : dict of int to tuple of int
        NUMA node -> the kernel's relative distances to the nodes 0, 1, ...
    policy : CorePolicy
    sysfs : Path or None
        Where the nodes' free memory is read again each time it is needed; None: `node_free_bytes` is used.
    order : CoreOrder
        What `policy` makes of `cpus`.
    """

    cpus: tuple[Cpu, ...]
    node_free_bytes: Mapping[int, int] = field(default_factory=dict)
    node_distances: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    policy: CorePolicy = COMPACT
    sysfs: Path | None = field(default=None, repr=False, compare=False)
    order: CoreOrder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", order_cores(self.cpus, self.policy))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The CPUs' numbers in rising order."""
        return tuple(cpu.number for cpu in self.cpus)

    @property
    def packages(self) -> tuple[int, ...]:
        """The packages (sockets) that these CPUs are on."""
        return tuple(sorted({cpu.package for cpu in self.cpus}))

    @property
    def max_cores(self) -> int:
        """How many CPUs jobs may get: what ``max = "all"`` means."""
        return len(self.order.cpus)

    @property
    def housekeeping(self) -> tuple[int, ...]:
        """CPUs that are kept free of jobs, in rising order, for BayesTuner and the rest of the system; empty where none are."""
        return self.order.housekeeping

    def pick_cpus(self, count: int) -> tuple[int, ...]:
        """CPUs for a request of `count` cores: always the same ones, and a subset of those that ``count + 1`` gets.

        Compact placement fills one package before the next, and within it one NUMA node and one L3 cache after the other; spread placement
        takes packages, nodes and L3 caches in turn. Either way every physical core is used before a second thread of any.

        Raises
        ------
        IsolationUnavailable
            Jobs may get fewer CPUs than `count`.
        """
        return tuple(sorted(cpu.number for cpu in self._first(count, self.order.cpus)))

    def pick_physical_cores(self, count: int, *, siblings: bool) -> tuple[int, ...]:
        """CPUs of `count` physical cores, chosen as `pick_cpus` does: their first threads only, or all their threads with `siblings`.

        Raises
        ------
        IsolationUnavailable
            Jobs may get fewer physical cores than `count`.
        """
        cores = self._first(count, self.order.first_threads)
        chosen = {(cpu.package, cpu.core) for cpu in cores}
        others = [cpu for cpu in self.order.siblings if siblings and (cpu.package, cpu.core) in chosen]
        return tuple(sorted(cpu.number for cpu in (*cores, *others)))

    def _first(self, count: int, among: tuple[Cpu, ...]) -> tuple[Cpu, ...]:
        n = len(among)
        if not 1 <= count <= n:
            raise IsolationUnavailable(f"{count} cores were asked for, but this process may use {n}; ask for 1 to {n}")
        return among[:count]

    def memory_nodes_for(self, cpus: Iterable[int], memory_bytes: int | None) -> tuple[int, ...]:
        """NUMA nodes from which a job on `cpus` may take its memory, in rising order.

        The nodes of the CPUs, where a limit of `memory_bytes` fits into nine tenths of their free memory; otherwise the nearest other
        nodes as well. Without a memory limit every node: a job that filled its own nodes would be killed, as if its memory limit had been
        too small.
        """
        chosen = list(self.memory_nodes_of(cpus))
        free = self.node_free_bytes if self.sysfs is None else _node_memory(self.sysfs)[0]
        known = sorted({*free, *chosen})
        if memory_bytes is None:
            return tuple(known)
        near = sorted(set(known) - set(chosen), key=lambda node: (min(self._distance(own, node) for own in chosen), node))
        while near and memory_bytes > 0.9 * sum(free.get(node, 0) for node in chosen):
            chosen.append(near.pop(0))
        return tuple(sorted(chosen))

    def _distance(self, a: int, b: int) -> int:
        row = self.node_distances.get(a, ())
        return row[b] if b < len(row) else 255

    def memory_nodes_of(self, cpus: Iterable[int]) -> tuple[int, ...]:
        """NUMA nodes of the given CPUs, in rising order."""
        wanted = set(cpus)
        return tuple(sorted({cpu.node for cpu in self.cpus if cpu.number in wanted}))


def read_topology(sysfs: Path | str = "/sys", usable: Iterable[int] | None = None, *, policy: CorePolicy = COMPACT) -> Topology:
    """Read the machine's topology.

    Parameters
    ----------
    sysfs : path
        Where sysfs is mounted; tests give a tree of their own.
    usable : iterable of int, optional
        CPUs that may be used; by default those of this process's affinity, which the kernel keeps within the process's cpuset.
    policy : CorePolicy
        How the cores of a run are chosen.
    """
    root = Path(sysfs)
    allowed = sorted(os.sched_getaffinity(0) if usable is None else set(usable))
    online = _read_list(root / "devices/system/cpu/online")
    if online is not None:
        allowed = [number for number in allowed if number in online] or allowed
    node_of = _nodes(root)
    kind_of = _kinds(root, allowed)
    cpus = tuple(_read_cpu(root, number, node_of.get(number, 0), kind_of.get(number, 0)) for number in allowed)
    return Topology(cpus, *_node_memory(root), policy, root)


def _read_cpu(root: Path, number: int, node: int, kind: int) -> Cpu:
    folder = root / f"devices/system/cpu/cpu{number}"
    package = _read_int(folder / "topology/physical_package_id")
    siblings = _read_list(folder / "topology/thread_siblings_list") or (number,)
    shared = _read_list(folder / "cache/index3/shared_cpu_list")
    package = max(package or 0, 0)  # -1 is the kernel's word for "unknown" on some virtual machines
    l3 = min(shared) if shared else _NO_L3 + node
    sibling = sorted(siblings).index(number) if number in siblings else 0
    return Cpu(number, package, node, l3, min(siblings), sibling, kind)


def _kinds(root: Path, cpus: Iterable[int]) -> dict[int, int]:
    """CPU -> 0 for the fastest kind of core, 1 for the next, ...: from the PMUs of hybrid x86 processors, else from CPU capacities."""
    efficient = _read_list(root / "devices/cpu_atom/cpus")
    if efficient is not None:
        return {cpu: int(cpu in efficient) for cpu in cpus}
    capacity = {cpu: _read_int(root / f"devices/system/cpu/cpu{cpu}/cpu_capacity") or 0 for cpu in cpus}
    falling = sorted(set(capacity.values()), reverse=True)
    return {cpu: falling.index(value) for cpu, value in capacity.items()}


def _nodes(root: Path) -> dict[int, int]:
    """CPU -> NUMA node; empty where the kernel has no NUMA support: then all CPUs are on node 0."""
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
