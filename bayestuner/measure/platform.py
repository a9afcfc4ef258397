"""What a platform is: knobs that a run may set and meters that it may read. docs/platforms.md adds one, step by step.

A job file names platforms in ``[measure] platforms``, by the name of an entry point in the group ``bayestuner.platforms`` or as
``module:attribute``; their knobs are then kinds called ``platform.knob``, and their meters ``platform.meter`` in ``energy``.
"""

from __future__ import annotations

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

ENTRY_POINT_GROUP = "bayestuner.platforms"

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
    """Reads and writes targets: names of the actuator's own (a file, a device's register) that hold texts."""

    def read(self, target: str) -> str:
        """What a target holds now; OSError where it can't be read."""

    def write(self, target: str, text: str) -> None:
        """Set a target; OSError where it can't be set."""

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Whether what was read back is what was asked for, rounded as this hardware rounds."""


class Actuator(TargetAccess, Protocol):
    """Sets one kind of knob. When targets are written, the journal and the putting back are not its business."""

    def problem(self, value: Any) -> str | None:
        """Why a value can't be set on this machine, with what can; None where it can."""

    def targets(self, value: Any, cpus: Sequence[int]) -> Mapping[str, str]:
        """What has to hold which text so that `value` is in force for a job on `cpus`, in the order of writing."""


@dataclass(frozen=True, slots=True)
class KnobOffer:
    """A kind of knob that a platform offers.

    Attributes
    ----------
    description : str
        One line for people.
    open : callable
        Makes the `Actuator`, or raises `Refused` with reason and remedy where this machine has no such thing.
    units : dict of str to float
        How a knob's name must end, and how many of the actuator's unit one of it is; empty: any name, values as they stand.
    """

    description: str
    open: Callable[[], Actuator]
    units: Mapping[str, float] = field(default_factory=dict)


class Platform(Protocol):
    """Something with knobs and meters.

    Attributes
    ----------
    name : str
        One word; the first half of its kinds' and meters' names.
    knobs : dict of str to KnobOffer
    meters : dict of str to callable
        Makes an `EnergyMeter` that was proven to work, or raises `Refused`.
    """

    name: str
    knobs: Mapping[str, KnobOffer]
    meters: Mapping[str, Callable[[], EnergyMeter]]


class PlatformProblem(BayesTunerError):
    """A platform can't be loaded, or isn't one."""


def load_platform(spec: str) -> Platform:
    """The platform that a job file names.

    Raises
    ------
    PlatformProblem
        It isn't there, breaks while it is made, or lacks something.
    """
    try:
        found = _find(spec)
        made = found() if isinstance(found, type) or (callable(found) and not hasattr(found, "knobs")) else found
    except PlatformProblem:
        raise
    except Exception as error:  # somebody else's code
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
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == spec:
            return point.load()
    known = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP)) or ["none"]
    raise PlatformProblem(f"no installed package offers a platform {spec!r} (installed: {', '.join(known)}); or write module:attribute")


def load_platforms(specs: Sequence[str]) -> dict[str, Platform]:
    """Every platform by its spec; raises `PlatformProblem`, also where two have one name."""
    loaded = {spec: load_platform(spec) for spec in specs}
    names = [platform.name for platform in loaded.values()]
    for name in names:
        if names.count(name) > 1:
            raise PlatformProblem(f"two platforms are called {name!r}; name one of them")
    return loaded


def knob_offers(platforms: Mapping[str, Platform]) -> dict[str, tuple[str, KnobOffer]]:
    """Kind -> (spec of its platform, offer)."""
    return {f"{p.name}.{kind}": (spec, offer) for spec, p in platforms.items() for kind, offer in p.knobs.items()}


def open_meters(order: Sequence[str], specs: Sequence[str]) -> tuple[EnergyMeter, tuple[Refusal, ...]]:
    """The first of the built-in meters in `order` that works, together with every platform's meter that stands there.

    Raises
    ------
    MeterUnavailable
        No built-in one works (where any is listed), or one of a platform's doesn't.
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
