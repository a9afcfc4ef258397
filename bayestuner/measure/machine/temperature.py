"""The temperature of the CPU packages, and waiting between runs until it is back near where it was at the start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bayestuner.measure.energy.kernel_files import KernelRoots

TOLERANCE_C = 3.0
_POLL_S = 0.25
_CHIPS = ("coretemp", "k10temp", "zenpower")
_LABELS = ("Package id", "Physical id", "Tctl", "Tdie")
_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal")


def sensors(roots: KernelRoots | None = None) -> tuple[Path, ...]:
    """Files that hold the temperature of a CPU package, in thousandths of a degree Celsius.

    Those of hwmon chips and labels that are known to belong to a package; where there are none, thermal zones of the known types.
    """
    roots = roots or KernelRoots()
    found = []
    for chip in sorted(roots.sys_path("class/hwmon").glob("hwmon*")):
        if _text(chip / "name") in _CHIPS:
            labels = sorted(chip.glob("temp*_label"))
            found += [file.with_name(file.name.replace("_label", "_input")) for file in labels if _text(file).startswith(_LABELS)]
    if not found:
        zones = sorted(roots.sys_path("class/thermal").glob("thermal_zone*"))
        found = [zone / "temp" for zone in zones if _text(zone / "type") in _ZONES]
    return tuple(found)


def read_temperature_c(roots: KernelRoots | None = None) -> float | None:
    """The temperature of the hottest package, degrees Celsius; None where no sensor can be read."""
    return _hottest_c(sensors(roots))


def _hottest_c(files: tuple[Path, ...]) -> float | None:
    values = [int(text) / 1000.0 for text in map(_text, files) if text.lstrip("-").isdecimal()]
    return max(values, default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Cooled:
    """One wait: how many seconds, and the temperature before and after it, degrees Celsius."""

    waited_s: float
    from_c: float
    to_c: float


class Cooldown:
    """Waits until the packages are no more than `TOLERANCE_C` hotter than when this object was made, but never longer than `longest_s`.

    Parameters
    ----------
    longest_s : float
        Seconds; with 0 it never waits.
    roots : KernelRoots, optional
    clock, sleep : callable
        For tests.
    """

    def __init__(
        self,
        longest_s: float,
        roots: KernelRoots | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._longest_s = longest_s
        self._files = sensors(roots)
        self._clock = clock
        self._sleep = sleep
        self.start_c = _hottest_c(self._files)

    def wait(self) -> Cooled | None:
        """Wait where the packages are too hot; None where no sensor can be read, or where waiting is switched off."""
        from_c = _hottest_c(self._files)
        if self.start_c is None or from_c is None or self._longest_s <= 0:
            return None
        began, now_c = self._clock(), from_c
        while now_c > self.start_c + TOLERANCE_C and self._clock() - began < self._longest_s:
            self._sleep(_POLL_S)
            read_c = _hottest_c(self._files)
            if read_c is None:
                break
            now_c = read_c
        return Cooled(self._clock() - began, from_c, now_c)
