"""The energy of a meter and of a sum of meters while they are recorded."""

import itertools
import time

import pytest
from energy_fakes import moving_text, put_broadwell_ep, put_two_socket_powercap

from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.powercap import open_powercap
from bayestuner.measure.energy.sum_meter import SumMeter
from bayestuner.measure.energy.track import EnergyTrack


class Steady:
    """A DOUBLE of a meter of another device: `power_w`, exactly; only Python can read it."""

    source, estimated, domains, max_interval_s = "double", False, ("board",), 60.0

    def __init__(self, power_w, boundary="board", slow_s=0.0, fails=False):
        self.power_w, self.boundary, self.slow_s, self.fails = power_w, boundary, slow_s, fails

    def read(self):
        time.sleep(self.slow_s)
        if self.fails:
            raise MeterFault("the board is gone")
        now = time.monotonic_ns()
        return EnergySample(now, 0, (now,))

    def energy_j(self, first, last):
        return self.power_w * (last.raw_counts[0] - first.raw_counts[0]) / 1e9

    def close(self):
        pass


def recorded(meter, seconds=0.4):
    track = EnergyTrack(meter, hz=100.0)
    track.start()
    time.sleep(seconds)
    track.stop()
    track.stop()
    track.collect()
    return track


def mean_power_w(points):
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0]) * 1e9


def test_one_meter_is_its_own_readings():
    track = recorded(Steady(50.0))
    assert track.points[0][1] == 0.0
    assert mean_power_w(track.points) == pytest.approx(50.0)
    assert [recording.samples for recording in track.recordings] == [len(track.points)]


def test_a_sum_is_the_sum_at_every_moment_although_its_parts_are_read_at_their_own_times():
    track = recorded(SumMeter([("cpu", Steady(50.0)), ("gpu", Steady(200.0, slow_s=0.03))]))
    points = track.points
    assert mean_power_w(points) == pytest.approx(250.0)
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(points))
    assert all(energy_j == pytest.approx(250.0 * (stamp - points[0][0]) / 1e9 + points[0][1]) for stamp, energy_j in points)


@pytest.mark.usefixtures("way")
def test_a_part_that_only_python_can_read_does_not_take_the_thread_from_the_others(roots, way):
    put_broadwell_ep(roots)
    with moving_text(put_two_socket_powercap(roots)):
        meter = open_powercap(roots)
        track = recorded(SumMeter([("powercap", meter), ("gpu", Steady(200.0, slow_s=0.02))]))
        meter.close()
    assert [recording.native for recording in track.recordings] == [way == "extension", False]
    assert mean_power_w(track.points) > 200.0
    assert track.recordings[0].samples > track.recordings[1].samples


def test_a_fault_of_any_part_is_the_tracks():
    track = EnergyTrack(SumMeter([("cpu", Steady(50.0)), ("gpu", Steady(200.0, fails=True))]), hz=100.0)
    track.start()
    with pytest.raises(MeterFault, match="the board is gone"):
        track.collect()
    track.stop()
    assert track.points == []


def test_before_the_start_there_is_nothing():
    track = EnergyTrack(SumMeter([("cpu", Steady(1.0)), ("gpu", Steady(2.0))]))
    track.collect()
    assert track.points == []
    track.stop()
