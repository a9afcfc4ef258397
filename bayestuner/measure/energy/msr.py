"""The MSR meter: energy registers read through /dev/cpu/N/msr, as the paper does; it needs no RAPL driver, but the most privilege.

All logical CPUs of a package show the same registers, so one per package is opened. `bayestuner.measure.energy.units` says which registers
and units a CPU has.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.counter_energy import Counter, plausible_power_w
from bayestuner.measure.energy.counting_meter import HIDDEN_BY_VM, CountingMeter, describe_os_error, proven_meter
from bayestuner.measure.energy.cpus import CpuModel, cpu_model, online_cpus
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.reader import Source, SourceKind, best_reader
from bayestuner.measure.energy.units import (
    DIE_SCOPE_MODELS,
    FIXED_DRAM_UNIT_MODELS,
    INTEL_ENERGY_FILTER,
    REGISTER_MODULUS,
    EnergyUnits,
    Registers,
    UnknownUnits,
    decode_units,
    registers,
    short_term_limit_w,
    tdp_w,
)

SOURCE = "msr"
LOAD_MODULE = "load the module: sudo modprobe msr"


def package_cpus(roots: KernelRoots, cpu: CpuModel) -> dict[str, int]:
    """The lowest online logical CPU of each package (``"0"``), or of each die (``"0-die-1"``) on the parts that count by die."""
    places = online_cpus(roots)
    by_die = cpu.is_intel and cpu.model in DIE_SCOPE_MODELS
    dies = {package: {p.die for p in places if p.package == package} for package in {p.package for p in places}}
    first: dict[str, int] = {}
    for place in sorted(places, key=lambda p: (p.package, p.die, p.cpu)):
        suffix = f"-die-{place.die}" if by_die and len(dies[place.package]) > 1 else ""
        key = f"{place.package}{suffix}"
        first[key] = min(first.get(key, place.cpu), place.cpu)
    return first


def _open_remedy(error: OSError, cpu: CpuModel, number: int) -> str:
    if isinstance(error, FileNotFoundError):
        return HIDDEN_BY_VM if cpu.hypervisor else LOAD_MODULE
    if isinstance(error, PermissionError):  # a capability of the interpreter's file would do too, but give it to every user of the machine
        return "run as root and give the job a user ([job] user), or use another meter"
    return f"bring the CPU online: echo 1 | sudo tee /sys/devices/system/cpu/cpu{number}/online"


@dataclass(frozen=True, slots=True)
class _Device:
    """The opened ``msr`` file of one CPU."""

    fd: int
    path: str
    stride: int

    def source(self, register: int) -> Source:
        return Source(self.fd, SourceKind.MSR, f"register {register:#x} of {self.path}", register * self.stride)

    def read(self, register: int) -> int:
        """The register's 64 bits; OSError where it doesn't answer."""
        return best_reader([self.source(register)])().counts[0]

    def read_or_zero(self, register: int | None) -> int:
        """The register's 64 bits, or 0 where it can't be read: for registers that only refine what is known."""
        try:
            return 0 if register is None else self.read(register)
        except OSError:
            return 0


def _counters(key: str, device: _Device, regs: Registers, units: EnergyUnits) -> list[tuple[Counter, Source]]:
    """The package counter and, where its register can be read, the DRAM counter of one package; OSError where the first can't be read."""
    device.read(regs.package)
    limit_w = short_term_limit_w(device.read_or_zero(regs.limit), units)
    power_w = plausible_power_w("package", limit_w=limit_w, tdp_w=tdp_w(device.read_or_zero(regs.package_info), units))
    found = [(Counter(f"package-{key}", units.package_j, REGISTER_MODULUS, power_w), device.source(regs.package))]
    if regs.dram is not None and units.dram_j is not None:
        try:
            device.read(regs.dram)
        except OSError:
            return found  # client parts answer EIO: no such register
        dram_w = plausible_power_w("dram", limit_w=None, tdp_w=tdp_w(device.read_or_zero(regs.dram_info), units))
        found.append((Counter(f"dram-{key}", units.dram_j, REGISTER_MODULUS, dram_w), device.source(regs.dram)))
    return found


def _notes(cpu: CpuModel, device: _Device) -> list[str]:
    notes = []
    if cpu.is_intel and cpu.model in FIXED_DRAM_UNIT_MODELS:
        notes.append(f"DRAM unit fixed at 15.3 uJ for {FIXED_DRAM_UNIT_MODELS[cpu.model]} (perf takes 15.2588 uJ)")
    if cpu.is_intel and device.read_or_zero(INTEL_ENERGY_FILTER) & 1:
        notes.append("energy filtering is on (register 0xBC): short windows are noisy on purpose, measure for 10 s or more")
    return notes


def open_msr(roots: KernelRoots) -> CountingMeter:
    """Open one ``msr`` device per package and prove that its counters move.

    Raises
    ------
    Refused
        With reason and remedy: unknown CPU, no device, no permission, units of 0, a register that can't be read, a dead counter.
    """
    cpu = cpu_model(roots)
    regs = registers(cpu)
    if regs is None:
        named = f"{cpu.name or 'this CPU'} (vendor {cpu.vendor or 'unknown'}, family {cpu.family})"
        raise Refused(SOURCE, f"no energy registers are known for {named}", 'use another meter: energy = ["perf", "powercap"]')
    packages = package_cpus(roots, cpu)
    if not packages:
        reason = f"{roots.sys_path('devices/system/cpu')} does not say which CPU belongs to which package"
        raise Refused(SOURCE, reason, "mount sysfs: sudo mount -t sysfs sysfs /sys")
    dead_remedy = HIDDEN_BY_VM if cpu.hypervisor else "update the firmware, or use another meter"
    notes: list[str] = []
    with ExitStack() as files:
        found: list[tuple[Counter, Source]] = []
        for key, number in packages.items():
            path = str(roots.msr_path(number))
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise Refused(SOURCE, f"{path} can't be opened: {describe_os_error(error)}", _open_remedy(error, cpu, number)) from error
            files.callback(os.close, fd)
            device = _Device(fd, path, roots.msr_stride)
            try:
                units = decode_units(device.read(regs.unit), cpu)
                found += _counters(key, device, regs, units)
            except OSError as error:
                raise Refused(SOURCE, f"the energy registers can't be read: {describe_os_error(error)}", dead_remedy) from error
            except UnknownUnits as error:
                raise Refused(SOURCE, f"{path}: {error}", dead_remedy) from error
            notes = notes or _notes(cpu, device)
        return proven_meter(SOURCE, found, files, unreadable_remedy=dead_remedy, dead_remedy=dead_remedy, notes=notes)
