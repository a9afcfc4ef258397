"""The exceptions BayesTuner raises, and checks of numbers that raise them; messages say what was given, expected, and what to do."""

from __future__ import annotations

import contextlib
import math
import operator
from typing import Any


class BayesTunerError(Exception):
    """Base of every error BayesTuner raises on purpose."""


class InvalidSpace(BayesTunerError, ValueError):
    """A knob or a space was described in a way that has no meaning."""


class InvalidGoal(BayesTunerError, ValueError):
    """A goal, a bound or an option of a strategy was described in a way that has no meaning."""


class InvalidTell(BayesTunerError, ValueError):
    """A result was told that can't be used; the strategy's state is unchanged."""


class InvalidState(BayesTunerError, ValueError):
    """What should be the state of a tuner is none that this version can read."""


class SpaceExhausted(BayesTunerError):
    """Every allowed configuration has been tried or is being tried."""


class NoRecommendation(BayesTunerError):
    """Nothing has been measured yet that a recommendation could rest on."""


class InvalidJob(BayesTunerError, ValueError):
    """A job file holds a mistake; the message names its key."""


class MeterUnavailable(BayesTunerError):
    """No energy meter that the job file accepts works on this machine."""


class IsolationUnavailable(BayesTunerError):
    """The limits a run needs can't be set on this machine."""


class KnobUnavailable(BayesTunerError):
    """A knob of the job file can't be set on this machine."""


class MachineBusy(BayesTunerError):
    """Another BayesTuner is measuring on this machine."""


class RuntimeFolderUnusable(BayesTunerError):
    """There is no folder of this user's own for what lives as long as this boot."""


class NotPrivate(BayesTunerError):
    """A folder or a file that is believed could have been changed by somebody else."""


class StoreError(BayesTunerError):
    """A study's file can't be read, written or continued."""


class MissingExtra(BayesTunerError, ImportError):
    """An optional dependency is needed for what was asked and isn't installed."""


class WorkerLost(BayesTunerError):
    """A process that does a part of the work was ended from outside."""


class RunFailed(BayesTunerError):
    """Raised by an ``evaluate`` function to say that a test run failed.

    Parameters
    ----------
    kind : {"oom", "timeout", "error", "transient"}
        See `bayestuner.trial.FailureKind`.
    message : str
        What happened, for people.
    """

    def __init__(self, kind: str = "error", message: str = "") -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        self.message = message


def finite_number(value: Any, what: str, error: type[BayesTunerError], hint: str = "") -> float:
    """Return `value` as a float; raise `error` unless it is a finite number. A text is no number, even where it reads as one.

    Parameters
    ----------
    value : object
    what : str
        What it is, as the message's subject: ``"a reading"``.
    error : type
    hint : str
        Added to the message: what to do instead.
    """
    if hasattr(value, "__float__"):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = float(value)
            if math.isfinite(number):
                return number
    raise error(f"{what} must be a finite number, not {_short(value)}{hint}")


def whole_number(value: Any, what: str, least: int, error: type[BayesTunerError]) -> int:
    """Return `value` as an int; raise `error` unless it is a whole number of at least `least` (a bool is none)."""
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(value)
            if number >= least:
                return number
    raise error(f"{what} is a whole number of at least {least}, not {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number too large for a double"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
