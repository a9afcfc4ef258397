"""Recording energy over the kernel's own drivers: the extension's thread, its beat, wraps on the way, and what ends it.

Real drivers and interfaces over injected counters, as in test_meters.py.
"""

import contextlib
import time

import pytest
from patience import wait_for
from vm.injector import DRAM_W, PACKAGE_W, Drivers, offline
from vm.metering import every_meter

from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.msr import open_msr
from bayestuner.measure.energy.track import EnergyTrack

pytestmark = pytest.mark.vm

TOTAL_W = sum(PACKAGE_W) + sum(DRAM_W)


@contextlib.contextmanager
def tracked(meter, **options):
    track = EnergyTrack(meter, **options)
    track.start()
    try:
        yield track
    finally:
        track.stop()


def mean_power_w(points):
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0]) * 1e9


def fault(track):
    """What ends the recording; None as long as it goes on."""
    try:
        track.collect()
    except MeterFault as error:
        return str(error)
    return None


def ended(track):
    seen = []

    def has_ended():
        seen.append(fault(track))
        return seen[-1] is not None

    wait_for(has_ended)
    return seen[-1]


@every_meter
def test_the_thread_reads_the_injected_power_on_its_beat(drivers, opened, source):
    with tracked(opened(source), hz=20.0, cpu=3) as track:
        time.sleep(2.0)
    track.collect()
    assert mean_power_w(track.points) == pytest.approx(TOTAL_W, rel=0.02)
    (recording,) = track.recordings
    assert recording.native
    assert recording.cpu == 3
    assert recording.lost == 0
    assert recording.samples + recording.missed >= 40
    assert len(track.points) == recording.samples


def test_counters_that_wrap_twice_while_they_are_recorded_lose_nothing():
    """Package counters of 2^-24 J wrap every 2.56 s at 100 W and every 3.2 s at 80 W."""
    with Drivers("esu=24"), contextlib.closing(open_msr(KernelRoots())) as meter:
        with tracked(meter) as track:
            time.sleep(7.0)
        track.collect()
        seconds = (track.points[-1][0] - track.points[0][0]) / 1e9
        assert seconds > 2 * 3.2
        assert mean_power_w(track.points) == pytest.approx(TOTAL_W, rel=0.02)


@pytest.mark.parametrize(("source", "said"), [("powercap", "EINVAL"), ("msr", "EIO")])
def test_a_package_whose_registers_fault_ends_the_recording(drivers, opened, source, said):
    with tracked(opened(source)) as track:
        time.sleep(0.3)
        drivers.set(failing=2)
        message = ended(track)
    assert f"the {source} meter could not be read any more ({said}" in message
    assert "/cpu/2/msr" in message or "intel-rapl:1" in message


@every_meter
def test_counters_that_freeze_end_the_recording(drivers, opened, source):
    with tracked(opened(source)) as track:
        time.sleep(0.3)
        drivers.set(frozen=1)
        assert "stood still at " in ended(track)


@every_meter
def test_counters_that_are_reset_end_the_recording(drivers, opened, source):
    with tracked(opened(source)) as track:
        time.sleep(0.5)
        drivers.set(jump=0)
        assert "the counter was reset" in ended(track)


@every_meter
def test_a_package_that_goes_offline_ends_the_recording(drivers, opened, source):
    with tracked(opened(source)) as track, offline(2, 3):
        message = ended(track)
    assert "could not be read any more" in message or "package-1: stood still" in message
