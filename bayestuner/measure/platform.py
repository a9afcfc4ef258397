"""The interface of a platform: a device with knobs that a run may set and meters that it may read. docs/platforms.md adds one, step by
step.

A job file names platforms in ``[measure] platforms``, by the name of an entry point in the group ``bayestuner.platforms`` or as
``module:attribute``; their knobs are then kinds called ``platform.knob``, and their meters ``platform.meter`` in ``energy``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol

from bayestuner.errors import BayesTunerError, MeterUnavailable
from bayestuner.measure.cgroup.isolation import Refusal, Refused
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.energy.select import open_meter
from bayestuner.measure.energy.sum_meter import SumMeter

MOST_PLATFORMS = 16
ENTRY_POINT_GROUP = "bayestuner.platforms"
"""The group of entry points under which installed packages offer platforms."""

__all__ = [
    "Actuator",
    "KnobOffer",
    "Platform",
    "PlatformProblem",
    "Refused",
    "TargetAccess",
    "knob_offers",
    "load_platform",
    "load_platforms",
    "open_meters",
]


class TargetAccess(Protocol):
    """Reads and writes targets. A target is whatever holds one setting: a file, a register of a device; its name is the actuator's own."""

    def read(self, target: str) -> str:
        """The text that a target holds now; OSError where it can't be read."""

    def write(self, target: str, text: str) -> None:
        """Make a target hold a text; OSError where it can't be set."""

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Whether the text read back, `got`, is what was `asked` for, possibly rounded as this hardware rounds."""


class Actuator(TargetAccess, Protocol):
    """Says how one kind of knob is set. The caller keeps the journal, writes the targets and puts them back after the run."""

    def problem(self, value: Any) -> str | None:
        """Why a value can't be set on this machine, and which can; None where it can."""

    def targets(self, value: Any, cpus: Sequence[int]) -> Mapping[str, str]:
        """Target -> the text that it has to hold so that `value` is in force for a job on `cpus`, in the order in which to write them."""


@dataclass(frozen=True, slots=True)
class KnobOffer:
    """A kind of knob that a platform offers.

    Attributes
    ----------
    description : str
        One line for people.
    open : callable
        Makes the `Actuator`, or raises `Refused` with reason and remedy where this machine has no such device.
    units : dict of str to float
        Unit with which a knob's name may end -> how many of the actuator's units it is. Where this is empty a knob may have any name, and
        the actuator gets the values as they are.
    """

    description: str
    open: Callable[[], Actuator]
    units: Mapping[str, float] = field(default_factory=dict)


class Platform(Protocol):
    """A device with knobs and meters.

    Attributes
    ----------
    name : str
        One word; in a job file a kind of knob or a meter is called ``name.kind`` or ``name.meter``.
    knobs : dict of str to KnobOffer
        By kind.
    meters : dict of str to callable
        By name; makes an `EnergyMeter` that was proven to work, or raises `Refused`.
    """

    name: str
    knobs: Mapping[str, KnobOffer]
    meters: Mapping[str, Callable[[], EnergyMeter]]


class PlatformProblem(BayesTunerError):
    """A platform can't be loaded, or what was loaded is no platform."""


def load_platform(spec: str) -> Platform:
    """The platform that a job file names by `spec`: the name of an entry point, or ``module:attribute``.

    Raises
    ------
    PlatformProblem
        There is none, it raises an error while it is made, or it lacks an attribute of `Platform`.
    """
    try:
        found = _find(spec)
        made = found() if isinstance(found, type) or (callable(found) and not hasattr(found, "knobs")) else found
    except PlatformProblem:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code
        raise PlatformProblem(f"the platform {spec!r} can't be loaded: {type(error).__name__}: {error}") from error
    lacking = [name for name in ("name", "knobs", "meters") if not hasattr(made, name)]
    if lacking:
        raise PlatformProblem(f"{spec!r} is no platform: it lacks {', '.join(lacking)}; docs/platforms.md says what one needs")
    if not str(made.name).isidentifier():
        raise PlatformProblem(f"the platform {spec!r} is called {made.name!r}; its name has to be one word")
    platform: Platform = made
    return platform


def _find(spec: str) -> Any:
    module, colon, attribute = spec.partition(":")
    if colon:
        if module.partition(".")[0] in {*sys.stdlib_module_names, "__main__"} or module.startswith("bayestuner.cli"):
            raise PlatformProblem(f"{spec!r} is no platform, but a part of Python or of BayesTuner; docs/platforms.md says what one needs")
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == spec:
            return point.load()
    known = registered_platforms() or ["none"]
    raise PlatformProblem(f"no installed package offers a platform {spec!r} (installed: {', '.join(known)}); or write module:attribute")


def registered_platforms() -> list[str]:
    """The names of the platforms that installed packages offer, sorted; nothing of them is loaded."""
    return sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))


def load_platforms(specs: Sequence[str]) -> dict[str, Platform]:
    """Spec -> platform; raises `PlatformProblem`, also where two platforms have the same name."""
    if len(specs) > MOST_PLATFORMS:
        raise PlatformProblem(f"{len(specs)} platforms; name at most {MOST_PLATFORMS}")
    loaded = {spec: load_platform(spec) for spec in specs}
    names = [platform.name for platform in loaded.values()]
    for name in names:
        if names.count(name) > 1:
            raise PlatformProblem(f"two platforms are called {name!r}; name one of them")
    return loaded


def knob_offers(platforms: Mapping[str, Platform]) -> dict[str, tuple[str, KnobOffer]]:
    """Kind of knob as a job file calls it -> (spec of its platform, its offer)."""
    return {f"{p.name}.{kind}": (spec, offer) for spec, p in platforms.items() for kind, offer in p.knobs.items()}


def open_meters(order: Sequence[str], specs: Sequence[str]) -> tuple[EnergyMeter, tuple[Refusal, ...]]:
    """The first of the built-in meters in `order` that works, together with every platform's meter in `order`.

    Parameters
    ----------
    order : sequence of str
        ``measure.energy`` of the job file.
    specs : sequence of str
        The platforms of the job file.

    Returns
    -------
    meter : EnergyMeter
    refusals : tuple of Refusal
        Why the built-in meters that were tried first don't work.

    Raises
    ------
    MeterUnavailable
        None of the built-in meters works (where any is listed), or one of a platform's doesn't.
    """
    own = [name for name in order if "." not in name]
    others = [name for name in order if "." in name]
    if not others:
        return open_meter(own)
    offered = {f"{p.name}.{meter}": opener for p in load_platforms(specs).values() for meter, opener in p.meters.items()}
    refusals: tuple[Refusal, ...] = ()
    parts: list[tuple[str, EnergyMeter]] = []
    try:
        if own:
            first, refusals = open_meter(own)
            parts.append((first.source, first))
        for name in others:
            try:
                parts.append((name, offered[name]()))
            except Refused as refused:
                raise MeterUnavailable(f"the meter {name} can't be used: {refused.refusal.reason}; {refused.refusal.remedy}") from refused
    except BaseException:
        for _, part in parts:
            part.close()
        raise
    return SumMeter(parts), refusals
