"""Which actuators there are, opening those a job needs, and undoing what a killed BayesTuner left set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bayestuner.errors import KnobUnavailable
from bayestuner.measure.actuators.cpu_frequency import UNITS as CLOCK_UNITS
from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency
from bayestuner.measure.actuators.journal import Change, left_behind, undo
from bayestuner.measure.actuators.power_cap import UNITS as POWER_UNITS
from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.setting import KnobFault, KnobSetter, OpenKnob
from bayestuner.measure.actuators.sysfs import SysfsSettings
from bayestuner.measure.energy.counting import Refused
from bayestuner.measure.energy.roots import Roots
from bayestuner.measure.job import Job
from bayestuner.measure.platform import Door, KnobOffer, load_platform, load_platforms, offers_of
from bayestuner.measure.runtime import make_runtime_folder, runtime_folder


def built_in(roots: Roots | None = None) -> dict[str, KnobOffer]:
    """The kinds that BayesTuner brings itself."""
    return {
        "cpu_frequency": KnobOffer("ceiling of the CPUs' clock", lambda: open_cpu_frequency(roots), CLOCK_UNITS),
        "power_cap": KnobOffer("RAPL power limit of every package", lambda: open_power_cap(roots), POWER_UNITS),
    }


def open_knobs(job: Job, cpus: Sequence[int], *, roots: Roots | None = None) -> KnobSetter:
    """Open the actuators of a job's knobs, check every value, and prove each by setting its first value once and putting it back.

    Parameters
    ----------
    cpus : sequence of int
        CPUs of the job's largest configuration.

    Raises
    ------
    KnobUnavailable
        The machine lacks one, can't set a value of it, or doesn't do what it is told.
    PlatformProblem
        A platform can't be loaded.
    """
    offers = {kind: ("", offer) for kind, offer in built_in(roots).items()} | offers_of(load_platforms(job.measure.platforms))
    knobs = []
    for knob in job.knobs:
        if knob.kind not in offers:
            continue
        platform, offer = offers[knob.kind]
        try:
            opened = OpenKnob(knob.name, knob.kind, offer.open(), knob.scale, platform)
        except Refused as refused:
            reason = f"{refused.refusal.reason}; {refused.refusal.remedy}"
            raise KnobUnavailable(f"the knob {knob.name!r} (kind {knob.kind}) can't be set here: {reason}") from refused
        for value in knob.knob.values:
            problem = opened.actuator.problem(opened.value_of(value))
            if problem:
                raise KnobUnavailable(f"the knob {knob.name!r} (kind {knob.kind}) can't take {value!r}: {problem}")
        knobs.append(opened)
    if not knobs:
        return KnobSetter()
    setter = KnobSetter(knobs, make_runtime_folder())
    _prove(setter, {knob.name: knob.knob.values[0] for knob in job.knobs}, cpus)
    return setter


def _prove(setter: KnobSetter, config: Mapping[str, Any], cpus: Sequence[int]) -> None:
    settings = setter.settings(config, cpus)
    try:
        settings.apply()
    except KnobFault as error:
        raise KnobUnavailable(f"a trial of the job's settings failed: {error}") from error
    finally:
        problems = settings.restore()
    if problems:
        raise KnobUnavailable(f"a setting can't be put back after a trial: {'; '.join(problems)}")


def undo_left_behind(roots: Roots | None = None) -> tuple[list[str], list[str]]:
    """Put back every setting that killed BayesTuners left; hold the machine's lock meanwhile.

    Returns
    -------
    done, failed : list of str
        Sentences for people; both empty where there was nothing to do.
    """
    done: list[str] = []
    failed: list[str] = []
    for left in left_behind(runtime_folder()):
        some, others = undo(left, partial(_door_to, roots=roots))
        done += some
        failed += others
    return done, failed


def _door_to(change: Change, roots: Roots | None) -> Door:
    """Who can read and write a target; for a file of sysfs nothing else need be there."""
    if not change.platform:
        return SysfsSettings(roots)
    platform = load_platform(change.platform)
    return platform.knobs[change.kind.partition(".")[2]].open()
