"""From raw counts to joules: expected values worked out by hand, and laws of modular differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.energy.counter_energy import (
    DEFAULT_MAX_POWER_W,
    Counter,
    counter_energy_j,
    difference,
    energies_j,
    plausible_power_w,
)
from bayestuner.measure.energy.meter import MeterFault

W32 = 1 << 32
PACKAGE = Counter("package-0", 2.0**-14, W32, 216.0)
DRAM = Counter("dram-0", 15.3e-6, W32, 400.0)


@pytest.mark.parametrize(
    ("first", "last", "modulus", "expected"),
    [
        (0, 0, W32, 0),
        (10, 25, W32, 15),
        (W32 - 1, 0, W32, 1),
        (W32 - 10, 5, W32, 15),
        (1, 0, W32, W32 - 1),
        (262143328900, 89, 262143328911, 100),
        ((1 << 64) - 1, 1, 1 << 64, 2),
    ],
)
def test_difference(first, last, modulus, expected):
    assert difference(first, last, modulus) == expected


@given(st.integers(0, W32 - 1), st.integers(0, W32 - 1))
def test_difference_is_what_was_added(start, gained):
    assert difference(start, (start + gained) % W32, W32) == gained


@given(st.integers(2, 1 << 64), st.data())
def test_differences_of_pieces_add_up_modulo_the_width(modulus, data):
    counts = st.integers(0, modulus - 1)
    a, b, c = data.draw(counts), data.draw(counts), data.draw(counts)
    assert (difference(a, b, modulus) + difference(b, c, modulus)) % modulus == difference(a, c, modulus)
    assert 0 <= difference(a, b, modulus) < modulus


@pytest.mark.parametrize(
    ("counter", "first", "last", "expected_j"),
    [
        (PACKAGE, 0, 16384, 1.0),
        (PACKAGE, 100, 1_000_100, 61.03515625),
        (PACKAGE, W32 - 16384, 16384, 2.0),
        (DRAM, 100, 1_000_100, 15.3),
        # 15 counts over the edge are 229.5 uJ; with the package's unit as wrap constant it would be 196 kJ.
        (DRAM, W32 - 10, 5, 0.0002295),
    ],
)
def test_energy_by_hand(counter, first, last, expected_j):
    assert counter_energy_j(counter, first, last, 10.0) == pytest.approx(expected_j, rel=1e-12)


def test_a_fall_that_no_power_explains_is_a_reset():
    # From 3e9 to 0 as a wrap would be 79 kJ, 7.9 kW over ten seconds.
    with pytest.raises(MeterFault, match=r"package-0: went from 3000000000 to 0 .* reset"):
        counter_energy_j(PACKAGE, 3_000_000_000, 0, 10.0)


def test_a_jump_up_that_no_power_explains_is_a_reset():
    with pytest.raises(MeterFault, match="reset"):
        counter_energy_j(PACKAGE, 0, 3_000_000_000, 10.0)


def test_power_just_below_and_just_above_the_limit():
    seconds = 10.0
    most = int(216.0 * seconds * 16384)
    assert counter_energy_j(PACKAGE, 0, most, seconds) == pytest.approx(2160.0)
    with pytest.raises(MeterFault):
        counter_energy_j(PACKAGE, 0, int(most * 1.01), seconds)


def test_a_tick_from_before_a_short_interval_is_no_reset():
    # 1 ms at 200 W seen within 10 us.
    assert counter_energy_j(PACKAGE, 0, int(0.2 * 16384), 1e-5) == pytest.approx(0.2, rel=1e-3)


def test_a_reading_that_took_long_may_have_seen_more_than_its_stamp_says():
    """Held up for 0.2 s in the middle of a reading: 216 W of that may be in the count already."""
    counts = int(216.0 * 0.3 * 16384)
    with pytest.raises(MeterFault, match="reset"):
        counter_energy_j(PACKAGE, 0, counts, 0.2)
    assert counter_energy_j(PACKAGE, 0, counts, 0.2, uncertainty_s=0.1) == pytest.approx(64.8, rel=1e-3)


def test_an_interval_over_half_a_wrap_is_refused():
    # 2^32 * 2^-14 J = 262144 J: 1213.6 s at 216 W, so 606.8 s are safe.
    assert PACKAGE.wrap_period_s == pytest.approx(1213.63, abs=0.01)
    assert PACKAGE.safe_interval_s == pytest.approx(606.81, abs=0.01)
    counter_energy_j(PACKAGE, 0, 16384, 606.0)
    with pytest.raises(MeterFault, match=r"607\.0 s lie between two readings.*606\.8 s"):
        counter_energy_j(PACKAGE, 0, 16384, 607.0)


def test_time_running_backwards_is_refused():
    with pytest.raises(MeterFault, match="older than the first"):
        counter_energy_j(PACKAGE, 0, 10, -0.5)


def test_a_package_that_stands_still_is_frozen_but_dram_and_short_intervals_may():
    with pytest.raises(MeterFault, match=r"package-0: stood still at 77 for 1\.000 s"):
        counter_energy_j(PACKAGE, 77, 77, 1.0)
    assert counter_energy_j(PACKAGE, 77, 77, 0.001) == 0.0
    assert counter_energy_j(DRAM, 77, 77, 1.0) == 0.0


def test_several_counters_keep_their_order_and_units():
    assert energies_j([PACKAGE, DRAM], [0, 0], [16384, 1_000_000], 10.0) == pytest.approx((1.0, 15.3))


def test_a_sample_of_another_meter_is_refused():
    with pytest.raises(MeterFault, match="2 counters but 2 and 1 counts"):
        energies_j([PACKAGE, DRAM], [0, 0], [16384], 10.0)


@pytest.mark.parametrize(
    ("kind", "limit_w", "tdp_w", "expected"),
    [
        ("package", 144.0, 120.0, 216.0),  # 1.5 * PL2
        ("package", None, 120.0, DEFAULT_MAX_POWER_W["package"]),  # without a limit the TDP is no bound
        ("package", 0.0, 120.0, DEFAULT_MAX_POWER_W["package"]),
        ("package", 4095.0, 6.0, DEFAULT_MAX_POWER_W["package"]),  # firmware's "no limit"
        ("package", None, 600.0, 1800.0),  # 3 * TDP
        ("package", 61.0, 15.0, 91.5),  # Surface Pro 7
        ("package", 49.0, 4.5, 73.5),  # MacBook10,1
        ("package", 25.0, 6.0, 37.5),  # an N100 box
        ("package", 4095.0, None, DEFAULT_MAX_POWER_W["package"]),
        ("package", 200.0, None, 300.0),
        ("package", None, None, DEFAULT_MAX_POWER_W["package"]),
        ("dram", None, 0.0, DEFAULT_MAX_POWER_W["dram"]),
        ("dram", None, 20.0, DEFAULT_MAX_POWER_W["dram"]),
    ],
)
def test_the_power_that_tells_a_wrap_from_a_reset(kind, limit_w, tdp_w, expected):
    assert plausible_power_w(kind, limit_w=limit_w, tdp_w=tdp_w) == expected


@pytest.mark.parametrize(("tdp_w", "limit_w", "burst_w"), [(15.0, 61.0, 58.0), (4.5, 49.0, 30.0), (6.0, 4095.0, 24.0), (15.0, 64.0, 60.0)])
def test_a_burst_far_above_the_tdp_is_power_and_no_reset(tdp_w, limit_w, burst_w):
    counter = Counter("package-0", 1e-6, 262143328911, plausible_power_w("package", limit_w=limit_w, tdp_w=tdp_w))
    assert counter_energy_j(counter, 0, round(2e6 * burst_w), 2.0) == pytest.approx(2 * burst_w)
