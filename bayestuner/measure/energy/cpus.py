"""Which CPU this is, and which logical CPUs make up its packages; from /proc/cpuinfo and sysfs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text


@dataclass(frozen=True, slots=True)
class CpuModel:
    """Vendor, family and model number as in /proc/cpuinfo; zeros and empty text where it doesn't say."""

    vendor: str = ""
    family: int = 0
    model: int = 0
    name: str = ""
    hypervisor: bool = False

    @property
    def is_intel(self) -> bool:
        """GenuineIntel."""
        return self.vendor == "GenuineIntel"

    @property
    def is_amd(self) -> bool:
        """AMD, or Hygon, whose parts have AMD's registers."""
        return self.vendor in {"AuthenticAMD", "HygonGenuine"}


def cpu_model(roots: KernelRoots) -> CpuModel:
    """The model of the first CPU that /proc/cpuinfo lists."""
    text = read_text(roots.proc_path("cpuinfo")) or ""
    first = text.split("\n\n", 1)[0]
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}

    def number(key: str) -> int:
        value = fields.get(key, "")
        return int(value) if value.isdecimal() else 0

    return CpuModel(
        vendor=fields.get("vendor_id", ""),
        family=number("cpu family"),
        model=number("model"),
        name=fields.get("model name", ""),
        hypervisor="hypervisor" in fields.get("flags", "").split(),
    )


@dataclass(frozen=True, slots=True)
class CpuPlace:
    """The package, die and core of one online logical CPU."""

    cpu: int
    package: int
    die: int
    core: int


def online_cpus(roots: KernelRoots) -> tuple[CpuPlace, ...]:
    """Every online logical CPU, by number; empty where sysfs doesn't say.

    An offline CPU keeps its folder but loses the folder ``topology`` in it, by which it is known to be offline.
    """
    places = []
    for folder in roots.sys_path("devices/system/cpu").glob("cpu[0-9]*"):
        match = re.fullmatch(r"cpu(\d+)", folder.name)
        package = read_int(folder / "topology" / "physical_package_id")
        if match is None or package is None or read_text(folder / "online") == "0":
            continue
        die = read_int(folder / "topology" / "die_id")
        core = read_int(folder / "topology" / "core_id")
        # Virtual machines and some ARM boards say -1 for "unknown": one package.
        places.append(CpuPlace(int(match[1]), max(package, 0), max(die or 0, 0), max(core or 0, 0)))
    return tuple(sorted(places, key=lambda place: place.cpu))
