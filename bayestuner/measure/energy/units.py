"""Energy registers and their units by CPU model: everything about RAPL that depends on which processor it is.

Sources: Intel SDM volume 4; Linux ``arch/x86/events/rapl.c``, ``drivers/powercap/intel_rapl_common.c``; McCalpin's finding on the
DRAM unit of Haswell-EP. Where these disagree a comment says which one was followed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bayestuner.measure.energy.cpus import CpuModel

INTEL_ENERGY_FILTER = 0xBC
INTEL_UNIT = 0x606
INTEL_PACKAGE_LIMIT = 0x610
INTEL_PACKAGE_ENERGY = 0x611
INTEL_PACKAGE_INFO = 0x614
INTEL_DRAM_ENERGY = 0x619
INTEL_DRAM_INFO = 0x61C
AMD_UNIT = 0xC0010299
AMD_PACKAGE_ENERGY = 0xC001029B

REGISTER_MODULUS = 1 << 32
"""Energy status registers are 32 bits wide; the upper half is reserved and masked off."""

SERVER_DRAM_UNIT_J = 15.3e-6
"""Fixed DRAM unit of the models below, as powercap and LIKWID have it. perf takes 2^-16 J = 15.2588 uJ for the same register, so its figure
for the same count differs by 0.27 %; the MSR meter agrees with powercap."""

FIXED_DRAM_UNIT_MODELS = {
    0x3F: "Haswell-EP",
    0x4F: "Broadwell-EP",  # Xeon E5 v4: the paper's server
    0x55: "Skylake-SP / Cascade Lake-SP",
    0x56: "Broadwell-DE",  # perf and LIKWID fix the unit, powercap takes the one of 0x606, a factor of 4 apart; perf is followed
    0x57: "Knights Landing",
    0x6A: "Ice Lake-SP",
    0x6C: "Ice Lake-D",
    0x85: "Knights Mill",
}
"""Intel family 6 models whose DRAM counter doesn't use the unit in register 0x606, which would make it four times too much.
Sapphire Rapids (0x8F) and Emerald Rapids (0xCF) use 0x606 again."""

INVERSE_UNIT_MODELS = frozenset({0x37, 0x4A, 0x4C, 0x5A})
"""Silvermont and Airmont: the energy unit is 2^ESU microjoules instead of 2^-ESU joules."""

PSYS_ONE_JOULE_MODELS = frozenset({0x8F, 0xCF})
"""Sapphire and Emerald Rapids count whole joules in the platform domain (psys), which is never added to a total here."""

NO_CORE_COUNTER_MODELS = frozenset({0x3F, 0x4F})
"""Haswell-EP and Broadwell-EP: the core domain (PP0, 0x639) isn't implemented; its counter always reads 0, which doesn't mean 0 W."""

DIE_SCOPE_MODELS = frozenset({0x55})
"""Cascade Lake-AP has two dies with counters of their own in one package. AMD numbers its chiplets as dies too but has one counter per
package, so dies are told apart for these models only."""


class UnknownUnits(ValueError):
    """The unit register holds a value that no supported CPU has."""


@dataclass(frozen=True, slots=True)
class EnergyUnits:
    """Joules per count of each domain, and watts per count of the power-limit registers.

    `dram_j` is None where the CPU has no DRAM counter; `core_counter` is False where the counter of the core domain always reads 0.
    """

    package_j: float
    dram_j: float | None
    psys_j: float | None
    power_w: float
    core_counter: bool


@dataclass(frozen=True, slots=True)
class Registers:
    """Register numbers of one vendor's CPUs; None where they have no such register."""

    unit: int
    package: int
    dram: int | None
    limit: int | None
    package_info: int | None
    dram_info: int | None


INTEL_REGISTERS = Registers(INTEL_UNIT, INTEL_PACKAGE_ENERGY, INTEL_DRAM_ENERGY, INTEL_PACKAGE_LIMIT, INTEL_PACKAGE_INFO, INTEL_DRAM_INFO)
AMD_REGISTERS = Registers(AMD_UNIT, AMD_PACKAGE_ENERGY, None, None, None, None)


def registers(cpu: CpuModel) -> Registers | None:
    """The energy registers of this CPU; None where no supported ones exist."""
    if cpu.is_intel and cpu.family == 6:
        return INTEL_REGISTERS
    if cpu.is_amd and cpu.family >= 0x17:
        return AMD_REGISTERS
    return None


def decode_units(raw: int, cpu: CpuModel) -> EnergyUnits:
    """Decode the unit register (0x606 on Intel, 0xC0010299 on AMD).

    Parameters
    ----------
    raw : int
        The register: power unit in bits 3:0, energy unit (ESU) in bits 12:8.
    cpu : CpuModel
        Decides which of the exceptions above hold.

    Raises
    ------
    UnknownUnits
        The register, or its ESU, is 0: what virtual machines and masked registers answer.
    """
    esu = (raw >> 8) & 0x1F
    if raw == 0 or esu == 0:
        raise UnknownUnits(f"the energy unit register reads {raw:#x}, which no CPU with energy counters would say")
    intel = cpu.is_intel and cpu.family == 6
    package_j = 2.0**esu * 1e-6 if intel and cpu.model in INVERSE_UNIT_MODELS else 2.0**-esu
    dram_j: float | None = None
    psys_j: float | None = None
    if intel:
        dram_j = SERVER_DRAM_UNIT_J if cpu.model in FIXED_DRAM_UNIT_MODELS else package_j
        psys_j = 1.0 if cpu.model in PSYS_ONE_JOULE_MODELS else package_j
    return EnergyUnits(
        package_j=package_j,
        dram_j=dram_j,
        psys_j=psys_j,
        power_w=2.0 ** -(raw & 0xF),
        core_counter=not (intel and cpu.model in NO_CORE_COUNTER_MODELS),
    )


def tdp_w(package_info: int, units: EnergyUnits) -> float | None:
    """Thermal design power from register 0x614 (or DRAM's 0x61C), in watts; None where the field is empty."""
    return (package_info & 0x7FFF) * units.power_w or None


def short_term_limit_w(package_limit: int, units: EnergyUnits) -> float | None:
    """PL2 from register 0x610 (bits 46:32), in watts; None where it isn't enabled (bit 47)."""
    if not package_limit >> 47 & 1:
        return None
    return ((package_limit >> 32) & 0x7FFF) * units.power_w or None
