"""Adding up many readings: any number of wraps, resets, frozen counters, gaps; by hand and without a clock."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayestuner.measure.energy.counter_energy import Counter
from bayestuner.measure.energy.counting_meter import CountingMeter
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.series import EnergySeries

W32 = 1 << 32
PACKAGE = Counter("package-0", 2.0**-14, W32, 216.0)  # wraps after 1213.6 s at most; unambiguous for 606.8 s
DRAM = Counter("dram-0", 15.3e-6, W32, 60.0)


def series(*counters):
    return EnergySeries(CountingMeter("double", counters, lambda: None, lambda: None))


def sample(seconds, *counts):
    return EnergySample(round(seconds * 1e9), 0, counts)


def total(added):
    return added.points[-1][1]


def filled(seconds, power_w, *, hz=10.0, start=0, counter=PACKAGE):
    """A series of readings of a counter at constant power."""
    made = series(counter)
    for beat in range(round(seconds * hz) + 1):
        gained = int(power_w * (beat / hz) / counter.unit_j)
        made.add(sample(beat / hz, (start + gained) % counter.modulus))
    return made


@pytest.mark.parametrize(
    ("wraps", "seconds", "start"),
    [(0, 60, 0), (1, 60, W32 - 1000), (2, 1500, W32 - 1000), (9, 10_000, W32 - 1000)],
)
def test_a_counter_may_wrap_any_number_of_times_while_it_is_read(wraps, seconds, start):
    power_w = 215.0
    made = filled(seconds, power_w, start=start, hz=1.0 if seconds > 100 else 10.0)
    assert (start + int(power_w * seconds / PACKAGE.unit_j)) // W32 == wraps
    assert total(made) == pytest.approx(power_w * seconds, abs=PACKAGE.unit_j)


def test_energy_does_not_depend_on_how_often_it_is_read():
    assert total(filled(5, 100, hz=10)) == pytest.approx(total(filled(5, 100, hz=1000)), abs=2 * PACKAGE.unit_j)


def test_two_wraps_between_two_readings_can_not_be_told_and_are_refused():
    made = series(PACKAGE)
    made.add(sample(0, 0))
    with pytest.raises(MeterFault, match=r"2000\.0 s lie between two readings"):
        made.add(sample(2000, 5))
    assert made.points == [(0, 0.0)]


def test_a_reset_is_refused_at_any_rate():
    for hz in (10.0, 1000.0):
        made = filled(1.0, 100.0, hz=hz, start=3_000_000_000)
        with pytest.raises(MeterFault, match=r"the counter was reset"):
            made.add(sample(1.0 + 1 / hz, 0))


@pytest.mark.parametrize("hz", [10.0, 100.0, 1000.0])
def test_a_frozen_counter_is_seen_within_two_tenths_of_a_second_at_any_rate(hz):
    made = filled(1.0, 100.0, hz=hz)
    count = int(100.0 / PACKAGE.unit_j)
    with pytest.raises(MeterFault, match=f"stood still at {count}") as caught:
        for beat in range(1, round(0.2 * hz) + 2):
            made.add(sample(1.0 + beat / hz, count))
    assert caught.value
    assert made.points[-1][0] <= 1.2e9


def test_a_counter_slower_than_the_readings_is_not_frozen():
    made = series(PACKAGE)
    for beat in range(3000):  # 1 kHz, but it steps every 4 ms
        made.add(sample(beat / 1000, beat // 4 * 6554))
    assert total(made) == pytest.approx(2999 // 4 * 6554 * PACKAGE.unit_j)


def test_domains_are_added_each_in_its_own_unit_over_its_own_wrap():
    made = series(PACKAGE, DRAM)
    made.add(sample(0, W32 - 16384, W32 - 10))
    made.add(sample(1, 16384, 999_990))
    assert total(made) == pytest.approx(2.0 + 15.3)


@settings(max_examples=50, deadline=None)
@given(
    start=st.integers(0, W32 - 1),
    steps=st.lists(st.tuples(st.floats(0.002, 5.0), st.floats(0.0, 1.0)), min_size=1, max_size=40),
)
def test_the_sum_is_what_was_added_whatever_the_beat(start, steps):
    made, clock, gained = series(DRAM), 0.0, 0
    made.add(sample(0, start))
    for seconds, share in steps:
        clock += seconds
        gained += int(share * DRAM.max_power_w * seconds / DRAM.unit_j)
        made.add(sample(clock, (start + gained) % W32))
    assert total(made) == pytest.approx(gained * DRAM.unit_j, rel=1e-9, abs=1e-9)
    assert all(a <= b for (_, a), (_, b) in itertools.pairwise(made.points))
