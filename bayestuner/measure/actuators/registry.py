"""The kinds of knobs that are settings of the machine, and putting back what a killed BayesTuner left set."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from bayestuner.measure.actuators.cpu_frequency import UNITS as CLOCK_UNITS
from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency
from bayestuner.measure.actuators.journal import Change, left_behind, undo
from bayestuner.measure.actuators.power_cap import UNITS as POWER_UNITS
from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.sysfs import SysfsSettings
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.machine.runtime import runtime_folder
from bayestuner.measure.platform import KnobOffer, PlatformProblem, TargetAccess, load_platform, registered_platforms


def built_in_knobs(roots: KernelRoots | None = None) -> dict[str, KnobOffer]:
    """Kind -> offer, for the kinds of knobs that BayesTuner brings itself."""
    return {
        "cpu_frequency": KnobOffer("ceiling of the CPUs' clock", lambda: open_cpu_frequency(roots), CLOCK_UNITS),
        "power_cap": KnobOffer("RAPL power limit of every package", lambda: open_power_cap(roots), POWER_UNITS),
    }


def undo_left_behind(roots: KernelRoots | None = None, platforms: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Put back every setting that killed BayesTuners left changed. The caller holds the machine's lock.

    Parameters
    ----------
    roots : KernelRoots, optional
    platforms : collection of str
        Specs that this run's job file names. A journal alone can't have any code called: of platforms only these are loaded, and those that
        an installed package registers.

    Returns
    -------
    done, failed : list of str
        Sentences for people; both empty where there was nothing to do.
    """
    done: list[str] = []
    failed: list[str] = []
    for left in left_behind(runtime_folder()):
        some, others = undo(left, partial(_access_to, roots=roots, platforms=platforms))
        done += some
        failed += others
    return done, failed


def _access_to(change: Change, roots: KernelRoots | None, platforms: Collection[str]) -> TargetAccess:
    """The object that can read and write a change's target; a platform is loaded for it, a file below /sys needs none."""
    if not change.platform:
        return SysfsSettings(roots)
    if change.platform not in platforms and change.platform not in registered_platforms():
        raise PlatformProblem(
            f"the platform {change.platform!r} is none that an installed package registers, so it is loaded only for a job file that names "
            "it: start such a job, which puts it back"
        )
    platform = load_platform(change.platform)
    return platform.knobs[change.kind.partition(".")[2]].open()
