"""Fakes of cpufreq and powercap limits, which the machines that run these tests don't have: trees with the kernel's files, and a kernel
double that cuts and rounds what is written as the real one does. What can't be faked: whether a processor keeps to a limit.
"""

from pathlib import Path

from energy_fakes import PowercapTree, fake_roots, put, put_broadwell_ep

from bayestuner.measure.cgroup.files import CgroupFiles

TURBO_KHZ, LOWEST_KHZ = 3_300_000, 1_200_000


def put_cpufreq(roots, cpus=range(8), *, per_policy=1, low=LOWEST_KHZ, high=TURBO_KHZ, steps=()):
    """Policies as intel_pstate makes them (one CPU each), or with several CPUs each as acpi-cpufreq may."""
    cpus = list(cpus)
    for first in range(0, len(cpus), per_policy):
        members = cpus[first : first + per_policy]
        folder = roots.sys_path(f"devices/system/cpu/cpufreq/policy{members[0]}")
        put(folder / "affected_cpus", " ".join(map(str, members)))
        put(folder / "related_cpus", " ".join(map(str, members)))
        put(folder / "cpuinfo_min_freq", str(low))
        put(folder / "cpuinfo_max_freq", str(high))
        put(folder / "scaling_min_freq", str(low))
        put(folder / "scaling_max_freq", str(high))
        put(folder / "scaling_governor", "powersave")
        put(folder / "scaling_driver", "acpi-cpufreq" if steps else "intel_pstate")
        if steps:
            put(folder / "scaling_available_frequencies", " ".join(map(str, sorted(steps, reverse=True))) + " ")


def put_power_limits(roots):
    """Two packages of 120 W each, the second at intel-rapl:2; returns their folders."""
    tree = PowercapTree(roots)
    folders = [tree.zone("intel-rapl:0", "package-0"), tree.zone("intel-rapl:2", "package-1")]
    tree.zone("intel-rapl:1", "psys")
    for folder in folders:
        put(folder / "enabled", "1")
    return folders


def server(folder):
    """The roots of a two-socket server with clocks and limits."""
    roots = fake_roots(Path(folder))
    put_broadwell_ep(roots)
    put_cpufreq(roots)
    put_power_limits(roots)
    return roots


class ClampingKernel(CgroupFiles):
    """Cuts clocks to the hardware's and rounds them down to 100 MHz; rounds limits to 1/8 W and cuts them to `most_uw`; says nothing."""

    def __init__(self, *, most_khz=TURBO_KHZ, most_uw=120_000_000):
        self.most_khz, self.most_uw = most_khz, most_uw
        self.written = []

    def write(self, path, value):
        self.written.append((path.name, value))
        if path.name == "scaling_max_freq":
            low = int((path.parent / "cpuinfo_min_freq").read_text())
            value = str(max(low, min(int(value), self.most_khz) // 100_000 * 100_000))
        elif path.name.endswith("power_limit_uw"):
            value = str(round(min(int(value), self.most_uw) / 125_000) * 125_000)
        super().write(path, value + "\n")
