"""What other programs do to this machine before anything is measured, and which they are: their work would be taken for the job's."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayestuner.foreign_text import harmless
from bayestuner.measure.machine.noise import BUSY_LOAD, STEAL, measure_noise

OBSERVED_S = 1.0
_NAMED = 3
_WORTH_NAMING = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """A process that uses CPU time: its name, its id, and its share of all CPU time of this machine."""

    name: str
    pid: int
    share: float


@dataclass(frozen=True, slots=True)
class OtherPrograms:
    """How busy this machine was while no job ran.

    Attributes
    ----------
    load : float
        Share of all CPU time that was used.
    steal : float
        Share of all CPU time that the hypervisor gave to other machines.
    busiest : tuple of Program
        Those that used most of it, of the processes that can be seen from here.
    """

    load: float
    steal: float
    busiest: tuple[Program, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def warning(self) -> str | None:
        """What to say before the first run, or None where the machine is quiet enough."""
        if self.load > BUSY_LOAD:
            named = ", ".join(f"{p.name} (process {p.pid}) {100 * p.share:.0f} %" for p in self.busiest)
            which = f": {named}" if named else ""
            return (
                f"this machine is busy: other programs use {100 * self.load:.0f} % of its CPU time{which}; runs are disturbed by that, "
                "take longer and come to uncertain figures: stop those programs, or go on at a quiet time (what was measured is kept)"
            )
        if self.steal > STEAL:
            return (
                f"the hypervisor gives {100 * self.steal:.1f} % of this machine's CPU time to others, which disturbs runs; "
                "a machine with CPUs of its own gives better figures"
            )
        return None


def observe_other_programs(seconds: float = OBSERVED_S, proc: Path = Path("/proc")) -> OtherPrograms | None:
    """Watch the machine for some seconds in which this process sleeps; None where /proc/stat can't be read."""
    before = _cpu_ticks(proc)
    noise = measure_noise(proc / "stat", seconds)
    if noise is None:
        return None
    all_ticks = noise.duration_s * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
    used = {pid: (name, ticks - before[pid][1]) for pid, (name, ticks) in _cpu_ticks(proc).items() if pid in before}
    programs = [Program(name, pid, ticks / all_ticks) for pid, (name, ticks) in used.items() if pid != os.getpid()]
    programs = sorted((p for p in programs if p.share >= _WORTH_NAMING), key=lambda p: -p.share)
    return OtherPrograms(noise.outside_load, noise.steal, tuple(programs[:_NAMED]))


def _cpu_ticks(proc: Path) -> dict[int, tuple[str, int]]:
    """Process id -> name and CPU time in clock ticks, of every process that can be seen."""
    found = {}
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            head, _, rest = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields = rest.split()
            found[int(folder.name)] = (harmless(head.partition("(")[2]), int(fields[11]) + int(fields[12]))
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
    return found
