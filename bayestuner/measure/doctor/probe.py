"""Trying everything that a run could need: the facts behind `bayestuner doctor`. Needs no root."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayestuner.errors import IsolationUnavailable, MachineBusy, RuntimeFolderUnusable
from bayestuner.measure.actuators.journal import left_behind
from bayestuner.measure.actuators.registry import undo_left_behind
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.cgroup.select import open_isolation, systemd_run_line
from bayestuner.measure.doctor.items import Item, refused
from bayestuner.measure.doctor.knobs import knob_items, platform_items
from bayestuner.measure.doctor.places import place_items
from bayestuner.measure.energy.cpus import cpu_model
from bayestuner.measure.energy.kernel_files import KernelRoots, read_text
from bayestuner.measure.energy.select import MEASURED, OPENERS
from bayestuner.measure.machine.core_order import CorePolicy
from bayestuner.measure.machine.lock import holder_of_machine, machine_lock
from bayestuner.measure.machine.noise import Noise, measure_noise
from bayestuner.measure.machine.quota import CpuQuota, cpu_quota
from bayestuner.measure.machine.runtime import runtime_folder
from bayestuner.measure.machine.topology import Topology, read_topology

IDLE_S = 5.0
HYPERVISORS = (
    "QEMU",
    "KVM",
    "VMware",
    "Xen",
    "innotek",
    "Microsoft Corporation Virtual",
    "Amazon EC2",
    "Google Compute Engine",
    "OpenStack",
)
"""How virtual machines call themselves in DMI, the firmware's description of the machine; some don't set the CPU's hypervisor flag."""

DEFAULT_POLICY = CorePolicy(housekeeping_cores="auto")
BOUNDARIES = {
    "pkg": "every socket's package: cores, caches, memory controllers; not the memory itself, disks, fans or the power supply's losses",
    "pkg+dram": "every socket's package and memory; not disks, fans, other devices or the power supply's losses",
    "psys": "the whole board as its own controller counts it; not the power supply's losses",
    "model": "nothing is measured; figures would be reckoned from CPU time, and say so everywhere",
    "": "there is neither a meter nor an estimate",
}
"""A meter's boundary -> which parts of the machine its figures cover."""
LIMITS = (("cores", "CPU cores (cpuset)"), ("memory", "memory limit"))


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything `bayestuner doctor` says.

    Attributes
    ----------
    machine : dict
        cpu, packages, numa_nodes, cores, cpus (usable by this process), cpus_for_jobs, housekeeping_cpus, kernel, virtual, vendor, product.
    items : tuple of Item
    boundary : str
        Boundary of the meter that would be used: ``pkg``, ``pkg+dram``, or ``model`` where only the estimate works.
    covers : str
        What that boundary means, in words.
    outside_load : float or None
        Share of all CPU time that others used while this process slept; None where that wasn't measured.
    noise : Noise or None
        How quiet the machine is; None where that wasn't measured.
    notices : tuple of str
        Settings that were put back after a killed BayesTuner, and who is measuring now.
    verdict : str
        One sentence that says what can be minimised here.
    """

    machine: dict[str, Any]
    items: tuple[Item, ...]
    boundary: str
    covers: str
    outside_load: float | None
    noise: Noise | None
    notices: tuple[str, ...]
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return asdict(self)


def probe(*, roots: KernelRoots | None = None, idle_s: float = IDLE_S) -> DoctorReport:
    """Try everything that a run could need, and put back settings that a killed BayesTuner left changed.

    Parameters
    ----------
    roots : KernelRoots, optional
    idle_s : float
        Seconds spent on measuring how quiet the machine is; with 0 that is left out.
    """
    roots = roots or KernelRoots()
    notices = _put_back(roots)
    topology = read_topology(roots.sysfs, policy=DEFAULT_POLICY)
    meters, boundary = _meters(roots)
    quota = cpu_quota(Path(roots.proc))
    limits = _limits(topology, quota)
    quota_items = [] if quota is None else [_quota_item(quota)]
    noise = _noise(roots, meters, idle_s) if idle_s > 0 else None
    return DoctorReport(
        machine=_machine(roots, topology),
        items=(*meters, *limits, *quota_items, *knob_items(roots, topology), *platform_items(), _extension(), *_extras(), *place_items()),
        boundary=boundary,
        covers=BOUNDARIES.get(boundary, boundary),
        outside_load=None if noise is None else noise.outside_load,
        noise=noise,
        notices=tuple(notices),
        verdict=_verdict(meters, limits),
    )


def _put_back(roots: KernelRoots) -> list[str]:
    """Put back settings that were left changed, unless somebody is measuring now; sentences about what was done, or who is measuring."""
    holder = holder_of_machine()
    if holder is not None:
        return [f"{holder} is measuring on this machine now"]
    if not left_behind(runtime_folder()):
        return []
    try:
        with machine_lock("doctor"):
            done, failed = undo_left_behind(roots)
    except (MachineBusy, RuntimeFolderUnusable) as error:
        return [str(error)]
    return [*done, *failed]


def _noise(roots: KernelRoots, meters: Sequence[Item], seconds: float) -> Noise | None:
    source = next((m.what for m in meters if m.usable and m.what in MEASURED), None)
    try:
        meter = OPENERS[source](roots) if source is not None else None
    except Refused:
        meter = None
    try:
        return measure_noise(roots.proc_path("stat"), seconds, meter)
    finally:
        if meter is not None:
            meter.close()


def _machine(roots: KernelRoots, topology: Topology) -> dict[str, Any]:
    cpu = cpu_model(roots)
    vendor, product = (read_text(roots.sys_path(f"class/dmi/id/{name}")) or "" for name in ("sys_vendor", "product_name"))
    return {
        "cpu": cpu.name or platform.machine(),
        "packages": len(topology.packages),
        "numa_nodes": len({c.node for c in topology.cpus}),
        "cores": len({(c.package, c.core) for c in topology.cpus}),
        "cpus": len(topology.numbers),
        "cpus_for_jobs": topology.max_cores,
        "housekeeping_cpus": list(topology.housekeeping),
        "kernel": platform.release(),
        "virtual": cpu.hypervisor or any(name in f"{vendor} {product}" for name in HYPERVISORS),
        "vendor": vendor,
        "product": product,
    }


def _meters(roots: KernelRoots) -> tuple[list[Item], str]:
    items = []
    boundary = ""
    for source, opener in OPENERS.items():
        try:
            meter = opener(roots)
        except Refused as refusal:
            items.append(refused("meter", refusal.refusal.what, refusal.refusal))
            continue
        notes = "; ".join(getattr(meter, "notes", ()))
        detail = notes if meter.estimated else f"{meter.boundary}: {', '.join(meter.domains)}" + (f"; {notes}" if notes else "")
        boundary = boundary or meter.boundary
        meter.close()
        items.append(Item("meter", source, True, detail))
    return items, boundary


def _limits(topology: Topology, quota: CpuQuota | None) -> list[Item]:
    items = []
    for need, what in LIMITS:
        try:
            isolation, refusals = open_isolation(frozenset({need}))
        except IsolationUnavailable as error:
            reason, _, remedy = str(error).rpartition("): ")  # the message ends with what to do
            items.append(
                Item("limit", what, False, reason=f"{reason})" if reason else remedy, remedy=remedy if reason else systemd_run_line())
            )
            continue
        passed_over = "; ".join(f"not {r.what}: {r.reason}" for r in refusals)
        n_all = topology.max_cores if quota is None else min(topology.max_cores, quota.whole_cpus)
        most = f'; "all" is {n_all} CPU(s){_kept_free(topology)}' if need == "cores" else ""
        items.append(Item("limit", what, True, isolation.name + most + (f" ({passed_over})" if passed_over else "")))
    weaker = 'CPU cores without memory, which a job may leave; taken only where [measure] isolation = "affinity-allowed"'
    return [*items, Item("limit", "affinity fallback", True, weaker)]


def _quota_item(quota: CpuQuota) -> Item:
    """The line of a CPU quota around this process."""
    reason = f"{quota.folder} allows the time of {quota.cpus:g} CPUs: jobs that use more are stopped for a part of every period"
    remedy = 'lift it (docker run without --cpus, no CPU limit in Kubernetes), or count on it: max = "all" does'
    return Item("limit", "no CPU quota", False, reason=reason, remedy=remedy)


def _kept_free(topology: Topology) -> str:
    kept = topology.housekeeping
    return f", CPU {' and '.join(map(str, kept))} kept free for housekeeping" if kept else ""


def _extension() -> Item:
    lost = "perf events can't be read, readings of energy wait for Python, and runs start through a slower launcher"
    try:
        from bayestuner._native import lib
    except ImportError as error:
        remedy = "install a C compiler and Python's headers, then reinstall BayesTuner"
        return Item("extension", "C extension", False, reason=f"not built ({error}); {lost}", remedy=remedy)
    return Item("extension", "C extension", True, f"interface version {lib.bt_abi_version()}")


def _extras() -> list[Item]:
    items = []
    for extra, modules in (("zoo", ("onnx", "onnxruntime")), ("plot", ("matplotlib",))):
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        if missing:
            remedy = f"pip install 'bayestuner[{extra}]'"
            items.append(Item("extra", f"[{extra}]", False, reason=f"{' and '.join(missing)} not installed", remedy=remedy))
        else:
            items.append(Item("extra", f"[{extra}]", True, ", ".join(modules)))
    return items


def _verdict(meters: Sequence[Item], limits: Sequence[Item]) -> str:
    measured = next((m.what for m in meters if m.usable and m.what in MEASURED), None)
    if measured:
        power = f"power_w can be minimised here, measured by {measured}"
    else:
        who = "here" if os.geteuid() == 0 else "for this user"
        power = (
            f"no power meter works {who}: minimise cpu_s_per_item or cores, which are measured, or accept an estimate of power by adding "
            '"model" to [measure] energy'
        )
    missing = [item.what for item in limits if not item.usable]
    root = "" if os.geteuid() == 0 else " (not root: some limits may need it)"
    return power + (f"; not possible: {', '.join(missing)}{root}" if missing else "")
