"""A trial and its outcome: `Measured` with a `Reading` of every metric, or `Failed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from bayestuner.errors import InvalidTell, finite_number

FailureKind = Literal["oom", "timeout", "error", "transient"]
"""``oom``: killed for memory; ``timeout``: too slow to finish; ``error``: the job itself failed;
``transient``: the machine's fault, so that nothing is learnt and the configuration may be asked again."""

FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)

Config = dict[str, Any]
"""Knob name -> value."""


MAX_READING = 1e300  # beyond it the arithmetic of models would overflow


class FixedConfig(dict[str, Any]):
    """A configuration, or what was measured, that can't be changed because a strategy relies on it; `dict` makes a copy that can."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a trial's config and metrics can't be changed; change a copy of it: dict(trial.config)")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FixedConfig], tuple[Config]]:
        return FixedConfig, (dict(self),)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured metric: its value and, where known, the standard deviation of its noise."""

    value: float
    sd: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", finite_number(self.value, "a reading", InvalidTell, "; use tell_failed for a failed run"))
        if abs(self.value) > MAX_READING:
            raise InvalidTell(f"a reading must be a number between -1e300 and 1e300, not {self.value!r}; give it in a larger unit")
        if self.sd is not None:
            sd = finite_number(self.sd, "a reading's sd", InvalidTell, "; leave it out where it is not known")
            if sd < 0.0:
                raise InvalidTell(f"a reading's sd must be a finite number >= 0 or None, not {self.sd!r}")
            object.__setattr__(self, "sd", sd)


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of a run that ended well; `flags` name what makes its figures doubtful (``"unsteady"``, ``"contended"``, ...)."""

    metrics: Mapping[str, Reading]
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", FixedConfig(self.metrics))

    @property
    def values(self) -> dict[str, float]:
        """Metric name -> value, without the standard deviations."""
        return {name: reading.value for name, reading in self.metrics.items()}


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a run that failed; `kind` is one of `FAILURE_KINDS`.

    `limit` names the knob that limited the run, where there are several and it is known (whose memory was too small); else it is empty.
    """

    kind: str
    message: str = ""
    limit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FAILURE_KINDS:
            raise InvalidTell(f"a failure is one of {', '.join(FAILURE_KINDS)}, not {self.kind!r}")


Outcome = Measured | Failed


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration to run, or one that was run.

    Attributes
    ----------
    number : int
        Position in the order of asking, from 0.
    row : int
        Index into the space's grid.
    config : dict
        Knob name -> value; it can't be changed.
    repeat : bool
        True where this runs a configuration again on purpose: because its readings are noisy, or because it failed and that may have been a
        fluke.
    outcome : Measured, Failed or None
        None until told.
    """

    number: int
    row: int
    config: Config = field(hash=False)
    repeat: bool = False
    outcome: Outcome | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", FixedConfig(self.config))

    @property
    def metrics(self) -> dict[str, float]:
        """Metric name -> value; empty unless measured."""
        return self.outcome.values if isinstance(self.outcome, Measured) else {}

    @property
    def state(self) -> str:
        """``running``, ``measured`` or ``failed``."""
        if self.outcome is None:
            return "running"
        return "measured" if isinstance(self.outcome, Measured) else "failed"
