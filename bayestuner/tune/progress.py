"""What `tune` reports while it works, for whoever shows it."""

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
class RunProgress:
    """A run that starts or has finished.

    Attributes
    ----------
    number : int
        Number of the trial that the run belongs to, from 0. People are shown runs numbered from 1: ``number + 1``.
    k, n : int
        Run k of n: of all runs up to the end of the search (`k` is then ``number + 1``), or of the repeats at the end.
    role : str
        ``baseline``, ``search``, ``reference`` or ``repeat``, see `bayestuner.study.store.Role`.
    config : dict
    best : Trial or None
        The best trial so far that meets the goal.
    seconds_left : float or None
        What all runs that are still to be made take at most, final launches included, each as long as those so far on average.
    outcome : Outcome or None
        None while the run is on.
    details : dict
        What the runner reported, see `RunRecord`; None while the run is on.
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
    """Receives what `tune` reports while it works. This one shows nothing: override the methods whose events you show."""

    def began(self, study: Study, job: Job, *, resumed: bool, meter: EnergyMeter | None, isolation: Isolation | None) -> None:
        """The study is open and the machine ready."""

    def run_started(self, run: RunProgress) -> None:
        """A run starts."""

    def run_finished(self, run: RunProgress) -> None:
        """A run has finished and its outcome is stored."""

    def note(self, text: str) -> None:
        """Something a user should know."""
