"""The powercap meter: ``energy_uj`` files below /sys/class/powercap.

A zone is a folder for one domain. It is known by its file ``name``, never by its number: ``intel-rapl:1`` may be the second socket or psys.
The class folder is a flat list of symbolic links into a nested tree, and the DRAM zones of all sockets are just called ``dram``; a DRAM
zone belongs to the package in whose folder it really lies. ``intel-rapl-mmio`` shows the same packages a second time and psys the whole
board, so neither is added to a total.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.counter_energy import Counter, plausible_power_w
from bayestuner.measure.energy.counting_meter import HIDDEN_BY_VM, CountingMeter, describe_os_error, proven_meter
from bayestuner.measure.energy.cpus import cpu_model
from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text
from bayestuner.measure.energy.reader import Source, SourceKind

SOURCE = "powercap"
OTHER_METER = 'use another meter: energy = ["perf", "msr"]'
LOAD_DRIVER = "load the driver: sudo modprobe intel_rapl_msr"
GRANT_ACCESS = (
    "give yourself read access until the next boot: "
    "sudo find /sys/devices/virtual/powercap -name energy_uj -exec chown $USER {} + (or run with CAP_DAC_READ_SEARCH)"
)
_ZONE = re.compile(r"intel-rapl(:\d+){1,2}")  # not intel-rapl-mmio:*, not the control type itself
_PACKAGE = re.compile(r"package-(\d+(?:-die-\d+)?)")
_REGISTER_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone whose energy is counted: `name` is its domain (``package-0``, ``dram-0``), `folder` the real folder, links followed."""

    name: str
    folder: Path


def find_zones(roots: KernelRoots) -> tuple[tuple[Zone, ...], tuple[str, ...]]:
    """The package and DRAM zones in the order package-0, dram-0, package-1, ..., and notes about zones that were passed over."""
    zones: dict[str, Zone] = {}
    notes: list[str] = []
    for link in sorted(roots.sys_path("class/powercap").glob("intel-rapl:*")):
        if not _ZONE.fullmatch(link.name):
            continue
        folder = Path(os.path.realpath(link))
        if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a parent may not be entered
            notes.append(f"{link.name} points nowhere (masked, as containers do)")
            continue
        name = _domain(folder)
        if name is None:
            continue  # psys, core, uncore
        if not os.path.lexists(folder / "energy_uj"):
            notes.append(f"{link.name} ({name}) has no energy_uj")
        elif name in zones:
            notes.append(f"{link.name} is a second zone called {name} and was left out")
        else:
            zones[name] = Zone(name, folder)
    ordered = sorted(zones.values(), key=lambda zone: (_numbers(zone.name), zone.name.startswith("dram")))
    if cpu_model(roots).is_amd:
        ordered = _one_per_package(ordered, notes)
    return tuple(ordered), tuple(notes)


def _one_per_package(zones: list[Zone], notes: list[str]) -> list[Zone]:
    """The zone of the first die of each package.

    Kernels 6.9 to 6.12 make a zone for each chiplet of an AMD package, and all of them show the package's one counter.
    """
    kept: dict[str, Zone] = {}
    for zone in zones:
        whole = zone.name.partition("-die-")[0]
        if whole in kept:
            notes.append(f"{zone.name} shows the same counter as {whole} and was left out")
        else:
            kept[whole] = Zone(whole, zone.folder)
    return list(kept.values())


def _domain(folder: Path) -> str | None:
    """``package-0`` or ``dram-0`` for a zone's real folder; None for a zone that isn't counted."""
    name = read_text(folder / "name") or ""
    if _PACKAGE.fullmatch(name):
        return name
    if name == "dram":
        parent = _PACKAGE.fullmatch(read_text(folder.parent / "name") or "")
        return f"dram-{parent[1]}" if parent else None
    return None


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", name))


def zone_modulus_uj(max_energy_range_uj: int) -> int:
    """Microjoules after which ``energy_uj`` starts again at 0.

    The kernel multiplies the 32-bit register by a whole number of nanojoules. ``max_energy_range_uj`` is that product for the register's
    largest value, 2^32 - 1; to start again at 0 the counter takes one unit more. For 262143328850 (61035 nJ) that makes 262143328911 uJ.
    """
    unit_nj = round(max_energy_range_uj * 1000 / _REGISTER_MAX)
    return max_energy_range_uj + max(1, round(unit_nj / 1000))


def _counter(zone: Zone) -> Counter:
    range_uj = read_int(zone.folder / "max_energy_range_uj")
    if range_uj is None or range_uj <= 0:
        reason = f"{zone.folder}/max_energy_range_uj holds no positive number, so a wrap could not be told"
        raise Refused(SOURCE, reason, OTHER_METER)
    kind = zone.name.partition("-")[0]
    limit_w = tdp_w = None
    for index in range(4):
        name = read_text(zone.folder / f"constraint_{index}_name")
        limit_uw = read_int(zone.folder / f"constraint_{index}_power_limit_uw")
        if name == "short_term" and limit_uw:
            limit_w = limit_uw / 1e6
        if name == "long_term":
            tdp_w = (read_int(zone.folder / f"constraint_{index}_max_power_uw") or 0) / 1e6 or None
    power_w = plausible_power_w(kind, limit_w=limit_w, tdp_w=tdp_w)
    return Counter(zone.name, unit_j=1e-6, modulus=zone_modulus_uj(range_uj), max_power_w=power_w)


def _no_zone(roots: KernelRoots, notes: tuple[str, ...]) -> Refused:
    folder = roots.sys_path("class/powercap")
    virtual = cpu_model(roots).hypervisor
    if not os.path.isdir(folder):  # noqa: PTH112
        return Refused(SOURCE, f"{folder} does not exist", HIDDEN_BY_VM if virtual else LOAD_DRIVER)
    reason = f"{folder} has no package zone" + (f": {'; '.join(notes)}" if notes else "")
    if any("points nowhere" in note for note in notes):
        return Refused(
            SOURCE, reason, "run outside the container, or start it with -v /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro"
        )
    return Refused(SOURCE, reason, HIDDEN_BY_VM if virtual else LOAD_DRIVER)


def open_powercap(roots: KernelRoots) -> CountingMeter:
    """Open every package and DRAM zone and prove that they count.

    Raises
    ------
    Refused
        With reason and remedy: there is no package zone, or one that can't be read, has no range, or stands still.
    """
    zones, notes = find_zones(roots)
    if not any(zone.name.startswith("package-") for zone in zones):
        raise _no_zone(roots, notes)
    virtual = cpu_model(roots).hypervisor
    with ExitStack() as files:
        found: list[tuple[Counter, Source]] = []
        unusable: list[str] = []
        for zone in zones:
            path = zone.folder / "energy_uj"
            try:
                counter, fd = _counter(zone), os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except (Refused, OSError) as error:
                if zone.name.startswith("dram-"):
                    unusable.append(f"{zone.name} can't be used: {error if isinstance(error, Refused) else describe_os_error(error)}")
                    continue
                if isinstance(error, Refused):
                    raise
                remedy = GRANT_ACCESS if isinstance(error, PermissionError) else LOAD_DRIVER
                raise Refused(SOURCE, f"energy_uj of {zone.name} can't be opened: {describe_os_error(error)}", remedy) from error
            files.callback(os.close, fd)
            found.append((counter, Source(fd, SourceKind.TEXT, str(path))))
        dead_remedy = HIDDEN_BY_VM if virtual else OTHER_METER
        return proven_meter(
            SOURCE, found, files, unreadable_remedy=LOAD_DRIVER, dead_remedy=dead_remedy, notes=notes, unusable_dram=unusable
        )
