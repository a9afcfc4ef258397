"""The order in which a job gets CPUs: compact or spread, second threads of cores last or never, and which cores are kept free of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Literal

AUTO_HOUSEKEEPING_ABOVE = 4
"""With ``"auto"`` one physical core is kept free of jobs on machines with more physical cores than this."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU: its number, and where in the machine it is.

    Attributes
    ----------
    number : int
    package, node : int
        Its socket and its NUMA node.
    l3, core : int
        The lowest number of a CPU that shares its L3 cache, and of one on the same physical core: these numbers stand for cache and core.
    sibling : int
        0 for the first thread of its physical core, 1 for the second, ...
    kind : int
        0 for the fastest kind of core; 1 for the efficient cores of a hybrid processor (2, ... where there are more kinds).
    """

    number: int
    package: int
    node: int
    l3: int
    core: int
    sibling: int
    kind: int = 0


@dataclass(frozen=True, slots=True)
class CorePolicy:
    """How the cores of a run are chosen; the same for all runs of a study. The keys of the same names in a job file say more.

    Attributes
    ----------
    placement : {"compact", "spread"}
    smt : {"last", "never"}
        Whether second threads of physical cores are used once every physical core is, or not at all.
    housekeeping_cores : int or "auto"
        Physical cores that no job gets; ``"auto"`` is 1 where there are more than `AUTO_HOUSEKEEPING_ABOVE`, else 0.
    """

    placement: Literal["compact", "spread"] = "compact"
    smt: Literal["last", "never"] = "last"
    housekeeping_cores: int | Literal["auto"] = 0


COMPACT = CorePolicy()
"""Compact, second threads last, no core kept free."""


@dataclass(frozen=True, slots=True)
class CoreOrder:
    """The CPUs of a machine in the order that a `CorePolicy` gives them.

    Attributes
    ----------
    cpus : tuple of Cpu
        The CPUs that jobs may get: a request for k cores gets the first k.
    first_threads : tuple of Cpu
        The first usable thread of every physical core that jobs may get, in the same order.
    siblings : tuple of Cpu
        The other threads of these cores.
    housekeeping : tuple of int
        Numbers of the CPUs that are kept free of jobs whose cores are limited.
    """

    cpus: tuple[Cpu, ...]
    first_threads: tuple[Cpu, ...]
    siblings: tuple[Cpu, ...]
    housekeeping: tuple[int, ...]


def order_cores(cpus: Sequence[Cpu], policy: CorePolicy) -> CoreOrder:
    """Put the usable CPUs of a machine in the order in which jobs get them."""
    housekeeping = _housekeeping(cpus, policy.housekeeping_cores)
    rest = [cpu for cpu in cpus if cpu.number not in housekeeping]
    rank = _ranks(rest)
    arrange = _compact if policy.placement == "compact" else _spread
    levels = [arrange([cpu for cpu in rest if rank[cpu.number] == level]) for level in sorted(set(rank.values()))]
    firsts = levels[0] if levels else []
    siblings = [cpu for level in levels[1:] for cpu in level]
    used = firsts if policy.smt == "never" else [*firsts, *siblings]
    return CoreOrder(tuple(used), tuple(firsts), tuple(siblings), tuple(sorted(housekeeping)))


def physical_cores(cpus: Sequence[Cpu]) -> int:
    """How many physical cores these CPUs lie on."""
    return len({(cpu.package, cpu.core) for cpu in cpus})


def _housekeeping(cpus: Sequence[Cpu], asked: int | Literal["auto"]) -> set[int]:
    """CPUs of the cores to keep free: efficient cores where there are any, and those with the lowest numbers, which get most interrupts."""
    count = (physical_cores(cpus) > AUTO_HOUSEKEEPING_ABOVE) if asked == "auto" else asked
    kept: dict[tuple[int, int], None] = {}
    for cpu in sorted(cpus, key=lambda c: (-c.kind, c.number)):
        if len(kept) < count:
            kept.setdefault((cpu.package, cpu.core))
    return {cpu.number for cpu in cpus if (cpu.package, cpu.core) in kept}


def _ranks(cpus: Sequence[Cpu]) -> dict[int, int]:
    """CPU number -> its rank among the usable threads of its core, so that a core's only usable thread counts as its first."""
    by_core = sorted(cpus, key=lambda c: (c.package, c.core, c.sibling, c.number))
    groups = groupby(by_core, key=lambda c: (c.package, c.core))
    return {cpu.number: rank for _, threads in groups for rank, cpu in enumerate(threads)}


def _compact(cpus: Sequence[Cpu]) -> list[Cpu]:
    """Fast cores first, and among equally fast ones the package with most usable CPUs first.

    So the last few CPUs of a package that is mostly given to others are taken last.
    """
    free = {package: sum(cpu.package == package for cpu in cpus) for package in {cpu.package for cpu in cpus}}
    return sorted(cpus, key=lambda c: (c.kind, -free[c.package], c.package, c.node, c.l3, c.core, c.number))


def _spread(cpus: Sequence[Cpu]) -> list[Cpu]:
    """Fast cores first, and among equally fast ones one of each package in turn.

    Within a package one of each NUMA node in turn, and within a node one of each L3 cache in turn.
    """
    return [
        cpu for kind in sorted({c.kind for c in cpus}) for cpu in _in_turn([c for c in cpus if c.kind == kind], ("package", "node", "l3"))
    ]


def _in_turn(cpus: Sequence[Cpu], levels: tuple[str, ...]) -> list[Cpu]:
    if not levels:
        return sorted(cpus, key=lambda c: (c.core, c.number))
    groups: dict[int, list[Cpu]] = {}
    for cpu in cpus:
        groups.setdefault(getattr(cpu, levels[0]), []).append(cpu)
    fullest_first = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    columns = [_in_turn(members, levels[1:]) for _, members in fullest_first]
    return [cpu for row in zip_longest(*columns) for cpu in row if cpu is not None]
