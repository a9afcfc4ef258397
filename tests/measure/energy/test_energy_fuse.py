"""The MSR meter and its recording through real reads of a FUSE file system that answers as /dev/cpu/N/msr does (synthetic energy).

The faults a real machine has and a plain file can't show: overlapping registers, EIO on one socket, a device that goes away; and counters
that freeze, are reset, or wrap while they are being recorded.
"""

import errno
import time
from dataclasses import replace

import fuse_msr
import pytest
from energy_fakes import EPYC_ZEN4, PACKAGE_INFO, PACKAGE_LIMIT, SKYLAKE_CLIENT, UNIT_ESU14, put_broadwell_ep, put_cpus
from patience import wait_for

from bayestuner.measure.cgroup.isolation import GroupUsage, Limits
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.msr import open_msr
from bayestuner.measure.run.sampling import Sampler

pytestmark = [
    pytest.mark.usefixtures("way"),
    pytest.mark.skipif(fuse_msr.why_not() is not None, reason=f"a FUSE file system {fuse_msr.why_not()}"),
]

W32 = 1 << 32
PACKAGE, DRAM = 0x611, 0x619
UNIT_ESU23 = 0x000A1703  # 2^-23 J a count: 512 J in 2^32, so that 200 W wrap every 2.56 s
SOCKET = {0x606: UNIT_ESU14, 0x610: PACKAGE_LIMIT, 0x614: PACKAGE_INFO}
WATTS = 100.0


class Group:
    """A DOUBLE of a run's group."""

    actual = Limits(cpuset_cpus=(0,))

    def check_cpus(self):
        pass

    def usage(self):
        return GroupUsage(cpu_s=0.0, oom_kills=0)


@pytest.fixture
def device(roots, tmp_path):
    """Two sockets of the paper's server at 100 W each, DRAM at 10 W; CPU 0 on one, CPU 1 on the other."""
    put_broadwell_ep(roots)
    with fuse_msr.FuseMsr(tmp_path / "fuse", {0: SOCKET, 1: SOCKET}) as made:
        for cpu in (0, 1):
            made.move(cpu, PACKAGE, start=5, per_s=WATTS * 2**14)
            made.move(cpu, DRAM, start=5, per_s=10 / 15.3e-6)
        yield made


@pytest.fixture
def meter(roots, device):
    opened = open_msr(replace(roots, devcpu=device.devcpu, msr_stride=1))
    yield opened
    opened.close()


def faulted(sampler):
    wait_for(lambda: sampler.fault is not None)
    sampler.stop()
    assert isinstance(sampler.fault, MeterFault)
    return str(sampler.fault)


@pytest.fixture
def sampler(meter):
    made = Sampler(meter, Group())
    made.start()
    assert made.fault is None
    yield made
    made.stop()


def test_overlapping_registers_are_read_at_stride_1_and_power_is_right(meter):
    """0x610 and 0x611 share seven bytes in a plain file; on the device each is its own eight."""
    assert [counter.max_power_w for counter in meter.counters] == [261.0, 400.0] * 2  # 1.5 * PL2 of 0x610
    assert meter.boundary == "pkg+dram"
    first = meter.read()
    time.sleep(0.5)
    last = meter.read()
    seconds = (last.stamp_ns - first.stamp_ns) / 1e9
    power_w = [energy_j / seconds for energy_j in meter.domain_energies_j(first, last)]
    assert power_w == pytest.approx([WATTS, 10.0] * 2, rel=0.02)


def test_amd_registers_beyond_two_gigabytes_are_read_at_stride_1(roots, tmp_path):
    put_cpus(roots, EPYC_ZEN4, {0: (0, 0), 1: (0, 1)})
    with fuse_msr.FuseMsr(tmp_path / "fuse", {0: {0xC0010299: 0xA1003, 0xC001029A: 77}}) as device:
        device.move(0, 0xC001029B, start=9, per_s=280 * 2**16)
        meter = open_msr(replace(roots, devcpu=device.devcpu, msr_stride=1))
        first = meter.read()
        time.sleep(0.2)
        last = meter.read()
        assert meter.energy_j(first, last) / ((last.stamp_ns - first.stamp_ns) / 1e9) == pytest.approx(280, rel=0.02)
        meter.close()


def test_a_register_that_answers_eio_is_a_domain_the_part_does_not_have(roots, tmp_path):
    put_cpus(roots, SKYLAKE_CLIENT, {0: (0, 0)})
    with fuse_msr.FuseMsr(tmp_path / "fuse", {0: SOCKET}) as device:
        device.move(0, PACKAGE, start=5, per_s=WATTS * 2**14)
        meter = open_msr(replace(roots, devcpu=device.devcpu, msr_stride=1))
        assert (meter.domains, meter.boundary) == (("package-0",), "pkg")
        meter.close()


def test_eio_on_one_socket_ends_the_recording_and_names_the_register(device, sampler):
    device.fail(1, PACKAGE, errno.EIO)
    message = faulted(sampler)
    assert "EIO" in message
    assert "register 0x611 of" in message
    assert "/cpu/1/msr" in message


def test_enxio_of_a_cpu_that_went_offline_is_told_as_it_is(device, sampler):
    device.fail(0, DRAM, errno.ENXIO)
    message = faulted(sampler)
    assert "ENXIO" in message
    assert "offline" in message


def test_a_meter_that_disappears_ends_the_recording(device, sampler):
    device.disappear()
    assert "could not be read any more" in faulted(sampler)


def test_a_meter_that_freezes_ends_the_recording(device, sampler):
    device.freeze(1, PACKAGE)
    assert "package-1: stood still at " in faulted(sampler)


def test_a_meter_that_freezes_is_seen_at_a_thousand_readings_a_second(device, meter):
    sampler = Sampler(meter, Group(), hz=1000.0)
    sampler.start()
    device.freeze(0, PACKAGE)
    assert "package-0: stood still at " in faulted(sampler)


def test_a_meter_that_is_reset_ends_the_recording(device, meter):
    device.move(0, PACKAGE, start=3_000_000_000, per_s=WATTS * 2**14)
    sampler = Sampler(meter, Group())
    sampler.start()
    time.sleep(0.25)
    device.move(0, PACKAGE, start=0, per_s=WATTS * 2**14)
    message = faulted(sampler)
    assert "package-0: went from 3" in message
    assert "the counter was reset" in message


@pytest.fixture
def fast(roots, tmp_path):
    """One socket at 200 W whose counter wraps every 2.56 s, the first time soon."""
    put_cpus(roots, SKYLAKE_CLIENT, {0: (0, 0)})
    with fuse_msr.FuseMsr(tmp_path / "fuse", {0: SOCKET | {0x606: UNIT_ESU23}}) as device:
        per_s = 200.0 * 2**23
        device.move(0, PACKAGE, start=0, per_s=per_s)
        meter = open_msr(replace(roots, devcpu=device.devcpu, msr_stride=1))
        device.move(0, PACKAGE, start=W32 - int(0.3 * per_s), per_s=per_s)
        yield meter
        meter.close()


@pytest.mark.parametrize(("wraps", "seconds"), [(1, 0.8), (2, 3.1)])
def test_a_meter_that_wraps_while_it_is_recorded_loses_no_energy(fast, wraps, seconds):
    assert fast.max_interval_s == pytest.approx(512 / 261 / 2)
    sampler = Sampler(fast, Group())
    sampler.start()
    first = time.monotonic_ns()
    time.sleep(seconds)
    last = time.monotonic_ns()
    sampler.stop()
    assert sampler.fault is None, sampler.fault
    assert (last - first) / 1e9 > 0.3 + 2.56 * (wraps - 1)
    assert sampler.span([first, last]).energy_j == pytest.approx(200 * (last - first) / 1e9, rel=0.02)


def test_a_meter_that_may_have_wrapped_twice_between_two_readings_is_refused(fast):
    first = fast.read()
    time.sleep(2.2)
    with pytest.raises(MeterFault, match=r"package-0: 2\.\d s lie between two readings, but the counter is only unambiguous for 1\.0 s"):
        fast.energy_j(first, fast.read())
