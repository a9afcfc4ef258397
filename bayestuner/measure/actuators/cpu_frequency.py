"""The knob kind ``cpu_frequency``: the highest clock frequency of the job's CPUs (cpufreq's scaling_max_freq, in kHz).

The kernel limits a value to what the hardware can do and may round it down to a step, without an error; what the file holds afterwards
is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayestuner.measure.actuators.sysfs import SysfsSettings, first_unwritable
from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.cpus import cpu_model
from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text

KIND = "cpu_frequency"
UNITS = {"mhz": 1e3, "ghz": 1e6, "khz": 1.0}
"""How a knob's name may end, and how many kHz one unit of it is."""

STEP_KHZ = 100_000
"""The largest step between the frequencies of any driver in use; a ceiling may be rounded down by this much."""

GRANT_ACCESS = "sudo chown $USER /sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq (until the next boot), or run as root"
IN_A_VM = "a virtual machine's clock is its host's: run on bare metal"
LOAD_DRIVER = "load a driver: sudo modprobe acpi_cpufreq; where that fails, enable P-states (SpeedStep, CPPC) in the firmware"


@dataclass(frozen=True, slots=True)
class Policy:
    """What cpufreq calls a policy: CPUs that share a clock.

    Attributes
    ----------
    folder : Path
        The policy's folder in sysfs.
    cpus : frozenset of int
    min_khz, max_khz : int
        What the hardware can do.
    steps : tuple of int
        The frequencies that can be set, kHz; empty where every value in the range can.
    """

    folder: Path
    cpus: frozenset[int]
    min_khz: int
    max_khz: int
    steps: tuple[int, ...]

    @property
    def target(self) -> str:
        """The file that holds the ceiling."""
        return str(self.folder / "scaling_max_freq")


class CpuFrequency(SysfsSettings):
    """Sets the highest clock frequency; see `bayestuner.measure.platform.Actuator` for the interface. Values are in kHz."""

    def __init__(self, policies: Sequence[Policy], roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> None:
        super().__init__(roots, files)
        self.policies = tuple(policies)
        self.range_khz = max(p.min_khz for p in policies), max(p.max_khz for p in policies)

    @property
    def detail(self) -> str:
        """What can be set, for people."""
        low, high = self.range_khz
        return f"{low / 1000:g} to {high / 1000:g} MHz; {len(self.policies)} clock(s)"

    def problem(self, value: Any) -> str | None:
        """Why a ceiling can't be set; None where it can."""
        low, high = self.range_khz
        if not low <= value <= high:
            return f"{value / 1000:g} MHz is outside what these CPUs can do, {low / 1000:g} to {high / 1000:g} MHz"
        steps = sorted({step for policy in self.policies for step in policy.steps})
        if steps and all(abs(step - value) > 0.005 * value for step in steps):
            return f"{value / 1000:g} MHz is no step of these CPUs; they have {', '.join(f'{step / 1000:g}' for step in steps)} MHz"
        return None

    def targets(self, value: Any, cpus: Sequence[int]) -> dict[str, str]:
        """The file of every policy that a CPU of the job belongs to -> the ceiling, limited to what the policy's hardware can do."""
        return {p.target: str(min(round(value), p.max_khz)) for p in self.policies if p.cpus & set(cpus)}

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Whether the ceiling read back is the one asked for, or is lower by no more than one step; a higher one is never right."""
        return int(asked) - STEP_KHZ <= int(got) <= 1.005 * int(asked)


def open_cpu_frequency(roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> CpuFrequency:
    """Find the policies, and check that this process may write their files.

    Raises
    ------
    Refused
        There are none, or they may not be written; with reason and remedy.
    """
    roots = roots or KernelRoots()
    base = roots.sys_path("devices/system/cpu/cpufreq")
    virtual = cpu_model(roots).hypervisor
    policies = [policy for folder in sorted(base.glob("policy*")) if (policy := _policy(folder)) is not None]
    if not policies:
        reason = f"{base} has no policy" if base.is_dir() else f"{base} does not exist"
        raise Refused(KIND, reason, IN_A_VM if virtual else LOAD_DRIVER)
    unwritable = first_unwritable(Path(policy.target) for policy in policies)
    if unwritable is not None:
        raise Refused(KIND, f"no permission to write {unwritable}", GRANT_ACCESS)
    return CpuFrequency(policies, roots, files)


def _policy(folder: Path) -> Policy | None:
    """The policy in a folder; None where its CPUs are offline or its limits can't be read."""
    cpus = (read_text(folder / "affected_cpus") or "").split()
    low, high = read_int(folder / "cpuinfo_min_freq"), read_int(folder / "cpuinfo_max_freq")
    if not cpus or low is None or high is None or not (folder / "scaling_max_freq").exists():
        return None
    steps = tuple(int(word) for word in (read_text(folder / "scaling_available_frequencies") or "").split() if word.isdecimal())
    return Policy(folder, frozenset(map(int, cpus)), low, high, steps)
