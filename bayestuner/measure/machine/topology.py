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
from bayestuner.measure.cgroup.cpulist import parse_list
from bayestuner.measure.machine.core_order import COMPACT, CoreOrder, CorePolicy, Cpu, order_cores

SAME_KIND = 0.05
"""Cores whose capacities differ by less than this share are one kind of core."""

_FAR = 255  # the kernel's largest distance
_NO_L3 = 1 << 20  # above every CPU's number: the cores of a node that share no L3 cache are treated as one group


@dataclass(frozen=True)
class Topology:
    """The CPUs this process may use.

    Attributes
    ----------
    cpus : tuple of Cpu
        By number.
    node_free_bytes : dict of int to int
        NUMA node -> its free memory in bytes when this was read, for the nodes that have memory; empty where the kernel shows no nodes.
    node_distances : dict of int to dict of int to int
        NUMA node -> node -> the kernel's relative distance between the two.
    policy : CorePolicy
    sysfs : Path or None
        Where the nodes' free memory is read again each time it is needed; None: `node_free_bytes` is used.
    usable_nodes : frozenset of int or None
        The nodes from which this process, and so its jobs, may take memory; None: all of them.
    order : CoreOrder
        What `policy` makes of `cpus`.
    """

    cpus: tuple[Cpu, ...]
    node_free_bytes: Mapping[int, int] = field(default_factory=dict)
    node_distances: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    policy: CorePolicy = COMPACT
    sysfs: Path | None = field(default=None, repr=False, compare=False)
    usable_nodes: frozenset[int] | None = None
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

        Only nodes that have memory and that this process may use. Of these the nodes of the CPUs, where a limit of `memory_bytes` fits into
        nine tenths of their free memory; otherwise the nearest other nodes as well. Without a memory limit all of them: a job that filled
        its own nodes would be killed, as if its memory limit had been too small.
        """
        own = self.memory_nodes_of(cpus)
        free = self.node_free_bytes if self.sysfs is None else _node_memory(self.sysfs)[0]
        free = {node: free[node] for node in free if self.usable_nodes is None or node in self.usable_nodes} or free
        if not free:
            return own
        if memory_bytes is None:
            return tuple(sorted(free))
        chosen = [node for node in own if node in free]
        near = sorted(set(free) - set(chosen), key=lambda node: (min(self._distance(mine, node) for mine in own), node))
        while near and (not chosen or memory_bytes > 0.9 * sum(free[node] for node in chosen)):
            chosen.append(near.pop(0))
        return tuple(sorted(chosen))

    def _distance(self, a: int, b: int) -> int:
        return self.node_distances.get(a, {}).get(b, _FAR)

    def memory_nodes_of(self, cpus: Iterable[int]) -> tuple[int, ...]:
        """NUMA nodes of the given CPUs, in rising order."""
        wanted = set(cpus)
        return tuple(sorted({cpu.node for cpu in self.cpus if cpu.number in wanted}))


def read_topology(
    sysfs: Path | str = "/sys",
    usable: Iterable[int] | None = None,
    *,
    policy: CorePolicy = COMPACT,
    usable_nodes: Iterable[int] | None = None,
) -> Topology:
    """Read the machine's topology.

    Parameters
    ----------
    sysfs : path
        Where sysfs is mounted; tests give a tree of their own.
    usable : iterable of int, optional
        CPUs that may be used; by default those of this process's affinity, which the kernel keeps within the process's cpuset.
        That holds no CPU that is offline, and so is right also in a container that is shown other CPUs in sysfs (lxcfs).
    policy : CorePolicy
        How the cores of a run are chosen.
    usable_nodes : iterable of int, optional
        NUMA nodes from which memory may be taken; by default those of this process's cpuset, or all of them where `usable` is given.
    """
    root = Path(sysfs)
    allowed = sorted(os.sched_getaffinity(0) if usable is None else set(usable))
    if usable_nodes is None and usable is None:
        usable_nodes = _own_memory_nodes(Path("/proc"))
    node_of = _nodes(root)
    kind_of = _kinds(root, allowed)
    cpus = tuple(_read_cpu(root, number, node_of.get(number, 0), kind_of.get(number, 0)) for number in allowed)
    return Topology(cpus, *_node_memory(root), policy, root, None if usable_nodes is None else frozenset(usable_nodes))


def _own_memory_nodes(proc: Path) -> tuple[int, ...] | None:
    """The NUMA nodes that the cpuset of this process allows; None where the kernel doesn't say."""
    try:
        found = re.search(r"^Mems_allowed_list:\s*(\S+)$", (proc / "self/status").read_text(), re.MULTILINE)
        return parse_list(found[1]) if found else None
    except (OSError, ValueError):
        return None


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
    """CPU -> 0 for the fastest kind of core, 1 for the next, ...: from the PMUs of hybrid x86 processors, else from CPU capacities.

    Capacities are relative to the machine's largest, 1024. Cores of one kind may differ by some thousandths, because each was tested by
    itself at the factory; they are one kind as long as they differ from the kind's fastest core by less than `SAME_KIND`.
    """
    efficient = _read_list(root / "devices/cpu_atom/cpus")
    if efficient is not None:
        return {cpu: int(cpu in efficient) for cpu in cpus}
    capacity = {cpu: _read_int(root / f"devices/system/cpu/cpu{cpu}/cpu_capacity") or 0 for cpu in cpus}
    kind_of: dict[int, int] = {}
    fastest, kind = 0.0, -1
    for value in sorted(set(capacity.values()), reverse=True):
        if kind < 0 or value < (1.0 - SAME_KIND) * fastest:
            fastest, kind = value, kind + 1
        kind_of[value] = kind
    return {cpu: kind_of[value] for cpu, value in capacity.items()}


def _nodes(root: Path) -> dict[int, int]:
    """CPU -> NUMA node; empty where the kernel has no NUMA support: then all CPUs are on node 0."""
    found: dict[int, int] = {}
    for folder in (root / "devices/system/node").glob("node[0-9]*"):
        match = re.fullmatch(r"node(\d+)", folder.name)
        for cpu in (_read_list(folder / "cpulist") or ()) if match else ():
            found[cpu] = int(match[1])  # type: ignore[index]
    return found


def _node_memory(root: Path) -> tuple[dict[int, int], dict[int, dict[int, int]]]:
    """Free bytes of every node that has memory, and the distances between all nodes.

    A node may have CPUs and no memory: its MemTotal is 0, and no cpuset takes it as a memory node.
    """
    free: dict[int, int] = {}
    distances: dict[int, dict[int, int]] = {}
    folders = {int(folder.name.removeprefix("node")): folder for folder in (root / "devices/system/node").glob("node[0-9]*")}
    for number, folder in folders.items():
        try:
            said = dict(re.findall(r"(MemTotal|MemFree):\s*(\d+) kB", (folder / "meminfo").read_text()))
            row = [int(word) for word in (folder / "distance").read_text().split()]
        except (OSError, ValueError):
            continue
        distances[number] = dict(zip(sorted(folders), row, strict=False))  # a row has the online nodes in rising order
        if "MemFree" in said and said.get("MemTotal") != "0":
            free[number] = int(said["MemFree"]) * 1024
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
