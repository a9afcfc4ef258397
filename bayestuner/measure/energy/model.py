"""An estimate of power from CPU time, for machines without a meter. It measures nothing, and everything made from it says so.

The model is affine in CPU use: every logical CPU always draws `idle_w`, and `busy_w - idle_w` more while it is busy,

    E = cpus * idle_w * T + (busy_w - idle_w) * busy_s

with T the length of the interval and busy_s the CPU seconds used by anybody on this machine. Power is a function of CPU use by
construction, so a search that minimises it finds only this formula again; no saving may be claimed from it. Without calibration on the
machine at hand expect errors of 40 %: by that much such models missed published measurements of a two-socket server.

The figures per logical CPU are wall power of SPECpower servers divided by their threads, as published by the Cloud Carbon Footprint
project (ccf-coefficients, output/coefficients-aws-use.csv).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.counting_meter import describe_os_error
from bayestuner.measure.energy.cpus import CpuModel, cpu_model
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.meter import EnergySample, MeterFault

SOURCE = "model"
PARAMETERS_SOURCE = "ccf-coefficients, output/coefficients-aws-use.csv (SPECpower wall power / threads)"


@dataclass(frozen=True, slots=True)
class AffineParameters:
    """Watts of one logical CPU, idle and fully busy, and the source of these figures.

    Attributes
    ----------
    idle_w, busy_w : float
        W per logical CPU.
    rel_uncertainty : float
        Relative standard error of the estimate: 0.4 without calibration, 0.15 where this machine's idle and full power were measured at the
        wall socket.
    """

    architecture: str
    idle_w: float
    busy_w: float
    source: str = PARAMETERS_SOURCE
    rel_uncertainty: float = 0.4


BROADWELL = AffineParameters("Broadwell", 0.7128, 3.6853)
"""The generation of the paper's server; its figures are used where the CPU isn't known."""

_HASWELL = AffineParameters("Haswell", 1.8574, 5.5954)
_SKYLAKE = AffineParameters("Skylake", 0.6130, 4.1042)
_ICE_LAKE = AffineParameters("Ice Lake", 0.7668, 3.7582)
_SAPPHIRE_RAPIDS = AffineParameters("Sapphire Rapids", 1.0363, 4.1605)
_EMERALD_RAPIDS = AffineParameters("Emerald Rapids", 0.8140, 4.4820)
_GRANITE_RAPIDS = AffineParameters("Granite Rapids", 0.5816, 2.5275)
_ZEN1 = AffineParameters("EPYC 1st Gen", 0.8468, 2.6042)
_ZEN2 = AffineParameters("EPYC 2nd Gen", 0.4743, 1.6930)
_ZEN3 = AffineParameters("EPYC 3rd Gen", 0.4556, 1.9573)
_ZEN4 = AffineParameters("EPYC 4th Gen", 0.7391, 2.2822)

_INTEL = {
    0x3F: _HASWELL,
    0x4F: BROADWELL,
    0x56: BROADWELL,
    0x55: _SKYLAKE,  # Cascade Lake has the same number
    0x6A: _ICE_LAKE,
    0x6C: _ICE_LAKE,
    0x8F: _SAPPHIRE_RAPIDS,
    0xCF: _EMERALD_RAPIDS,
    0xAD: _GRANITE_RAPIDS,
    0xAE: _GRANITE_RAPIDS,
}
_AMD = {
    (0x17, 0x01): _ZEN1,
    (0x17, 0x31): _ZEN2,
    (0x19, 0x01): _ZEN3,
    (0x19, 0x11): _ZEN4,
    (0x19, 0xA0): _ZEN4,
}


def parameters_for(cpu: CpuModel) -> AffineParameters:
    """The parameters of this CPU; Broadwell's where it isn't in the table, which `architecture` then says."""
    known = None
    if cpu.is_intel and cpu.family == 6:
        known = _INTEL.get(cpu.model)
    elif cpu.is_amd:
        known = _AMD.get((cpu.family, cpu.model))
    if known is not None:
        return known
    return AffineParameters("Broadwell (this CPU is not in the table)", BROADWELL.idle_w, BROADWELL.busy_w)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Cumulative CPU time of the whole machine in clock ticks, and how many logical CPUs it is the sum of."""

    busy: int
    total: int
    cpus: int


def parse_stat(text: str) -> CpuTimes:
    """CPU times from the text of /proc/stat.

    Busy is user + nice + system + irq + softirq; guest time is already inside user and nice. iowait is idle time with a reason, and steal
    is time in which another machine had this CPU: neither is our work. ValueError where the text has no ``cpu`` line.
    """
    times: CpuTimes | None = None
    cpus = 0
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key == "cpu":
            fields = [int(field) for field in rest.split()] + [0] * 8
            user, nice, system, idle, iowait, irq, softirq, steal = fields[:8]
            busy = user + nice + system + irq + softirq
            times = CpuTimes(busy, busy + idle + iowait + steal, 0)
        elif key.startswith("cpu"):
            cpus += 1
    if times is None or cpus == 0:
        raise ValueError("no cpu line")
    return CpuTimes(times.busy, times.total, cpus)


def affine_energy_j(parameters: AffineParameters, *, cpus: int, duration_s: float, busy_s: float) -> float:
    """Joules of `cpus` logical CPUs over `duration_s` seconds of which `busy_s` CPU seconds were work.

    `busy_s` is not held to ``cpus * duration_s``: ticks are 10 ms, so a short interval may show a little more or less than there was, and
    cutting off the more would make a sum over short intervals too small.
    """
    return parameters.idle_w * cpus * duration_s + (parameters.busy_w - parameters.idle_w) * busy_s


class ModelMeter:
    """The estimate, behind the interface of a meter (`bayestuner.measure.energy.meter.EnergyMeter`); `estimated` is True.

    Attributes
    ----------
    domains : tuple of str
        ``("busy_ticks", "total_ticks")``: what `EnergySample.raw_counts` holds.
    rel_uncertainty : float
        Of every figure; see `AffineParameters`.
    """

    source = SOURCE
    estimated = True
    boundary = "model"
    domains: tuple[str, ...] = ("busy_ticks", "total_ticks")
    max_interval_s = 86400.0  # 64-bit counts never wrap; a day without a reading is a mistake elsewhere

    def __init__(self, parameters: AffineParameters, fd: int, cpus: int) -> None:
        self.parameters = parameters
        self.rel_uncertainty = parameters.rel_uncertainty
        self.cpus = cpus
        self.notes = (
            f"estimated, not measured: {parameters.architecture}, {parameters.idle_w} W idle and {parameters.busy_w} W busy "
            f"per logical CPU, +-{parameters.rel_uncertainty:.0%}; {parameters.source}",
        )
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._fd = fd

    def read(self) -> EnergySample:
        """Read /proc/stat; raises MeterFault when that isn't possible any more."""
        if self._fd < 0:
            raise MeterFault("the model meter is closed; open a new one")
        before = time.monotonic_ns()
        try:
            times = parse_stat(_read_whole(self._fd))
        except (OSError, ValueError) as error:
            raise MeterFault(f"/proc/stat could not be read any more ({error})") from error
        after = time.monotonic_ns()
        return EnergySample((before + after) // 2, (after - before + 1) // 2, (times.busy, times.total))

    def energy_j(self, first: EnergySample, last: EnergySample) -> float:
        """Estimated joules between two samples; MeterFault where time or the busy count ran backwards, or more than a day lies between."""
        duration_s = (last.stamp_ns - first.stamp_ns) / 1e9
        busy = last.raw_counts[0] - first.raw_counts[0]
        if duration_s < 0 or busy < -self.cpus:  # rounding may take back a tick of a CPU
            raise MeterFault(f"CPU time went from {first.raw_counts[0]} to {last.raw_counts[0]} ticks in {duration_s:.3f} s; measure again")
        if duration_s > self.max_interval_s:
            raise MeterFault(
                f"{duration_s:.0f} s lie between two readings of the estimate; read at least every {self.max_interval_s:.0f} s"
            )
        return affine_energy_j(self.parameters, cpus=self.cpus, duration_s=duration_s, busy_s=busy * self._tick_s)

    def close(self) -> None:
        """Close /proc/stat; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read_whole(fd: int) -> str:
    """All of a /proc file from its start, on machines with so many CPUs that it takes several reads."""
    parts: list[bytes] = []
    offset = 0
    while part := os.pread(fd, 1 << 16, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts).decode(errors="replace")


def open_model(roots: KernelRoots) -> ModelMeter:
    """The estimate for this machine; raises Refused where /proc/stat can't be read."""
    path = roots.proc_path("stat")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(SOURCE, f"{path} can't be opened: {describe_os_error(error)}", "mount proc (mount -t proc proc /proc)") from error
    try:
        cpus = parse_stat(_read_whole(fd)).cpus
    except (OSError, ValueError) as error:
        os.close(fd)
        raise Refused(SOURCE, f"{path} can't be read as CPU times: {error}", "mount proc (mount -t proc proc /proc)") from error
    return ModelMeter(parameters_for(cpu_model(roots)), fd, cpus)
