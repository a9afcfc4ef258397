"""Choosing the energy meter: the first that works of those that the job file lists, and the reasons why the earlier ones don't."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bayestuner.errors import MeterUnavailable
from bayestuner.measure.cgroup.isolation import Refusal, Refused
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.energy.model import open_model
from bayestuner.measure.energy.msr import open_msr
from bayestuner.measure.energy.perf import open_perf
from bayestuner.measure.energy.powercap import open_powercap

OPENERS: dict[str, Callable[[KernelRoots], EnergyMeter]] = {
    "perf": open_perf,
    "powercap": open_powercap,
    "msr": open_msr,
    "model": open_model,
}
"""How each meter is opened, in the order of preference; ``model`` is an estimate and only used where it is asked for."""

MEASURED = ("perf", "powercap", "msr")
"""The meters that measure."""


def open_meter(order: Sequence[str] = MEASURED, *, roots: KernelRoots | None = None) -> tuple[EnergyMeter, tuple[Refusal, ...]]:
    """Open the first meter of `order` that works.

    Returns
    -------
    meter : EnergyMeter
    refused : tuple of Refusal
        Why those before it don't work.

    Raises
    ------
    MeterUnavailable
        None works; the message gives for each the reason and what would make it usable.
    """
    unknown = [source for source in order if source not in OPENERS]
    if unknown:
        raise MeterUnavailable(f"there is no energy meter called {unknown[0]!r}; the meters are {', '.join(OPENERS)}")
    refused: list[Refusal] = []
    for source in order:
        try:
            return OPENERS[source](roots or KernelRoots()), tuple(refused)
        except Refused as refusal:
            refused.append(refusal.refusal)
    raise MeterUnavailable(f"no energy meter works here: {_why(refused)}; `bayestuner doctor` tells more")


def _why(refused: Sequence[Refusal]) -> str:
    """Reasons and remedies in one sentence; a remedy that all share is said once."""
    if not refused:
        return "the list of meters is empty"
    if len({r.remedy for r in refused}) == 1:
        return "; ".join(f"{r.what}: {r.reason}" for r in refused) + f"; {refused[0].remedy}"
    return "; ".join(f"{r.what}: {r.reason} ({r.remedy})" for r in refused)
