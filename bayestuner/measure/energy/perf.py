"""The perf meter: events of the kernel's ``power`` PMU (performance monitoring unit). It is preferred, because the kernel itself extends
the 32-bit energy registers to 64 bits.

Such an event counts for a whole package (or die) and is opened on the one CPU of it that the PMU's ``cpumask`` names. A count times the
event's ``.scale`` is joules. Needs the C extension, and CAP_PERFMON or kernel.perf_event_paranoid <= 0.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path

from bayestuner.measure.cgroup.cpulist import parse_list
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.counter_energy import DEFAULT_MAX_POWER_W, Counter
from bayestuner.measure.energy.counting_meter import HIDDEN_BY_VM, CountingMeter, describe_os_error, proven_meter
from bayestuner.measure.energy.cpus import cpu_model, online_cpus
from bayestuner.measure.energy.kernel_files import KernelRoots, read_int, read_text
from bayestuner.measure.energy.reader import Source, SourceKind, native_reader

SOURCE = "perf"
EVENTS = {"package": "energy-pkg", "dram": "energy-ram"}
MODULUS = 1 << 64
LOAD_DRIVER = "load the driver: sudo modprobe rapl"
BUILD_EXTENSION = "install a C compiler and Python's headers, then reinstall BayesTuner"

MAX_INTERVAL_S = 30.0
"""At every reading, and on a timer, the kernel adds the change of the 32-bit register to its 64-bit count, and takes the change for a
signed number. The timer's period is chosen for 200 W, so above that the count can miss a wrap of the register when nobody reads. A reading
every 30 s keeps the count right up to 4 kW where the unit is 2^-14 J, and up to 1 kW where it is 2^-16 J (AMD packages, DRAM of
servers)."""


def event_config(event: str, layout: str) -> int:
    """The ``config`` value with which perf_event_open opens an event.

    Parameters
    ----------
    event : str
        ``event=0x02``.
    layout : str
        The PMU's ``format/event``: ``config:0-7``, the bits it goes to.

    Raises
    ------
    ValueError
        For anything else.
    """
    value = re.fullmatch(r"event=(0x[0-9a-fA-F]+|\d+)", event.strip())
    place = re.fullmatch(r"config:(\d+)(?:-(\d+))?", layout.strip())
    if value is None:
        raise ValueError(f"{event!r} is not event=<number>")
    if place is None:
        raise ValueError(f"format/event is {layout!r}, not config:<bits>")
    number, low, high = int(value[1], 0), int(place[1]), int(place[2] or place[1])
    if not low <= high < 64:
        raise ValueError(f"format/event is {layout!r}, which is no place in 64 bits")
    if number >> (high - low + 1):
        raise ValueError(f"{event!r} does not fit into {layout!r}")
    return number << low


def _events(pmu: Path) -> dict[str, tuple[int, float]]:
    """``package`` or ``dram`` -> (config, joules per count), for the events that this PMU has."""
    found = {}
    layout = read_text(pmu / "format" / "event") or "config:0-7"
    for kind, event in EVENTS.items():
        text = read_text(pmu / "events" / event)
        if text is None:
            continue
        unit = read_text(pmu / "events" / f"{event}.unit") or "Joules"
        scale = read_text(pmu / "events" / f"{event}.scale") or ""
        try:
            if unit != "Joules" or not float(scale) > 0:
                raise ValueError(f"unit {unit!r} and scale {scale!r} are not Joules and a positive number")
            found[kind] = event_config(text, layout), float(scale)
        except ValueError as error:
            raise Refused(SOURCE, f"{pmu}/events/{event} can't be understood: {error}", "use another meter") from error
    return found


def _mask_cpus(roots: KernelRoots, pmu: Path) -> dict[int, str]:
    """CPU -> ``0`` or ``0-die-1``: where to open the events, and which package (or die) that is.

    On AMD every CPU of a package reads the same counter, but kernels 6.9 to 6.12 name one CPU per chiplet in the mask; adding those
    would count the package many times, so one per package is taken.
    """
    cpus = parse_list(read_text(pmu / "cpumask") or "")
    places = {place.cpu: place for place in online_cpus(roots)}
    packages = {cpu: places[cpu].package if cpu in places else index for index, cpu in enumerate(cpus)}
    amd = cpu_model(roots).is_amd
    names: dict[int, str] = {}
    for cpu, package in packages.items():
        several = cpu in places and list(packages.values()).count(package) > 1
        if not (several and amd):
            names[cpu] = f"{package}-die-{places[cpu].die}" if several else str(package)
        elif str(package) not in names.values():
            names[cpu] = str(package)
    return names


def _open_event(pmu_type: int, config: int, cpu: int) -> int:
    from bayestuner._native import ffi, lib
    from bayestuner._native.status import check

    fd = ffi.new("int *")
    check(lib.bt_perf_open(pmu_type, config, cpu, fd), "perf_event_open")
    return int(fd[0])


def _open_remedy(error: OSError, otherwise: str) -> str:
    if not isinstance(error, PermissionError):
        return otherwise
    return "sudo sysctl kernel.perf_event_paranoid=0 (until the next boot), or run as root and give the job a user ([job] user)"


def open_perf(roots: KernelRoots) -> CountingMeter:
    """Open the package and DRAM events of every package and prove that they count.

    Raises
    ------
    Refused
        With reason and remedy: no PMU, no events, no permission, no extension, a dead counter.
    """
    pmu = roots.sys_path("bus/event_source/devices/power")
    remedy = HIDDEN_BY_VM if cpu_model(roots).hypervisor else LOAD_DRIVER
    pmu_type = read_int(pmu / "type")
    if pmu_type is None:
        raise Refused(SOURCE, f"{pmu} does not exist", remedy)
    events = _events(pmu)
    if "package" not in events:
        raise Refused(SOURCE, f"{pmu} has no event {EVENTS['package']}: the driver is there, but no counter", remedy)
    try:
        cpus = _mask_cpus(roots, pmu)
    except ValueError as error:
        raise Refused(SOURCE, f"{pmu}/cpumask is no list of CPUs: {error}", remedy) from error
    if not cpus:
        raise Refused(SOURCE, f"{pmu}/cpumask names no CPU", remedy)
    with ExitStack() as files:
        found: list[tuple[Counter, Source]] = []
        unusable: list[str] = []
        for cpu, name in cpus.items():
            for kind, (config, scale) in events.items():
                try:
                    fd = _open_event(pmu_type, config, cpu)
                except ImportError as error:
                    reason = f"perf events can only be opened by the C extension, which is not there: {error}"
                    raise Refused(SOURCE, reason, BUILD_EXTENSION) from error
                except OSError as error:
                    reason = f"{EVENTS[kind]} can't be opened on CPU {cpu}: {describe_os_error(error)}"
                    if kind == "dram":
                        unusable.append(reason)
                        continue
                    raise Refused(SOURCE, reason, _open_remedy(error, remedy)) from error
                files.callback(os.close, fd)
                counter = Counter(f"{kind}-{name}", scale, MODULUS, DEFAULT_MAX_POWER_W[kind], MAX_INTERVAL_S)
                found.append((counter, Source(fd, SourceKind.PERF, f"{EVENTS[kind]} on CPU {cpu}")))
        return proven_meter(
            SOURCE, found, files, unreadable_remedy=remedy, dead_remedy=remedy, unusable_dram=unusable, make_reader=native_reader
        )
