"""The knob kind ``power_cap``: RAPL's long-term power limit of every package (a "constraint" of powercap, in microwatts).

The processor keeps its mean power over a window of some seconds at the limit by lowering its clock; the kernel rounds a limit to steps of
mostly 1/8 W. Only the limits of packages are set. ``intel-rapl-mmio`` offers a second limit for the same package, which is left alone; the
lower of the two holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayestuner.measure.actuators.sysfs import SysfsSettings, first_unwritable
from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.cpus import cpu_model
from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text
from bayestuner.measure.energy.powercap import LOAD_DRIVER, find_zones

KIND = "power_cap"
UNITS = {"w": 1e6, "mw": 1e3}
"""How a knob's name may end, and how many microwatts one unit of it is."""

ROUNDING_UW = 250_000
"""A limit read back may differ by this much from the one that was set, microwatts."""

GRANT_ACCESS = (
    "sudo find /sys/devices/virtual/powercap '(' -name 'constraint_*_power_limit_uw' -o -name enabled ')' -exec chown $USER {} + "
    "(until the next boot), or run as root"
)
IN_A_VM = "a virtual machine can't limit its host's processor: run on bare metal"
NO_LIMIT = "this processor's driver shows its energy, but no limit; use a knob of kind cpu_frequency"


@dataclass(frozen=True, slots=True)
class Package:
    """The powercap zone of one package.

    Attributes
    ----------
    folder : Path
    constraint : int
        Number of its long-term constraint.
    max_uw : int or None
        The largest limit that is surely taken: the thermal design power, or the limit that was in force when this was read where that is
        higher, as on many laptops. None: the hardware doesn't say.
    """

    folder: Path
    constraint: int
    max_uw: int | None

    @property
    def target(self) -> str:
        """The file that holds the limit."""
        return str(self.folder / f"constraint_{self.constraint}_power_limit_uw")


class PowerCap(SysfsSettings):
    """Sets power limits; see `bayestuner.measure.platform.Actuator` for the interface. Values are microwatts per package."""

    def __init__(self, packages: Sequence[Package], roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> None:
        super().__init__(roots, files)
        self.packages = tuple(packages)

    @property
    def detail(self) -> str:
        """What can be set, for people."""
        known = [p.max_uw for p in self.packages if p.max_uw]
        most = f"up to {min(known) / 1e6:g} W" if known else "limit of the hardware not known"
        return f"{len(self.packages)} package(s), {most} each"

    def problem(self, value: Any) -> str | None:
        """Why a limit can't be set; None where it can."""
        if value <= 0:
            return f"{value / 1e6:g} W is no power limit; give watts above 0"
        most = min((p.max_uw for p in self.packages if p.max_uw), default=None)
        if most is not None and value > most:
            return f"{value / 1e6:g} W is more than a package of this machine takes, {most / 1e6:g} W"
        return None

    def targets(self, value: Any, cpus: Sequence[int]) -> dict[str, str]:
        """The files of every package, wherever the job's CPUs are, because power is measured over all packages.

        A limit that isn't enabled is enabled too: the kernel would keep it without heeding it.
        """
        wanted = {}
        for package in self.packages:
            wanted[package.target] = str(round(value))
            if read_text(package.folder / "enabled") == "0":
                wanted[str(package.folder / "enabled")] = "1"
        return wanted

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Whether the limit read back is the one asked for, rounded to a step of the hardware."""
        if target.endswith("/enabled"):
            return asked == got
        return abs(int(got) - int(asked)) <= max(ROUNDING_UW, 0.01 * int(asked))


def open_power_cap(roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> PowerCap:
    """Find every package's limit, and check that this process may write it.

    Raises
    ------
    Refused
        There is none, or it may not be written; with reason and remedy.
    """
    roots = roots or KernelRoots()
    zones, notes = find_zones(roots)
    folders = [zone.folder for zone in zones if zone.name.startswith("package-")]
    if not folders:
        where = roots.sys_path("class/powercap")
        reason = (
            f"{where} has no package zone" + (f" ({'; '.join(notes)})" if notes else "") if where.is_dir() else f"{where} does not exist"
        )
        raise Refused(KIND, reason, IN_A_VM if cpu_model(roots).hypervisor else LOAD_DRIVER)
    packages = [_package(folder) for folder in folders]
    unwritable = first_unwritable(Path(package.target) for package in packages)
    if unwritable is not None:
        raise Refused(KIND, f"no permission to write {unwritable}", GRANT_ACCESS)
    return PowerCap(packages, roots, files)


def _package(folder: Path) -> Package:
    names = {index: read_text(folder / f"constraint_{index}_name") for index in range(4)}
    index = next((i for i, name in names.items() if name == "long_term"), 0)
    in_force = read_int(folder / f"constraint_{index}_power_limit_uw")
    if in_force is None:
        raise Refused(KIND, f"{folder} has no power limit that can be read", NO_LIMIT)
    design = read_int(folder / f"constraint_{index}_max_power_uw")
    return Package(folder, index, max(design, in_force) if design else None)
