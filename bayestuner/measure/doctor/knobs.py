"""Which knobs other than cores and memory can be set here, and which platforms are installed: a part of what `bayestuner doctor` shows."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import cast

from bayestuner.measure.actuators.registry import built_in_knobs
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.doctor.items import Item, refused
from bayestuner.measure.energy.kernel_files import KernelRoots, read_text
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.machine.topology import Topology
from bayestuner.measure.platform import ENTRY_POINT_GROUP, Platform, PlatformProblem, load_platform

SMT_CONTROL = "devices/system/cpu/smt/control"
_SMT_OFF = {
    "off": ("SMT is switched off", f"echo on | sudo tee /sys/{SMT_CONTROL}"),
    "forceoff": ("SMT was switched off at boot (nosmt=force)", "take nosmt=force from the kernel's command line and boot again"),
    "notsupported": ("this machine shows no second threads", "none; on a virtual machine the host may give it some"),
    "notimplemented": ("this kernel doesn't manage SMT and shows no second threads", "none"),
}
_SMT_NOT_ALLOWED = (
    "no second thread is among the CPUs that this process may use",
    "widen its affinity: taskset --cpu-list 0-1023 bayestuner ...",
)


def knob_items(roots: KernelRoots, topology: Topology) -> list[Item]:
    """Second threads of cores, clocks, power limits, and running a job as another user; nothing is written."""
    return [_smt(roots, topology), *_settings(roots), _user()]


def platform_items() -> list[Item]:
    """Every platform that an installed package offers, with its knobs and meters."""
    items = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            platform = load_platform(point.name)
        except PlatformProblem as problem:
            items.append(Item("platform", point.name, False, reason=str(problem), remedy="mend or remove the package that offers it"))
            continue
        items += _of_platform(platform)
    return items


def _smt(roots: KernelRoots, topology: Topology) -> Item:
    order = topology.order
    if order.siblings:
        return Item("knob", "smt", True, f"second threads of {len(order.siblings)} of {len(order.first_threads)} cores")
    reason, remedy = _SMT_OFF.get(read_text(roots.sys_path(SMT_CONTROL)) or "notimplemented", _SMT_NOT_ALLOWED)
    return Item("knob", "smt", False, reason=reason, remedy=remedy)


def _settings(roots: KernelRoots) -> list[Item]:
    items = []
    for kind, offer in built_in_knobs(roots).items():
        try:
            actuator = offer.open()
        except Refused as refusal:
            items.append(refused("knob", kind, refusal.refusal))
        else:
            items.append(Item("knob", kind, True, str(getattr(actuator, "detail", offer.description))))
    return items


def _user() -> Item:
    if os.geteuid() == 0:
        return Item("knob", "[job] user", True, "jobs may run as any user")
    return Item("knob", "[job] user", False, reason="only root may start a job as somebody else", remedy="sudo bayestuner tune JOB.toml")


def _of_platform(platform: Platform) -> list[Item]:
    items = []
    openers = {**{kind: offer.open for kind, offer in platform.knobs.items()}, **platform.meters}
    for name, opener in openers.items():
        what = f"{platform.name}.{name}"
        try:
            opened = opener()
        except Refused as refusal:
            items.append(refused("platform", what, refusal.refusal))
            continue
        except Exception as error:  # somebody else's code
            items.append(Item("platform", what, False, reason=f"{type(error).__name__}: {error}", remedy="ask whoever wrote it"))
            continue
        if name in platform.meters:
            cast(EnergyMeter, opened).close()
        items.append(Item("platform", what, True, "meter" if name in platform.meters else platform.knobs[name].description))
    return items
