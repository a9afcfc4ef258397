"""What this machine offers, and for each thing missing why and how to get it: the facts behind `bayestuner doctor`. Needs no root."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.cgroup.select import open_isolation, systemd_run_line
from bayestuner.measure.energy.counting import Refused
from bayestuner.measure.energy.cpus import cpu_model, read_text
from bayestuner.measure.energy.model import parse_stat
from bayestuner.measure.energy.roots import Roots
from bayestuner.measure.energy.select import MEASURED, OPENERS
from bayestuner.measure.topology import read_topology

IDLE_S = 2.0
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
"""How virtual machines name themselves in DMI, for those that don't set the CPU's hypervisor flag."""
LIMITS = (("cores", "CPU cores (cpuset)"), ("memory", "memory limit"))


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a run may want: whether it is usable here, and if not, why and what would make it so."""

    group: str  # "meter", "limit", "extension", "extra"
    what: str
    usable: bool
    detail: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything `bayestuner doctor` says.

    Attributes
    ----------
    machine : dict
        cpu, packages, numa_nodes, cores, cpus (usable by this process), kernel, virtual, vendor, product.
    items : tuple of Item
    boundary : str
        What power figures would cover: ``pkg``, ``pkg+dram``, or ``model`` where only the estimate works.
    outside_load : float or None
        Share of all CPUs that was busy while this process slept; None where it wasn't looked at.
    verdict : str
        What can be minimised here, in a sentence.
    """

    machine: dict[str, Any]
    items: tuple[Item, ...]
    boundary: str
    outside_load: float | None
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return asdict(self)


def probe(*, roots: Roots | None = None, idle_s: float = IDLE_S) -> Report:
    """Try everything a run could need; `idle_s` seconds are spent looking at the load of others (0: not at all)."""
    roots = roots or Roots()
    meters, boundary = _meters(roots)
    limits = _limits()
    return Report(
        machine=_machine(roots),
        items=(*meters, *limits, _extension(), *_extras(), _cache()),
        boundary=boundary,
        outside_load=_outside_load(roots, idle_s) if idle_s > 0 else None,
        verdict=_verdict(meters, limits),
    )


def _machine(roots: Roots) -> dict[str, Any]:
    cpu = cpu_model(roots)
    topology = read_topology(roots.sysfs)
    vendor, product = (read_text(roots.sys_path(f"class/dmi/id/{name}")) or "" for name in ("sys_vendor", "product_name"))
    return {
        "cpu": cpu.name or platform.machine(),
        "packages": len(topology.packages),
        "numa_nodes": len({c.node for c in topology.cpus}),
        "cores": len({(c.package, c.core) for c in topology.cpus}),
        "cpus": len(topology.numbers),
        "kernel": platform.release(),
        "virtual": cpu.hypervisor or any(name in f"{vendor} {product}" for name in HYPERVISORS),
        "vendor": vendor,
        "product": product,
    }


def _meters(roots: Roots) -> tuple[list[Item], str]:
    items = []
    boundary = ""
    for source, opener in OPENERS.items():
        try:
            meter = opener(roots)
        except Refused as refused:
            items.append(_refused("meter", refused.refusal))
            continue
        notes = "; ".join(getattr(meter, "notes", ()))
        detail = notes if meter.estimated else f"{meter.boundary}: {', '.join(meter.domains)}" + (f"; {notes}" if notes else "")
        boundary = boundary or meter.boundary
        meter.close()
        items.append(Item("meter", source, True, detail))
    return items, boundary


def _refused(group: str, refusal: Refusal) -> Item:
    return Item(group, refusal.what, False, reason=refusal.reason, remedy=refusal.remedy)


def _limits() -> list[Item]:
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
        items.append(Item("limit", what, True, isolation.name + (f" ({passed_over})" if passed_over else "")))
    weaker = 'CPU cores without memory, which a job may leave; taken only where [measure] isolation = "affinity-allowed"'
    return [*items, Item("limit", "affinity fallback", True, weaker)]


def _extension() -> Item:
    lost = "perf events can't be read, and runs start through a slower launcher"
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


def _cache() -> Item:
    """Whether machine code can be kept on disk; the folder is chosen as the engine chooses it (this room may not import it)."""
    what = "compiled-code cache"
    own = os.environ.get("BAYESTUNER_CACHE")
    base = Path(own or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "compiled" if own else base / "bayestuner" / "compiled"
    existing = next((path for path in (folder, *folder.parents) if os.path.exists(path)), folder)  # noqa: PTH110 - exists() raises EACCES
    if os.access(existing, os.W_OK | os.X_OK) and existing.is_dir():
        return Item("extension", what, True, str(folder))
    reason = f"{existing} can't be written, so the engine is compiled anew in every process"
    return Item("extension", what, False, reason=reason, remedy="set BAYESTUNER_CACHE to a folder of your own")


def _outside_load(roots: Roots, seconds: float) -> float | None:
    """Share of all CPU time that others used while this process slept; its own share of that time is next to nothing."""
    try:
        first = parse_stat(roots.proc_path("stat").read_text())
        time.sleep(seconds)
        last = parse_stat(roots.proc_path("stat").read_text())
    except (OSError, ValueError):
        return None
    return (last.busy - first.busy) / max(last.total - first.total, 1)


def _verdict(meters: Sequence[Item], limits: Sequence[Item]) -> str:
    measured = next((m.what for m in meters if m.usable and m.what in MEASURED), None)
    if measured:
        power = f"power_w can be minimised here, measured by {measured}"
    else:
        power = (
            "no power meter works here: minimise cpu_s_per_item or cores, which are measured, or accept an estimate of power by adding "
            '"model" to [measure] energy'
        )
    missing = [item.what for item in limits if not item.usable]
    root = "" if os.geteuid() == 0 else " (not root: some limits may need it)"
    return power + (f"; not possible: {', '.join(missing)}{root}" if missing else "")
