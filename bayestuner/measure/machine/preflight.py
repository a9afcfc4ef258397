"""What changes a machine's figures and is not a knob (governor, turbo, power limits, ...), read before the first run and kept with the
results.

Every fact is a value, or the reason why it isn't known: ``{"value": ...}`` or ``{"unknown": "..."}``. Nothing here needs root.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text
from bayestuner.measure.machine.temperature import read_temperature_c

Fact = dict[str, Any]

_CPU = "devices/system/cpu"
_FREQUENCY_UNKNOWN = "the kernel drives no CPU frequency here (no cpufreq), as in most virtual machines"


class _Unknown(Exception):
    """Why a fact can't be read."""


def preflight(roots: KernelRoots | None = None) -> dict[str, Fact]:
    """Read every fact; JSON-able.

    Returns
    -------
    dict
        ``governor``, ``energy_preference``, ``driver``, ``turbo``, ``frequency_mhz``, ``power_limits``, ``idle_states``, ``smt``,
        ``transparent_hugepages``, ``numa_balancing``, ``swap_bytes``, ``swappiness``, ``microcode``, ``kernel``, ``hypervisor``,
        ``temperature_c``, ``throttles``, ``load``.
    """
    roots = roots or KernelRoots()
    return {name: _fact(read, roots) for name, read in _READERS.items()}


def _fact(read: Callable[[KernelRoots], Any], roots: KernelRoots) -> Fact:
    try:
        return {"value": read(roots)}
    except _Unknown as why:
        return {"unknown": str(why)}
    except OSError as error:
        return {"unknown": f"{error.filename}: {error.strerror}"}
    except (ValueError, IndexError) as error:
        return {"unknown": f"the kernel's text was not understood: {error}"}


def throttle_count(roots: KernelRoots | None = None) -> int | None:
    """How often any core or package was slowed for heat since boot; None where the machine doesn't count it."""
    files = sorted((roots or KernelRoots()).sys_path(_CPU).glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    if not files:
        return None
    try:
        return sum(int(file.read_text()) for file in files)
    except (OSError, ValueError):
        return None


def long_term_window_s(facts: dict[str, Fact]) -> float | None:
    """The longest window over which a package's long-term power limit (PL1) averages, in seconds; None where it isn't known."""
    zones = [z for z in facts["power_limits"].get("value") or [] if str(z["zone"]).startswith("package")]  # psys has limits of its own
    return max((z["window_s"] for z in zones if z["constraint"] == "long_term" and z["window_s"] is not None), default=None)


def _text(roots: KernelRoots, relative: str, missing: str | None = None) -> str:
    path = roots.sys_path(relative)
    if missing is not None and not path.exists():
        raise _Unknown(missing)
    return path.read_text().strip()


def _of_every_cpu(roots: KernelRoots, name: str, missing: str) -> list[str]:
    """The different values that a cpufreq file has over all CPUs for which it can be read, sorted."""
    texts = map(read_text, roots.sys_path(_CPU).glob(f"cpu[0-9]*/cpufreq/{name}"))
    found = sorted({text for text in texts if text is not None})
    if not found:
        raise _Unknown(missing)
    return found


def _governor(roots: KernelRoots) -> list[str]:
    return _of_every_cpu(roots, "scaling_governor", _FREQUENCY_UNKNOWN)


def _driver(roots: KernelRoots) -> list[str]:
    return _of_every_cpu(roots, "scaling_driver", _FREQUENCY_UNKNOWN)


def _energy_preference(roots: KernelRoots) -> list[str]:
    return _of_every_cpu(roots, "energy_performance_preference", "the frequency driver has no energy preference")


def _frequency(roots: KernelRoots) -> dict[str, float]:
    low = [float(khz) / 1e3 for khz in _of_every_cpu(roots, "scaling_min_freq", _FREQUENCY_UNKNOWN)]
    high = [float(khz) / 1e3 for khz in _of_every_cpu(roots, "scaling_max_freq", _FREQUENCY_UNKNOWN)]
    return {"min": min(low), "max": max(high)}


def _turbo(roots: KernelRoots) -> bool:
    intel, other = roots.sys_path(f"{_CPU}/intel_pstate/no_turbo"), roots.sys_path(f"{_CPU}/cpufreq/boost")
    if intel.exists():
        return intel.read_text().strip() == "0"
    if other.exists():
        return other.read_text().strip() == "1"
    raise _Unknown("neither intel_pstate/no_turbo nor cpufreq/boost is there")


def _power_limits(roots: KernelRoots) -> list[dict[str, Any]]:
    """The limits of packages and of the whole board (psys); a file that can't be read makes its own figure None and no other."""
    found = []
    for zone in sorted(roots.sys_path("class/powercap").glob("intel-rapl:*")):
        if zone.name.count(":") != 1:  # power limits that matter stand at the package
            continue
        for file in sorted(zone.glob("constraint_*_name")):
            stem = file.name.removesuffix("_name")
            limit_uw, window_us = read_int(zone / f"{stem}_power_limit_uw"), read_int(zone / f"{stem}_time_window_us")
            found.append(
                {
                    "zone": read_text(zone / "name"),
                    "constraint": read_text(file),
                    "limit_w": None if limit_uw is None else limit_uw / 1e6,
                    "window_s": None if window_us is None else window_us / 1e6,
                }
            )
    if not found:
        raise _Unknown("there are no powercap zones of packages (no RAPL driver, or a virtual machine)")
    return found


def _idle_states(roots: KernelRoots) -> list[str]:
    states = sorted(roots.sys_path(f"{_CPU}/cpu0/cpuidle").glob("state*"))
    if not states:
        raise _Unknown("the kernel shows no idle states (no cpuidle)")
    return [(s / "name").read_text().strip() for s in states if (s / "disable").read_text().strip() == "0"]


def _smt(roots: KernelRoots) -> str:
    return _text(roots, f"{_CPU}/smt/control", "this kernel has no SMT control")


def _hugepages(roots: KernelRoots) -> str:
    text = _text(roots, "kernel/mm/transparent_hugepage/enabled", "this kernel has no transparent huge pages")
    return text.partition("[")[2].partition("]")[0] or text


def _numa_balancing(roots: KernelRoots) -> bool:
    path = roots.proc_path("sys/kernel/numa_balancing")
    if not path.exists():
        raise _Unknown("this kernel has no NUMA balancing")
    return path.read_text().strip() != "0"


def _swap(roots: KernelRoots) -> int:
    lines = roots.proc_path("swaps").read_text().splitlines()[1:]
    return sum(int(line.split()[2]) * 1024 for line in lines)


def _swappiness(roots: KernelRoots) -> int:
    return int(roots.proc_path("sys/vm/swappiness").read_text())


def _cpuinfo(roots: KernelRoots, key: str) -> list[str]:
    pairs = (line.partition(":") for line in roots.proc_path("cpuinfo").read_text().splitlines())
    return sorted({value.strip() for name, _, value in pairs if name.strip() == key})


def _microcode(roots: KernelRoots) -> list[str]:
    found = _cpuinfo(roots, "microcode")
    if not found:
        raise _Unknown("/proc/cpuinfo names no microcode")
    return found


def _kernel(_: KernelRoots) -> str:
    return f"{platform.release()} {platform.version()}"


def _hypervisor(roots: KernelRoots) -> bool:
    return any("hypervisor" in flags.split() for flags in _cpuinfo(roots, "flags"))


def _temperature(roots: KernelRoots) -> float:
    found = read_temperature_c(roots)
    if found is None:
        raise _Unknown("there is no temperature sensor of a CPU package")
    return found


def _throttles(roots: KernelRoots) -> int:
    count = throttle_count(roots)
    if count is None:
        raise _Unknown("this machine doesn't count how often it throttles")
    return count


def _load(roots: KernelRoots) -> dict[str, float]:
    words = roots.proc_path("loadavg").read_text().split()
    return {"average_1_min": float(words[0]), "cpus": float(os.cpu_count() or 1)}


_READERS: dict[str, Callable[[KernelRoots], Any]] = {
    "governor": _governor,
    "energy_preference": _energy_preference,
    "driver": _driver,
    "turbo": _turbo,
    "frequency_mhz": _frequency,
    "power_limits": _power_limits,
    "idle_states": _idle_states,
    "smt": _smt,
    "transparent_hugepages": _hugepages,
    "numa_balancing": _numa_balancing,
    "swap_bytes": _swap,
    "swappiness": _swappiness,
    "microcode": _microcode,
    "kernel": _kernel,
    "hypervisor": _hypervisor,
    "temperature_c": _temperature,
    "throttles": _throttles,
    "load": _load,
}
