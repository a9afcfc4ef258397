"""The idle machine's power, by a meter whose truth is known."""

import time

import pytest

from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.run.idle import idle_drift, measure_idle


class MeterOf40W:
    """A DOUBLE, not a meter: 40 W, exactly."""

    def __init__(self, fails_after=10**9):
        self.left = fails_after

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise MeterFault("package-0 went offline")
        now = time.monotonic_ns()
        return EnergySample(now, 0, (now * 40,))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9


def test_the_idle_power_is_the_meters():
    idle = measure_idle(MeterOf40W(), 1.3)
    assert idle.power_w == pytest.approx(40.0, rel=1e-9)
    assert idle.sd_w == pytest.approx(0.0, abs=1e-6)
    assert idle.duration_s >= 1.29
    assert 0.0 <= idle.busy_share <= 1.1


def test_one_part_has_no_spread():
    assert measure_idle(MeterOf40W(), 0.1).sd_w is None


def test_a_meter_that_is_gone_says_so():
    with pytest.raises(MeterFault):
        measure_idle(MeterOf40W(fails_after=1), 0.1)


def test_drift_is_said_beyond_3_percent_or_2_watts():
    assert idle_drift(40.0, 41.1) is None
    assert "from 40.0 W to 41.3 W" in idle_drift(40.0, 41.3)
    assert idle_drift(200.0, 201.9) is None
    assert idle_drift(200.0, 197.0) is not None
