"""Units and registers by CPU model; register values of real parts where a dump was at hand."""

import pytest
from energy_fakes import PACKAGE_INFO, PACKAGE_LIMIT, UNIT_ESU14

from bayestuner.measure.energy.cpus import CpuModel
from bayestuner.measure.energy.units import (
    AMD_REGISTERS,
    INTEL_REGISTERS,
    UnknownUnits,
    decode_units,
    registers,
    short_term_limit_w,
    tdp_w,
)


def intel(model, family=6):
    return CpuModel("GenuineIntel", family, model)


EPYC = CpuModel("AuthenticAMD", 0x19, 0x11)


@pytest.mark.parametrize(
    ("model", "dram_uj"),
    [
        (0x3F, 15.3),  # Haswell-EP
        (0x4F, 15.3),  # Broadwell-EP: the paper's server
        (0x55, 15.3),  # Skylake-SP
        (0x56, 15.3),  # Broadwell-DE
        (0x57, 15.3),  # Knights Landing
        (0x85, 15.3),  # Knights Mill
        (0x6A, 15.3),  # Ice Lake-SP
        (0x6C, 15.3),  # Ice Lake-D
        (0x8F, 61.03515625),  # Sapphire Rapids: what 0x606 says
        (0xCF, 61.03515625),  # Emerald Rapids
        (0x5E, 61.03515625),  # Skylake client
        (0x2D, 61.03515625),  # Sandy Bridge-EP
    ],
)
def test_dram_unit(model, dram_uj):
    units = decode_units(UNIT_ESU14, intel(model))
    assert units.dram_j * 1e6 == pytest.approx(dram_uj, rel=1e-12)
    assert units.package_j == 2.0**-14
    assert units.power_w == 0.125


@pytest.mark.parametrize(("model", "psys_j"), [(0x8F, 1.0), (0xCF, 1.0), (0x5E, 2.0**-14)])
def test_psys_unit(model, psys_j):
    assert decode_units(UNIT_ESU14, intel(model)).psys_j == psys_j


@pytest.mark.parametrize("model", [0x37, 0x4A, 0x4C, 0x5A])
def test_silvermont_counts_the_other_way_round(model):
    # ESU 5 is 2^5 uJ there, not 2^-5 J.
    assert decode_units(0x0505, intel(model)).package_j == pytest.approx(32e-6)
    assert decode_units(0x0505, intel(0x5E)).package_j == 2.0**-5


@pytest.mark.parametrize(("model", "there"), [(0x3F, False), (0x4F, False), (0x55, True), (0x5E, True)])
def test_core_counter_of_haswell_and_broadwell_servers_reads_zero(model, there):
    assert decode_units(UNIT_ESU14, intel(model)).core_counter is there


def test_amd_has_no_dram_counter():
    units = decode_units(0xA1003, EPYC)  # 2^-16 J
    assert (units.package_j, units.dram_j, units.psys_j) == (2.0**-16, None, None)


@pytest.mark.parametrize("raw", [0, 0xA0003, 0x3])
def test_units_that_no_cpu_would_say(raw):
    with pytest.raises(UnknownUnits, match=hex(raw)):
        decode_units(raw, intel(0x4F))


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (intel(0x4F), INTEL_REGISTERS),
        (intel(1, family=15), None),  # Pentium 4
        (EPYC, AMD_REGISTERS),
        (CpuModel("AuthenticAMD", 0x17, 1), AMD_REGISTERS),
        (CpuModel("HygonGenuine", 0x18, 1), AMD_REGISTERS),
        (CpuModel("AuthenticAMD", 0x15, 2), None),
        (CpuModel(), None),
    ],
)
def test_registers(cpu, expected):
    assert registers(cpu) == expected


def test_power_registers_of_a_real_part():
    units = decode_units(UNIT_ESU14, intel(0x3F))
    assert tdp_w(PACKAGE_INFO, units) == 145.0
    assert short_term_limit_w(PACKAGE_LIMIT, units) == 174.0  # 1.2 * TDP
    assert tdp_w(0, units) is None
    assert short_term_limit_w(PACKAGE_LIMIT & ~(1 << 47), units) is None  # not enabled
