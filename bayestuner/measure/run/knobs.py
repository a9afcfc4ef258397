"""Opening the actuators of those knobs of a job that are settings of the machine; each is tried out before the first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayestuner.errors import KnobUnavailable
from bayestuner.measure.actuators.registry import built_in_knobs
from bayestuner.measure.actuators.setting import KnobFault, KnobSetter, OpenKnob
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.runtime import make_runtime_folder
from bayestuner.measure.platform import knob_offers, load_platforms


def open_knobs(job: Job, cpus: Sequence[int], *, roots: KernelRoots | None = None) -> KnobSetter:
    """Open the actuators of a job's knobs, check every value, and try each out: set its first value once and put the old one back.

    Parameters
    ----------
    cpus : sequence of int
        CPUs of the job's largest configuration.

    Raises
    ------
    KnobUnavailable
        The machine lacks what a knob sets, can't set one of its values, or does not take on the value that was set.
    PlatformProblem
        A platform can't be loaded.
    """
    offers = {kind: ("", offer) for kind, offer in built_in_knobs(roots).items()} | knob_offers(load_platforms(job.measure.platforms))
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
            problem = opened.actuator.problem(opened.in_actuator_unit(value))
            if problem:
                raise KnobUnavailable(f"the knob {knob.name!r} (kind {knob.kind}) can't take {value!r}: {problem}")
        knobs.append(opened)
    if not knobs:
        return KnobSetter()
    setter = KnobSetter(knobs, make_runtime_folder())
    _try_out(setter, {knob.name: knob.knob.values[0] for knob in job.knobs}, cpus)
    return setter


def _try_out(setter: KnobSetter, config: Mapping[str, Any], cpus: Sequence[int]) -> None:
    settings = setter.settings(config, cpus)
    try:
        settings.apply()
    except KnobFault as error:
        raise KnobUnavailable(f"trying out the job's settings failed: {error}") from error
    finally:
        problems = settings.restore()
    if problems:
        raise KnobUnavailable(f"a setting can't be put back after it was tried out: {'; '.join(problems)}")
