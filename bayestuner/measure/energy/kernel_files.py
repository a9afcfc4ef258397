"""Where the kernel's files are; tests and containers point them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders every meter reads from.

    Attributes
    ----------
    sysfs, devcpu, proc : str
        Stand for ``/sys``, ``/dev/cpu`` and ``/proc``.
    msr_stride : int
        Bytes between two neighbouring registers of an ``msr`` file. The kernel's device has 1: registers are eight bytes wide and
        numbered one apart. A plain file can't hold such overlapping registers, so fixtures use 8.
    """

    sysfs: str = "/sys"
    devcpu: str = "/dev/cpu"
    proc: str = "/proc"
    msr_stride: int = 1

    def sys_path(self, relative: str) -> Path:
        """Path below the sysfs root."""
        return Path(self.sysfs) / relative

    def proc_path(self, relative: str) -> Path:
        """Path below the proc root."""
        return Path(self.proc) / relative

    def msr_path(self, cpu: int) -> Path:
        """The ``msr`` device of one logical CPU."""
        return Path(self.devcpu) / str(cpu) / "msr"
