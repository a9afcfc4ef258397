"""What a recorder of a meter is, and how a recording went; `recorder` opens the one of the two kinds that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bayestuner.errors import BayesTunerError
from bayestuner.measure.energy.meter import EnergySample


@dataclass(frozen=True, slots=True)
class Recording:
    """How a recording went.

    Attributes
    ----------
    native : bool
        Whether the extension's thread read.
    hz : float
        Readings asked for in a second.
    samples, lost, missed : int
        Readings made; dropped because nobody collected them; beats that passed without a reading.
    cpu : int or None
        The CPU it was pinned to; None: not pinned.
    note : str
        Why it was not pinned although that was asked for; empty otherwise.
    cpu_s : float or None
        CPU time of the recording thread.
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
    """What reads a meter on a beat.

    Attributes
    ----------
    fault : BayesTunerError, OSError or None
        Why reading ended; `collect` gives what was read before.
    """

    fault: BayesTunerError | OSError | None

    def start(self) -> None:
        """Read once, then go on in the background. A meter that can't be read becomes `fault`."""

    def collect(self) -> list[EnergySample]:
        """The samples since the last call, in order of time; also after `stop`."""

    def stop(self) -> None:
        """End, then read a last time; may be called twice, and without a start."""

    def recording(self) -> Recording:
        """How it goes, or went."""
