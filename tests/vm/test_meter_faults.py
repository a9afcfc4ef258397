"""The energy meters over the kernel's own drivers when the counters below are dead, wrap, jump, answer with a fault or go away.

Real drivers and interfaces over injected counters, as in test_meters.py.
"""

import contextlib
import time

import pytest
from patience import wait_for
from vm.injector import Drivers, offline
from vm.metering import INJECTED_W, WINDOW_S, assert_injected, every_meter

from bayestuner.errors import MeterUnavailable
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.select import MEASURED, OPENERS, open_meter

pytestmark = pytest.mark.vm


def reasons():
    """Why each meter is refused, by its name."""
    found = {}
    for source in MEASURED:
        with pytest.raises(Refused) as caught:
            OPENERS[source](KernelRoots())
        found[source] = caught.value.refusal.reason
    with pytest.raises(MeterUnavailable) as unavailable:
        open_meter()
    assert all(f"{source}: {reason}" in str(unavailable.value) for source, reason in found.items())
    return found


def test_drivers_without_counters_are_refused_each_with_its_reason():
    """As under most hypervisors: all drivers load, every register reads 0."""
    with Drivers():
        why = reasons()
    assert "no event energy-pkg: the driver is there, but no counter" in why["perf"] or "does not exist" in why["perf"]
    assert "has no package zone" in why["powercap"]
    assert "energy unit register reads 0x0" in why["msr"]


def test_counters_that_read_zero_are_refused():
    with Drivers("zero=1"):
        why = reasons()
    assert "no event energy-pkg" in why["perf"] or "did not move" in why["perf"] or "does not exist" in why["perf"]
    assert "has no package zone" in why["powercap"]
    assert "package-0 and package-1 did not move" in why["msr"]


def test_frozen_counters_are_refused():
    with Drivers("") as drivers:
        drivers.set(frozen=1)
        why = reasons()
    for source in MEASURED:
        assert "package-0 and package-1 did not move within 100 ms" in why[source]


@every_meter
def test_a_counter_that_freezes_while_it_is_used_is_a_fault(drivers, opened, source):
    meter = opened(source)
    drivers.set(frozen=1)
    meter.read()
    first = meter.read()
    time.sleep(0.2)
    with pytest.raises(MeterFault, match=r"package-0: stood still .* the meter froze"):
        meter.energy_j(first, meter.read())


@every_meter
def test_one_wrap_in_between_is_right(drivers, opened, source):
    """At 100 W package counters count 1.64 million a second, at 25 W DRAM counters 1.63 million: both wrap after a second and a half."""
    drivers.set(package_mw=(100_000, 100_000), dram_mw=(25_000, 25_000), jump=2**32 - 2_500_000)
    meter = opened(source)
    first = meter.read()
    time.sleep(2.0)
    last = meter.read()
    if source != "perf":
        assert all(after < before for before, after in zip(first.raw_counts, last.raw_counts, strict=True))
    assert_injected(meter, first, last, {"package-0": 100.0, "dram-0": 25.0, "package-1": 100.0, "dram-1": 25.0})


def test_two_wraps_in_between_are_refused_and_right_when_read_often_enough():
    """Package counters of 2^-24 J wrap every 2.56 s at 100 W, so an interval of more than 0.6 s could be anything at up to 216 W."""
    with Drivers("esu=24"), contextlib.closing(OPENERS["msr"](KernelRoots())) as meter:
        assert meter.max_interval_s == pytest.approx(256 / 216 / 2, rel=0.01)
        first = before = meter.read()
        total_j = 0.0
        while (before.stamp_ns - first.stamp_ns) / 1e9 < 2 * 2.56 + 0.3:
            time.sleep(0.1)
            after = meter.read()
            total_j += meter.energy_j(before, after)
            before = after
        seconds = (before.stamp_ns - first.stamp_ns) / 1e9
        assert total_j / seconds == pytest.approx(sum(INJECTED_W.values()), rel=0.02)
        with pytest.raises(
            MeterFault, match=r"package-0: [5-9]\.\d s lie between two readings, but the counter is only unambiguous for 0\.6 s"
        ):
            meter.energy_j(first, before)


@every_meter
def test_a_reset_is_told_from_a_wrap(drivers, opened, source):
    meter = opened(source)
    time.sleep(0.2)
    first = meter.read()
    drivers.set(jump=0)
    time.sleep(0.2)
    with pytest.raises(MeterFault, match=r"package-0: went from \d+ to \d+ .* the counter was reset"):
        meter.energy_j(first, meter.read())


@pytest.mark.parametrize(("source", "said"), [("powercap", "EINVAL"), ("msr", "EIO")])
def test_a_package_whose_registers_fault_is_refused_and_a_fault_in_use(drivers, opened, source, said):
    """The processor faults, msr.ko says EIO, and powercap makes EINVAL of it."""
    meter = opened(source)
    drivers.set(failing=2)
    with pytest.raises(MeterFault, match=rf"the {source} meter could not be read any more \({said}"):
        meter.read()
    with pytest.raises(Refused, match=said):
        OPENERS[source](KernelRoots())
    drivers.set(failing=0)
    meter.read()


@every_meter
def test_a_package_that_goes_offline_is_a_fault_and_usable_again_when_it_is_back(drivers, opened, source):
    meter = opened(source)
    with offline(2, 3), pytest.raises(MeterFault, match=r"could not be read any more|package-1: stood still"):
        before = meter.read()
        for _ in range(5):
            time.sleep(0.1)
            after = meter.read()
            meter.energy_j(before, after)
            before = after
    wait_for(lambda: usable(source))
    again = opened(source)
    first = again.read()
    time.sleep(WINDOW_S)
    assert_injected(again, first, again.read())


def usable(source):
    try:
        OPENERS[source](KernelRoots()).close()
    except Refused:
        return False
    return True
