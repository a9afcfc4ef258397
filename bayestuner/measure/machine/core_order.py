"""Which CPUs a job gets first: compact or spread, second threads last or never, and which core is kept for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Literal

AUTO_HOUSEKEEPING_ABOVE = 4
"""Physical cores a machine must have more of before one is kept free unasked."""


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
    kind : int
        0 for the fast cores, or where all are alike; 1 for the efficient cores of a hybrid part (2, ... where there are more kinds).
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
    """How a job's cores are chosen; constant for a study.

    Attributes
    ----------
    placement : {"compact", "spread"}
    smt : {"last", "never"}
        Whether second threads of a physical core are used once every core is, or not at all.
    housekeeping_cores : int or "auto"
        Physical cores that no job gets; ``"auto"`` is 1 where there are more than four.
    """

    placement: Literal["compact", "spread"] = "compact"
    smt: Literal["last", "never"] = "last"
    housekeeping_cores: int | Literal["auto"] = 0


COMPACT = CorePolicy()
"""Compact, second threads last, no core kept free."""


@dataclass(frozen=True, slots=True)
class CoreOrder:
    """What a policy makes of a machine.

    Attributes
    ----------
    cpus : tuple of Cpu
        For jobs, in the order they are taken: the first k are a request for k.
    first_threads : tuple of Cpu
        The first usable thread of every physical core for jobs, in the same order.
    siblings : tuple of Cpu
        The other threads of these cores.
    housekeeping : tuple of int
        CPUs that no job with a limit on its cores gets.
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
    """CPUs of the cores to keep free: of the efficient kind where there is one, and the lowest numbers, which get most interrupts."""
    count = (physical_cores(cpus) > AUTO_HOUSEKEEPING_ABOVE) if asked == "auto" else asked
    kept: dict[tuple[int, int], None] = {}
    for cpu in sorted(cpus, key=lambda c: (-c.kind, c.number)):
        if len(kept) < count:
            kept.setdefault((cpu.package, cpu.core))
    return {cpu.number for cpu in cpus if (cpu.package, cpu.core) in kept}


def _ranks(cpus: Sequence[Cpu]) -> dict[int, int]:
    """Rank of each thread among the usable ones of its core: where only the second may be used, it counts as the first."""
    by_core = sorted(cpus, key=lambda c: (c.package, c.core, c.sibling, c.number))
    groups = groupby(by_core, key=lambda c: (c.package, c.core))
    return {cpu.number: rank for _, threads in groups for rank, cpu in enumerate(threads)}


def _compact(cpus: Sequence[Cpu]) -> list[Cpu]:
    """Fast cores first; of these the package with most free ones first, so that one that others use isn't woken for its last cores."""
    free = {package: sum(cpu.package == package for cpu in cpus) for package in {cpu.package for cpu in cpus}}
    return sorted(cpus, key=lambda c: (c.kind, -free[c.package], c.package, c.node, c.l3, c.core, c.number))


def _spread(cpus: Sequence[Cpu]) -> list[Cpu]:
    """Fast cores first; of these one of each package in turn, within a package one of each node, within a node one of each L3."""
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
