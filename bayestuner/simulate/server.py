"""The power of the paper's server, SIMULATED: two Xeon E5-2680 v4 (Broadwell-EP).

Every number stands here once, with where it is from. "Assumed" means: no public figure was found; chosen so that neighbouring published
figures are met (idle of two E5-2620 v3: 16 W for both packages; a full load of generic code: 0.65 of the thermal design power).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

NEWTON = 6  # steps; from 3.3 GHz down to the limit four are enough to a millionth


@dataclass(frozen=True, slots=True)
class Server:
    """A dual-socket server.

    Attributes
    ----------
    cores_per_socket : int
        14 (Intel's specification of the E5-2680 v4).
    lowest_ghz, base_ghz, turbo_ghz : float, float, tuple of float
        1.2 and 2.4 (Intel's specification); highest frequency with 1, 2, ... cores active, the last holding for all more: the widely
        published turbo table, of the shape that register dumps of its siblings show.
    tdp_w : float
        120 (Intel's specification); also the long-term limit PL1, whose window of 10 s a test run outlasts.
    idle_w, woken_w, active_w : float
        A package with nothing to do; the same while the other socket works; the uncore of one that works. Assumed.
    core_w : float
        A core in vectorised code at the base frequency. Assumed; with the above a full package would draw 146 W at 2.9 GHz, and is held
        to 120 W at 2.5.
    volts_at_1200_mhz, volts_per_ghz : float
        The voltage line that power scales with squared. Assumed.
    dram_idle_w, dram_busy_w : float
        One of 8 DIMMs: 1.0 W idle and 3.4 W streaming (measured on Haswell-EP single-rank DIMMs, McCalpin).
    dram_gb_per_s : float
        76.8 a socket: four channels of DDR4-2400 (arithmetic).
    l3_mib : float
        35 a socket (Intel's specification).
    """

    cores_per_socket: int = 14
    lowest_ghz: float = 1.2
    base_ghz: float = 2.4
    turbo_ghz: tuple[float, ...] = (3.3, 3.3, 3.1, 3.0, 2.9)
    tdp_w: float = 120.0
    idle_w: float = 12.0
    woken_w: float = 15.0
    active_w: float = 25.0
    core_w: float = 6.37
    volts_at_1200_mhz: float = 0.75
    volts_per_ghz: float = 0.1
    dimms: int = 8
    dram_idle_w: float = 1.0
    dram_busy_w: float = 3.4
    dram_gb_per_s: float = 76.8
    l3_mib: float = 35.0

    def frequency_ghz(self, active: FloatArray, activity: FloatArray) -> FloatArray:
        """Frequency (m,) that a package settles at with so many cores active (m,), each at `activity` (m,) of vectorised code.

        The turbo table's, or where the package's power just meets its limit (a running average: it settles there, between the steps of
        0.1 GHz).
        """
        table = np.array(self.turbo_ghz)
        ghz = table[np.clip(active.astype(np.int64), 1, table.size) - 1]
        for _ in range(NEWTON):  # power is convex in the frequency: from above, Newton's steps never overshoot
            power_w, slope = self._running_w(active, activity, ghz)
            ghz = np.maximum(ghz - np.maximum(power_w - self.tdp_w, 0.0) / slope, self.lowest_ghz)
        return ghz

    def package_w(self, active: FloatArray, activity: FloatArray, ghz: FloatArray, other_active: FloatArray) -> FloatArray:
        """Power (m,) of one package."""
        resting = np.where(other_active > 0, self.woken_w, self.idle_w)
        return np.where(active > 0, self._running_w(active, activity, ghz)[0], resting)

    def dram_w(self, gb_per_s: FloatArray) -> FloatArray:
        """Power (m,) of all DIMMs at a traffic (m,) over both sockets."""
        share = np.minimum(gb_per_s / (2 * self.dram_gb_per_s), 1.0)
        return self.dimms * (self.dram_idle_w + (self.dram_busy_w - self.dram_idle_w) * share)

    def _running_w(self, active: FloatArray, activity: FloatArray, ghz: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Power (m,) of a package that works, and its slope over the frequency."""
        volts, base_volts = (self.volts_at_1200_mhz + self.volts_per_ghz * (f - 1.2) for f in (ghz, self.base_ghz))
        cores_w = active * activity * self.core_w * (ghz / self.base_ghz) * (volts / base_volts) ** 2
        return self.active_w + cores_w, np.maximum(cores_w, 1e-9) * (1.0 / ghz + 2.0 * self.volts_per_ghz / volts)


E5_2680_V4 = Server()
"""The paper's: 2 x 14 cores."""
