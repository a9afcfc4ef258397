"""Whether the machine has changed since a study began: the all-max configuration's launches, first against later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bayestuner.study.store import Record
from bayestuner.trial import Measured, Reading

NOISE_SHARE = 0.03
"""Launches of one configuration differ by more than the spread inside each; a change up to this share of a figure is no drift."""

SPREADS = 3.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one metric of the all-max configuration has moved since its first launch.

    Attributes
    ----------
    metric : str
    change : float
        As a share of the first figure.
    noise : float
        What chance alone may do, as a share of it: `SPREADS` standard deviations of the difference, by the spread between the later
        launches, or inside the launches where there is one alone; `NOISE_SHARE` at least.
    n : int
        Later launches that were averaged.
    """

    metric: str
    change: float
    noise: float
    n: int

    @property
    def beyond_noise(self) -> bool:
        """True where chance is no explanation."""
        return abs(self.change) > self.noise

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "beyond_noise": self.beyond_noise}


def drift_since_first(records: Sequence[Record], role: str, metrics: Sequence[str]) -> tuple[Drift, ...]:
    """Compare the first launch of the default configuration with later ones.

    Parameters
    ----------
    records : sequence of Record
    role : str
        ``reference``: with the latest reference; ``repeat``: with the mean of the final launches of the same configuration.
    metrics : sequence of str
        Those that a launch lacks are left out.
    """
    first = next((r for r in records if r.role == "baseline" and isinstance(r.trial.outcome, Measured)), None)
    if first is None:
        return ()
    later = [
        r.trial.outcome for r in records if r.role == role and r.trial.row == first.trial.row and isinstance(r.trial.outcome, Measured)
    ]
    if role == "reference":
        later = later[-1:]
    assert isinstance(first.trial.outcome, Measured)  # noqa: S101 - held above
    then = first.trial.outcome.metrics
    found = (_drift(m, then[m], [o.metrics[m] for o in later if m in o.metrics]) for m in metrics if m in then)
    return tuple(drift for drift in found if drift is not None)


def _drift(metric: str, first: Reading, later: Sequence[Reading]) -> Drift | None:
    if not later or first.value == 0:
        return None
    mean = math.fsum(r.value for r in later) / len(later)
    n = len(later)
    if n > 1:  # what launches differ by, the first one included; what they tell of themselves is widened by guesses on a busy machine
        variance = math.fsum((r.value - mean) ** 2 for r in later) / (n - 1) * (1 + 1 / n)
    else:
        variance = (first.sd or 0.0) ** 2 + (later[0].sd or 0.0) ** 2
    noise = max(NOISE_SHARE, SPREADS * math.sqrt(variance) / abs(first.value))
    return Drift(metric, (mean - first.value) / first.value, noise, n)
