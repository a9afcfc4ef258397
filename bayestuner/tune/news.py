"""What `tune` tells while it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayestuner.measure.cgroup.isolation import Isolation
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import Job
from bayestuner.study.store import Role
from bayestuner.study.study import Study
from bayestuner.trial import Config, Outcome, Trial


@dataclass(frozen=True, slots=True)
class RunNews:
    """A run that starts or has finished, for whoever shows progress.

    Attributes
    ----------
    number : int
        The trial's number.
    k, n : int
        Run k of n in its phase.
    role : str
        ``baseline``, ``search`` or ``repeat``.
    config : dict
    best : Trial or None
        The best feasible trial so far.
    seconds_left : float or None
        Estimated for everything that is still to run.
    outcome : Outcome or None
        None while it runs.
    details : dict
        What the runner reported.
    """

    number: int
    k: int
    n: int
    role: Role
    config: Config
    best: Trial | None
    seconds_left: float | None
    outcome: Outcome | None = None
    details: Mapping[str, Any] | None = None


class Progress:
    """What `tune` tells while it works; this one says nothing. Override what you show."""

    def began(self, study: Study, job: Job, *, resumed: bool, meter: EnergyMeter | None, isolation: Isolation | None) -> None:
        """The study is open and the machine ready."""

    def run_started(self, news: RunNews) -> None:
        """A run starts."""

    def run_finished(self, news: RunNews) -> None:
        """A run has finished and its outcome is on disk."""

    def note(self, text: str) -> None:
        """Something a user should know."""
