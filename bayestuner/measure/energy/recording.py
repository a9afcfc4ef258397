"""The interface of a recorder, which reads a meter at a fixed rate, and the statistics of a recording; `recorder` makes recorders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bayestuner.errors import BayesTunerError
from bayestuner.measure.energy.meter import EnergySample


@dataclass(frozen=True, slots=True)
class Recording:
    """How well a meter was read during a run; stands in the run's details as `recordings`.

    Attributes
    ----------
    native : bool
        Whether a thread of the C extension did it.
    hz : float
        Readings a second that were asked for.
    samples, lost, missed : int
        Readings made; readings dropped because nobody collected them in time; readings that were due but not made.
    cpu : int or None
        The CPU that the thread was pinned to; None: it was not pinned.
    note : str
        Why it was not pinned although that was asked for; empty otherwise.
    cpu_s : float or None
        CPU time of the recording thread, seconds.
    """

    native: bool
    hz: float
    samples: int
    lost: int
    missed: int
    cpu: int | None
    note: str
    cpu_s: float | None


class Recorder(Protocol):
    """Reads a meter at a fixed rate, in the background.

    Attributes
    ----------
    fault : BayesTunerError, OSError or None
        Why reading ended too early; `collect` still gives what was read before.
    """

    fault: BayesTunerError | OSError | None

    def start(self) -> None:
        """Read once, then go on in the background. Where the meter can't be read nothing is raised, but `fault` is set."""

    def collect(self) -> list[EnergySample]:
        """The samples since the last call, in order of time; also after `stop`."""

    def stop(self) -> None:
        """Stop reading in the background, then read a last time; may be called twice, and without a start."""

    def recording(self) -> Recording:
        """Statistics up to now."""
