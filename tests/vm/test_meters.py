"""The energy meters over the kernel's own drivers (msr.ko, intel_rapl_msr.ko, rapl.ko) on a server of two packages: what they read.

The drivers and their interfaces are real; the energy is injected below them by tests/vm/module, so these figures say nothing about
the power of anything.
"""

import subprocess
import time

import pytest
from vm.metering import INJECTED_W, WINDOW_S, assert_injected, every_meter, watts

from bayestuner.measure.energy.select import MEASURED, open_meter

pytestmark = pytest.mark.vm


@every_meter
def test_it_reads_the_injected_power_of_every_domain_within_a_percent(drivers, opened, source):
    meter = opened(source)
    assert (meter.source, meter.estimated, meter.boundary) == (source, False, "pkg+dram")
    first = meter.read()
    time.sleep(WINDOW_S)
    last = meter.read()
    assert_injected(meter, first, last)
    assert meter.energy_j(first, last) == pytest.approx(sum(meter.domain_energies_j(first, last)))


def test_the_three_meters_agree_over_one_window(drivers, opened):
    meters = [opened(source) for source in MEASURED]
    firsts = [meter.read() for meter in meters]
    time.sleep(WINDOW_S)
    found = [watts(meter, first, meter.read()) for meter, first in zip(meters, firsts, strict=True)]
    slack = max(share for _, share in found)
    for name in INJECTED_W:
        powers = [power_w[name] for power_w, _ in found]
        assert max(powers) / min(powers) < 1.005 + 2 * slack, (name, powers)  # perf takes 15.26 uJ for a DRAM unit of 15.3


def test_perf_is_taken_first_and_what_is_preferred_less_when_it_is_named(drivers):
    for order, expected in ((MEASURED, "perf"), (("powercap", "msr"), "powercap"), (("msr", "perf"), "msr")):
        meter, refused = open_meter(order)
        meter.close()
        assert (meter.source, refused) == (expected, ())


@every_meter
def test_a_change_of_power_is_seen_where_it_happens(drivers, opened, source):
    meter = opened(source)
    drivers.set(package_mw=(50_000, 120_000))
    first = meter.read()
    time.sleep(WINDOW_S)
    assert_injected(meter, first, meter.read(), INJECTED_W | {"package-0": 50.0, "package-1": 120.0})


@every_meter
def test_it_has_the_power_that_the_busy_cpus_draw(drivers, opened, source):
    """What the closed loop rests on: a CPU that is busy adds to its own package only."""
    drivers.set(package_mw=(10_000, 10_000), wake_mw=20_000, cpu_mw=30_000)
    meter = opened(source)
    with subprocess.Popen(["taskset", "-c", "3", "sh", "-c", "while :; do :; done"]) as busy:
        try:
            for _ in range(2):  # the second time all that lies between two readings was busy
                time.sleep(0.5)
                first = meter.read()
            time.sleep(WINDOW_S)
            power_w, _ = watts(meter, first, meter.read())
        finally:
            busy.kill()
    assert 58.0 < power_w["package-1"] < 75.0  # and a little for whatever else runs there
    assert 9.8 < power_w["package-0"] < 25.0
