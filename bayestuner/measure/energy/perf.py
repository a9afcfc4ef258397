"""The perf meter: the kernel's ``power`` PMU, which extends the registers to 64 bits itself; the preferred source.

An event is system-wide: it is opened on the one CPU per package (or die) that the PMU's ``cpumask`` names. Counts are fixed-point joules,
scaled by the event's ``.scale``. Needs the C extension, CAP_PERFMON or kernel.perf_event_paranoid <= 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bayestuner.measure.energy.counting import HIDDEN_BY_VM, CountingMeter, Refused, describe, moving, usable_domains
from bayestuner.measure.energy.counts import DEFAULT_MAX_POWER_W, Counter
from bayestuner.measure.energy.cpus import cpu_model, online_cpus, parse_cpu_list, read_int, read_text
from bayestuner.measure.energy.roots import Roots

WHAT = "perf"
EVENTS = {"package": "energy-pkg", "dram": "energy-ram"}
MODULUS = 1 << 64
LOAD_DRIVER = "load the driver: sudo modprobe rapl"
GRANT = "run as root, or: sudo sysctl kernel.perf_event_paranoid=0 (or give Python CAP_PERFMON)"

MAX_INTERVAL_S = 60.0
"""The kernel folds the 32-bit register into its 64-bit count on a timer sized for 200 W, and a package above that can make it lose a
wrap when nobody reads; one reading a minute keeps it right up to 2 kW."""


def _pmu(roots: Roots) -> Path:
    return roots.sys_path("bus/event_source/devices/power")


def event_config(text: str) -> int:
    """The ``event=0x02`` of an event file as a number; ValueError for anything else."""
    match = re.fullmatch(r"event=(0x[0-9a-fA-F]+|\d+)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not event=<number>")
    return int(match[1], 0)


def _cpu_names(roots: Roots, cpus: Sequence[int]) -> dict[int, str]:
    """``0`` or ``0-die-1`` for each CPU of the PMU's mask: its package, and its die where a package has several in the mask."""
    places = {place.cpu: place for place in online_cpus(roots)}
    packages = [places[c].package if c in places else i for i, c in enumerate(cpus)]
    names = {}
    for cpu, package in zip(cpus, packages, strict=True):
        several = packages.count(package) > 1 and cpu in places
        names[cpu] = f"{package}-die-{places[cpu].die}" if several else str(package)
    return names


def _events(pmu: Path) -> dict[str, tuple[int, float]]:
    """Domain -> (config, joules per count) of the events this PMU has."""
    found = {}
    for kind, event in EVENTS.items():
        text = read_text(pmu / "events" / event)
        if text is None:
            continue
        try:
            found[kind] = event_config(text), float(read_text(pmu / "events" / f"{event}.scale") or "")
        except ValueError as error:
            raise Refused(WHAT, f"{pmu}/events/{event} can't be read: {error}", LOAD_DRIVER) from error
    return found


def open_perf(roots: Roots) -> CountingMeter:
    """Open the package and DRAM events of every package and prove that they count.

    Raises
    ------
    Refused
        With reason and remedy: no PMU, no events, no permission, no extension, a dead counter.
    """
    pmu = _pmu(roots)
    virtual = cpu_model(roots).hypervisor
    driver_remedy = HIDDEN_BY_VM if virtual else LOAD_DRIVER
    pmu_type = read_int(pmu / "type")
    if pmu_type is None:
        raise Refused(WHAT, f"{pmu} does not exist", driver_remedy)
    events = _events(pmu)
    if "package" not in events:
        raise Refused(WHAT, f"{pmu} has no event {EVENTS['package']}: the driver is there, but the counters read zero", driver_remedy)
    try:
        cpus = parse_cpu_list(read_text(pmu / "cpumask") or "")
    except ValueError as error:
        raise Refused(WHAT, f"{pmu}/cpumask can't be read: {error}", driver_remedy) from error
    if not cpus:
        raise Refused(WHAT, f"{pmu}/cpumask names no CPU", driver_remedy)
    try:
        from bayestuner._native import ffi, lib
    except ImportError as error:
        reason = f"the C extension is not built, and perf events can't be opened without it ({error})"
        raise Refused(WHAT, reason, "install a C compiler and reinstall: pip install --force-reinstall --no-deps .") from error

    def read_all(fds: Sequence[int]) -> tuple[int, ...]:
        value = ffi.new("uint64_t *")
        counts = []
        for fd in fds:
            status = lib.bt_perf_read(fd, value)
            if status < 0:
                raise OSError(-status, os.strerror(-status))
            counts.append(int(value[0]))
        return tuple(counts)

    with ExitStack() as stack:
        fds: list[int] = []
        counters: list[Counter] = []
        for cpu, name in _cpu_names(roots, cpus).items():
            for kind, (config, scale) in events.items():
                fd = ffi.new("int *")
                status = lib.bt_perf_open(pmu_type, config, cpu, fd)
                if status < 0:
                    failure = OSError(-status, os.strerror(-status))
                    remedy = GRANT if isinstance(failure, PermissionError) else driver_remedy
                    raise Refused(WHAT, f"{EVENTS[kind]} on CPU {cpu} can't be opened: {describe(failure)}", remedy)
                stack.callback(os.close, int(fd[0]))
                fds.append(int(fd[0]))
                counters.append(Counter(f"{kind}-{name}", scale, MODULUS, DEFAULT_MAX_POWER_W[kind], MAX_INTERVAL_S))
        try:
            moved = moving(lambda: read_all(fds))
        except OSError as error:
            raise Refused(WHAT, f"events can't be read: {describe(error)}", driver_remedy) from error
        keep, notes = usable_domains(WHAT, [counter.name for counter in counters], moved, driver_remedy)
        kept = [fd for fd, ok in zip(fds, keep, strict=True) if ok]
        release = stack.pop_all().close
    chosen = [counter for counter, ok in zip(counters, keep, strict=True) if ok]
    return CountingMeter(WHAT, chosen, lambda: read_all(kept), release, notes)
