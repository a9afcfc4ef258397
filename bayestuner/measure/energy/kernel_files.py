"""Where the kernel's files are, and reading the small ones among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KernelRoots:
    """The folders below which the kernel shows its files; tests put trees of their own in their place.

    Attributes
    ----------
    sysfs, devcpu, proc : str
        Stand for ``/sys``, ``/dev/cpu`` and ``/proc``.
    msr_stride : int
        Distance in bytes between the offsets of two neighbouring registers in an ``msr`` file. The kernel's device has 1, although a
        register is eight bytes wide. In a plain file such registers would overlap, so the files of tests have 8.
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


def read_text(path: Path) -> str | None:
    """A small kernel file without its trailing newline; None where it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """A kernel file that holds one decimal number; None where it doesn't or can't be read."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
