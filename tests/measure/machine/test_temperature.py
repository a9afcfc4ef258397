"""Sensors and cool-down over a made-up sysfs and a made-up clock: no machine here has a sensor."""

import pytest
from energy_fakes import fake_roots, put

from bayestuner.measure.machine.temperature import TOLERANCE_C, Cooldown, read_temperature_c


class Room:
    """Synthetic: a package that cools by `rate_c` a second while somebody sleeps."""

    def __init__(self, folder, rate_c=2.0):
        self.roots = fake_roots(folder)
        self.now_s, self.rate_c = 0.0, rate_c
        put(self.roots.sys_path("class/thermal/thermal_zone0/type"), "acpitz")
        put(self.roots.sys_path("class/thermal/thermal_zone0/temp"), "99000")
        put(self.roots.sys_path("class/thermal/thermal_zone1/type"), "x86_pkg_temp")
        self.set(40.0)

    def set(self, value_c):
        self.value_c = value_c
        put(self.roots.sys_path("class/thermal/thermal_zone1/temp"), str(round(1000 * value_c)))

    def sleep(self, seconds):
        self.now_s += seconds
        self.set(self.value_c - self.rate_c * seconds)

    def cooldown(self, longest_s):
        return Cooldown(longest_s, self.roots, clock=lambda: self.now_s, sleep=self.sleep)


def test_it_waits_until_the_package_is_as_cool_as_at_the_start(tmp_path):
    room = Room(tmp_path)
    cooldown = room.cooldown(15.0)
    room.set(52.0)
    cooled = cooldown.wait()
    assert cooled.waited_s == pytest.approx((52 - 40 - TOLERANCE_C) / 2, abs=0.3)
    assert (cooled.from_c, cooled.to_c <= 43.0) == (52.0, True)
    assert cooldown.wait().waited_s == 0.0


def test_it_waits_no_longer_than_it_may(tmp_path):
    room = Room(tmp_path, rate_c=0.01)
    cooldown = room.cooldown(15.0)
    room.set(80.0)
    assert cooldown.wait().waited_s == pytest.approx(15.0, abs=0.3)


def test_no_sensor_and_no_wish_is_no_wait(tmp_path, roots):
    assert Cooldown(15.0, roots).wait() is None
    assert read_temperature_c(roots) is None
    room = Room(tmp_path / "room")
    cooldown = room.cooldown(0.0)
    room.set(80.0)
    assert cooldown.wait() is None


def test_a_sensor_that_vanishes_ends_the_wait(tmp_path):
    room = Room(tmp_path)
    cooldown = room.cooldown(15.0)
    room.set(80.0)
    file = room.roots.sys_path("class/thermal/thermal_zone1/temp")
    room.sleep = lambda _: None
    cooldown._sleep = lambda _: file.unlink()
    assert cooldown.wait().to_c == 80.0
