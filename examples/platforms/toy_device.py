"""A made-up accelerator as a platform for BayesTuner: one knob, its clock, and one meter, its energy. No such device exists.

Its "registers" are files in the folder that TOY_DEVICE names; a real platform would call its vendor's library in the same places.
"""

import os
import time
from pathlib import Path

from bayestuner.measure.energy.meter import EnergySample
from bayestuner.measure.platform import KnobOffer, Refused

CLOCKS_MHZ = (300, 600, 900)


def folder() -> Path:
    """The device; `Refused` where there is none."""
    found = os.environ.get("TOY_DEVICE")
    if not found or not Path(found, "clock").is_file():
        raise Refused("toy device", "TOY_DEVICE names no folder with a file `clock`", "make one: mkdir toy; echo 900 > toy/clock")
    return Path(found)


class Clock:
    """The knob: one target, `clock`, that holds megahertz."""

    def __init__(self) -> None:
        self.folder = folder()

    def problem(self, value):
        return None if value in CLOCKS_MHZ else f"{value} MHz is none of {CLOCKS_MHZ}"

    def targets(self, value, cpus):
        return {"clock": str(round(value))}

    def read(self, target):
        return (self.folder / target).read_text().strip()

    def write(self, target, text):
        (self.folder / target).write_text(text + "\n")

    def agrees(self, target, asked, got):
        return asked == got


class Energy:
    """The meter: a made-up 2 W, and 30 W more at full clock. `estimated`, because nothing was measured."""

    source = "toy"
    estimated = True
    boundary = "toy device (made up)"
    domains = ("toy",)
    max_interval_s = 3600.0

    def __init__(self) -> None:
        self.clock = Clock()
        self.microjoules, self.read_ns = 0.0, time.monotonic_ns()

    def read(self):
        now = time.monotonic_ns()
        power_w = 2.0 + 30.0 * (int(self.clock.read("clock")) / CLOCKS_MHZ[-1]) ** 3
        self.microjoules += power_w * (now - self.read_ns) / 1e3
        self.read_ns = now
        return EnergySample(now, 0, (round(self.microjoules),))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e6

    def close(self):
        pass


class Toy:
    """What BayesTuner loads: a name, knobs and meters."""

    name = "toy"
    knobs = {"clock": KnobOffer("clock of the made-up device", Clock, units={"mhz": 1.0})}
    meters = {"energy": Energy}
