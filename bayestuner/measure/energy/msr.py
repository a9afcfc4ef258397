"""The MSR meter: energy registers through /dev/cpu/N/msr, the paper's own way; needs no RAPL driver but the most privilege.

One logical CPU per package is opened: all of them answer the same. Which register, which unit: `bayestuner.measure.energy.units`.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from bayestuner.measure.energy.counting import HIDDEN_BY_VM, CountingMeter, Refused, describe, moving, usable_domains
from bayestuner.measure.energy.counts import Counter, plausible_power_w
from bayestuner.measure.energy.cpus import CpuModel, cpu_model, online_cpus
from bayestuner.measure.energy.roots import Roots
from bayestuner.measure.energy.units import (
    DIE_SCOPE_MODELS,
    FIXED_DRAM_UNIT_MODELS,
    REGISTER_MODULUS,
    EnergyUnits,
    Registers,
    UnknownUnits,
    decode_units,
    registers,
    short_term_limit_w,
    tdp_w,
)

WHAT = "msr"
LOAD_MODULE = "load the module: sudo modprobe msr"
_MASK = REGISTER_MODULUS - 1


def read_register(fd: int, register: int, stride: int) -> int:
    """One 64-bit register; OSError also when fewer than eight bytes come back, which the device never does."""
    data = os.pread(fd, 8, register * stride)
    if len(data) != 8:
        raise OSError(5, f"register {register:#x}: {len(data)} bytes instead of 8")
    value: int = struct.unpack("<Q", data)[0]
    return value


def package_cpus(roots: Roots, cpu: CpuModel) -> dict[str, int]:
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


@dataclass(frozen=True, slots=True)
class _Domain:
    counter: Counter
    fd: int
    register: int


def _open_remedy(error: OSError, cpu: CpuModel) -> str:
    if isinstance(error, FileNotFoundError):
        return HIDDEN_BY_VM if cpu.hypervisor else LOAD_MODULE
    if isinstance(error, PermissionError):
        python = os.path.realpath(sys.executable)
        return f"run as root, or: sudo setcap cap_sys_rawio+ep {python} && sudo chmod o+r /dev/cpu/*/msr"
    return "bring the CPU online: echo 1 | sudo tee /sys/devices/system/cpu/cpu<N>/online"


def _power(fd: int, register: int | None, stride: int) -> int:
    """A power register that only serves plausibility: 0 where it doesn't exist."""
    if register is None:
        return 0
    try:
        return read_register(fd, register, stride)
    except OSError:
        return 0


def _domains(key: str, fd: int, regs: Registers, units: EnergyUnits, stride: int) -> list[_Domain]:
    """Package and, where the register answers, DRAM counter of one package; OSError where the package's can't be read."""
    read_register(fd, regs.package, stride)
    info, limit = _power(fd, regs.package_info, stride), _power(fd, regs.limit, stride)
    power_w = plausible_power_w("package", limit_w=short_term_limit_w(limit, units), tdp_w=tdp_w(info, units))
    domains = [_Domain(Counter(f"package-{key}", units.package_j, REGISTER_MODULUS, power_w), fd, regs.package)]
    if regs.dram is not None and units.dram_j is not None:
        try:
            read_register(fd, regs.dram, stride)
        except OSError:
            return domains  # client parts answer EIO: no such register
        dram_w = plausible_power_w("dram", limit_w=None, tdp_w=tdp_w(_power(fd, regs.dram_info, stride), units))
        domains.append(_Domain(Counter(f"dram-{key}", units.dram_j, REGISTER_MODULUS, dram_w), fd, regs.dram))
    return domains


def open_msr(roots: Roots) -> CountingMeter:
    """Open one ``msr`` device per package and prove that its counters move.

    Raises
    ------
    Refused
        With reason and remedy: unknown CPU, no device, no permission, units of 0, a register that can't be read, a dead counter.
    """
    cpu = cpu_model(roots)
    regs = registers(cpu)
    if regs is None:
        named = cpu.name or "this CPU"
        raise Refused(
            WHAT, f"{named} (vendor {cpu.vendor or 'unknown'}, family {cpu.family}) has no energy registers known here", "use another meter"
        )
    packages = package_cpus(roots, cpu)
    if not packages:
        reason = f"{roots.sys_path('devices/system/cpu')} does not say which CPU belongs to which package"
        raise Refused(WHAT, reason, "mount sysfs (mount -t sysfs sysfs /sys)")
    dead_remedy = HIDDEN_BY_VM if cpu.hypervisor else "update the firmware, or use another meter"
    with ExitStack() as stack:
        domains: list[_Domain] = []
        for key, number in packages.items():
            path = roots.msr_path(number)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise Refused(WHAT, f"{path} can't be opened: {describe(error)}", _open_remedy(error, cpu)) from error
            stack.callback(os.close, fd)
            try:
                units = decode_units(read_register(fd, regs.unit, roots.msr_stride), cpu)
                domains += _domains(key, fd, regs, units, roots.msr_stride)
            except OSError as error:
                raise Refused(WHAT, f"{path}: energy registers can't be read: {describe(error)}", dead_remedy) from error
            except UnknownUnits as error:
                raise Refused(WHAT, f"{path}: {error}", dead_remedy) from error

        def read_all(chosen: list[_Domain]) -> tuple[int, ...]:
            return tuple(read_register(d.fd, d.register, roots.msr_stride) & _MASK for d in chosen)

        try:
            moved = moving(lambda: read_all(domains))
        except OSError as error:
            raise Refused(WHAT, f"energy registers can't be read: {describe(error)}", dead_remedy) from error
        keep, notes = usable_domains(WHAT, [d.counter.name for d in domains], moved, dead_remedy)
        kept = [d for d, ok in zip(domains, keep, strict=True) if ok]
        release = stack.pop_all().close
    if any(d.counter.kind == "dram" for d in kept) and cpu.model in FIXED_DRAM_UNIT_MODELS:
        notes = (*notes, f"DRAM unit fixed at 15.3 uJ for {FIXED_DRAM_UNIT_MODELS[cpu.model]} (perf would take 15.2588 uJ)")
    return CountingMeter(WHAT, [d.counter for d in kept], lambda: read_all(kept), release, notes)
