"""Energy and CPU time between samples, and what a sampler does when its sources fail."""

import os
import time

import pytest

from bayestuner.measure.cgroup.isolation import GroupUsage, Limits
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.run.sampling import Sampler, machine_busy_s


class Group:
    """A DOUBLE of a run's group: one CPU second a second."""

    actual = Limits()

    def __init__(self, fails=False):
        self.fails = fails
        self.reads = 0

    def check_cpus(self):
        pass

    def usage(self):
        self.reads += 1
        if self.fails:
            raise OSError(19, "No such device")
        return GroupUsage(cpu_s=time.monotonic_ns() / 1e9, oom_kills=0)


class Meter:
    """A DOUBLE of a meter: 50 W."""

    source, estimated, boundary, domains, max_interval_s = "double", False, "pkg", ("package-0",), 60.0

    def __init__(self, resets=False):
        self.resets = resets

    def read(self):
        now = time.monotonic_ns()
        return EnergySample(now, 0, (50 * now,))

    def energy_j(self, first, last):
        if self.resets:
            raise MeterFault("package-0 was reset")
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9

    def close(self):
        pass


def test_what_lies_between_two_stamps():
    sampler = Sampler(Meter(), Group())
    sampler.start()
    time.sleep(0.05)
    start = time.monotonic_ns()
    time.sleep(0.5)
    end = time.monotonic_ns()
    sampler.stop()
    sampler.stop()
    span = sampler.span([start, (start + end) // 2, end])
    seconds = (end - start) / 1e9
    assert span.energy_j == pytest.approx(50 * seconds, rel=1e-6)
    assert span.cpu_s == pytest.approx(seconds, rel=1e-3)
    assert span.cpu_parts_s == pytest.approx([seconds / 2] * 2, rel=1e-3)
    assert span.power_w == pytest.approx(50.0)
    assert span.outside_cpu_s >= 0.0


def test_a_run_at_the_same_time_is_not_outside(tmp_path):
    """The machine works 2.5 s a second, of which the group has 1 and its neighbour another."""
    hz = os.sysconf("SC_CLK_TCK")

    def outside(**options):
        sampler = Sampler(None, Group(), proc=tmp_path, **options)
        for _ in range(2):
            busy_ticks = round(2.5 * hz * time.monotonic_ns() / 1e9)
            (tmp_path / "stat").write_text(f"cpu {busy_ticks} 0 0 0 0 0 0 0\n")
            sampler.sample(last=True)
            time.sleep(1.0)
        (first, _), (last, _) = sampler._busy
        return sampler.span([first, last]).outside_cpu_s / ((last - first) / 1e9)

    assert outside() == pytest.approx(1.5, abs=0.1)
    assert outside(cpu_s_of_other_runs=lambda: time.monotonic_ns() / 1e9) == pytest.approx(0.5, abs=0.1)


def test_outside_of_the_samples_nothing_is_known():
    sampler = Sampler(Meter(), Group())
    sampler.start()
    sampler.stop()
    now = time.monotonic_ns()
    span = sampler.span([now - 10**12, now + 10**12])
    assert (span.energy_j, span.cpu_s, span.outside_cpu_s) == (None, None, None)
    assert span.cpu_parts_s.size == 0


def test_without_a_meter():
    sampler = Sampler(None, Group())
    sampler.start()
    start = time.monotonic_ns()
    time.sleep(0.05)
    end = time.monotonic_ns()
    sampler.stop()
    span = sampler.span([start, end])
    assert span.energy_j is None
    assert span.cpu_s == pytest.approx((end - start) / 1e9, rel=1e-3)


def test_a_reset_and_a_vanished_group_are_faults_and_no_exceptions():
    for meter, group, words in ((Meter(resets=True), Group(), "reset"), (None, Group(fails=True), "No such device")):
        sampler = Sampler(meter, group)
        sampler.start()
        sampler.stop()
        assert words in str(sampler.fault)


def test_a_dear_group_is_read_less_often():
    group = Group()
    sampler = Sampler(None, group, cpu_time_every=5)
    for _ in range(10):
        sampler.sample()
    assert group.reads == 2


def test_busy_seconds_of_this_machine(tmp_path):
    before = machine_busy_s()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert machine_busy_s() > before
    assert machine_busy_s(tmp_path / "none") is None
    (tmp_path / "stat").write_text("cpu  1 2 nothing\n")
    assert machine_busy_s(tmp_path / "stat") is None
    (tmp_path / "stat").write_text("cpu  100 0 100 900 50 0 0 100 0 0\n")
    assert machine_busy_s(tmp_path / "stat") == pytest.approx(3.0)  # user + system + steal, in ticks of 10 ms
