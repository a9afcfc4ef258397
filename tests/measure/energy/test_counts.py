"""Counts to joules: wraps per domain, resets, intervals too long; and the table of units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.energy.counts import Counter, counter_energy_j, difference, energies_j, plausible_power_w
from bayestuner.measure.energy.cpus import CpuModel, parse_cpu_list
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.powercap import zone_modulus_uj
from bayestuner.measure.energy.units import SERVER_DRAM_UNIT_J, UnknownUnits, decode_units, short_term_limit_w, tdp_w

PACKAGE = Counter("package-0", 2.0**-14, 1 << 32, 216.0)
DRAM = Counter("dram-0", 15.3e-6, 1 << 32, 60.0)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_difference_undoes_one_wrap(first, gained):
    assert difference(first, (first + gained) % 2**32, 2**32) == gained


def test_a_wrap_is_worth_the_domains_own_units():
    """The trap of joules first: one constant for both domains would add 196 kJ to the DRAM."""
    assert counter_energy_j(DRAM, 2**32 - 10, 5, 1.0) == pytest.approx(15 * 15.3e-6)
    assert counter_energy_j(PACKAGE, 2**32 - 10, 5, 1.0) == pytest.approx(15 / 2**14)


def test_a_reset_is_told_from_a_wrap():
    with pytest.raises(MeterFault, match="reset"):
        counter_energy_j(PACKAGE, 5_000_000, 10, 1.0)


def test_an_interval_longer_than_half_a_wrap_is_refused():
    assert PACKAGE.wrap_period_s == pytest.approx(2**18 / 216)
    with pytest.raises(MeterFault, match="unambiguous"):
        counter_energy_j(PACKAGE, 0, 10, 700.0)


def test_time_backwards_and_wrong_lengths_are_refused():
    with pytest.raises(MeterFault, match="older"):
        counter_energy_j(PACKAGE, 0, 1, -1.0)
    with pytest.raises(MeterFault, match="2 counters but 1 and 2"):
        energies_j([PACKAGE, DRAM], [1], [1, 2], 1.0)


def test_implausible_limits_are_ignored():
    assert plausible_power_w("package", limit_w=144, tdp_w=120) == 216
    assert plausible_power_w("package", limit_w=4095, tdp_w=120) == 360
    assert plausible_power_w("package", limit_w=None, tdp_w=None) == 1000


def intel(model):
    return CpuModel("GenuineIntel", 6, model)


@pytest.mark.parametrize(
    ("cpu", "package_j", "dram_j"),
    [
        (intel(0x3F), 2**-14, SERVER_DRAM_UNIT_J),  # Haswell-EP
        (intel(0x4F), 2**-14, SERVER_DRAM_UNIT_J),  # Broadwell-EP: the paper's
        (intel(0x55), 2**-14, SERVER_DRAM_UNIT_J),  # Skylake-SP
        (intel(0x6A), 2**-14, SERVER_DRAM_UNIT_J),  # Ice Lake-SP
        (intel(0x8F), 2**-14, 2**-14),  # Sapphire Rapids: back to the register
        (intel(0x97), 2**-14, 2**-14),  # Alder Lake
        (intel(0x37), 2**14 * 1e-6, 2**14 * 1e-6),  # Silvermont: inverse
        (CpuModel("AuthenticAMD", 0x19, 1), 2**-14, None),
    ],
)
def test_units_by_model(cpu, package_j, dram_j):
    units = decode_units(0xA0E03, cpu)
    assert units.package_j == pytest.approx(package_j)
    assert units.dram_j == (pytest.approx(dram_j) if dram_j else None)
    assert units.power_w == 1 / 8


def test_real_register_values_of_a_haswell_server_decode():
    units = decode_units(0xA0E03, intel(0x3F))
    assert tdp_w(0x002F091001F00488, units) == 145
    assert short_term_limit_w(0x80068570005A8488, units) == 174
    assert not units.core_counter


def test_a_zero_unit_register_is_no_unit():
    with pytest.raises(UnknownUnits):
        decode_units(0, intel(0x4F))


def test_powercap_wraps_one_unit_after_its_range():
    assert zone_modulus_uj(262143328850) == 262143328911
    assert zone_modulus_uj(65712999613) == 65712999628


def test_cpu_lists():
    assert parse_cpu_list("0-2,8\n") == (0, 1, 2, 8)
    assert parse_cpu_list("") == ()
    with pytest.raises(ValueError, match="invalid"):
        parse_cpu_list("a")
