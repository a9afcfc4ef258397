"""The settings of the machine for one run: noted in the journal, set, read back, and put back after the run."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayestuner.measure.actuators.journal import Change, Journal, error_text
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.platform import Actuator


class KnobFault(GroupFault):
    """A setting of the machine can't be made, or came out as something else. The machine's fault, as a limit that can't be set is."""


@dataclass(frozen=True, slots=True)
class OpenKnob:
    """A knob of a job that is a setting of the machine, with the actuator that sets it.

    Attributes
    ----------
    name, kind : str
    actuator : Actuator
    scale : float
        How many of the actuator's units one unit of the knob is.
    platform : str
        Spec of the platform it is from; empty for a built-in kind.
    """

    name: str
    kind: str
    actuator: Actuator
    scale: float
    platform: str

    def in_actuator_unit(self, value: Any) -> Any:
        """A knob's value in the actuator's unit."""
        return value if isinstance(value, (str, bool)) or self.scale == 1 else value * self.scale


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A text that a target has to hold so that a knob's value is in force."""

    knob: OpenKnob
    target: str
    text: str


class Settings:
    """The settings of one configuration; `apply` makes them, `restore` puts back what was there before.

    Parameters
    ----------
    knobs : sequence of OpenKnob
    config : dict
        A value for every knob of the job.
    cpus : sequence of int
        The CPUs of the run.
    folder : Path or None
        Where the journal is written; None only without knobs.
    """

    def __init__(self, knobs: Sequence[OpenKnob], config: Mapping[str, Any], cpus: Sequence[int], folder: Path | None) -> None:
        self._wanted = [
            _Wanted(knob, target, text)
            for knob in knobs
            for target, text in knob.actuator.targets(knob.in_actuator_unit(config[knob.name]), cpus).items()
        ]
        self._journal = Journal(folder) if self._wanted and folder is not None else None
        self._changed: list[tuple[_Wanted, str]] = []
        self._record: list[dict[str, Any]] = []

    @property
    def in_force(self) -> bool:
        """Whether a setting has been changed and not been put back."""
        return bool(self._changed)

    @property
    def record(self) -> list[dict[str, Any]]:
        """For each target what was asked for, what it holds now and what it held before, as JSON-able data."""
        return self._record

    def apply(self) -> None:
        """Write the journal, then make every setting; each is read back.

        Raises
        ------
        KnobFault
            A setting can't be made or came out as something else. Those made before it stay until `restore`.
        """
        if self._journal is None:
            return
        before = [(wanted, self._read(wanted)) for wanted in self._wanted]
        changes = [Change(w.knob.kind, w.knob.platform, w.target, old, w.text) for w, old in before]
        try:
            self._journal.write(changes)
        except OSError as error:
            raise KnobFault(f"settings aren't changed, because the journal {error.filename} can't be written: {error.strerror}") from error
        for wanted, old in before:
            self._changed.append((wanted, old))
            got = self._set(wanted, wanted.text)
            self._record.append({"knob": wanted.knob.name, "target": wanted.target, "asked": wanted.text, "got": got, "before": old})

    def restore(self) -> list[str]:
        """Put back every setting, the last change first; return a sentence for each that can't be. May be called twice."""
        problems = []
        kept: list[tuple[_Wanted, str]] = []
        while self._changed:
            wanted, old = self._changed.pop()
            try:
                self._set(wanted, old)
            except KnobFault as error:
                problems.append(str(error))
                kept.append((wanted, old))
        self._changed = kept[::-1]
        if self._journal is not None and not problems:
            self._journal.clear()
        return problems

    def _read(self, wanted: _Wanted) -> str:
        try:
            return wanted.knob.actuator.read(wanted.target)
        except Exception as error:  # a platform's code may raise anything
            raise KnobFault(f"{wanted.knob.name}: {wanted.target} can't be read: {error_text(error)}") from error

    def _set(self, wanted: _Wanted, text: str) -> str:
        """Write a text to the target, read it back and return what was read."""
        actuator, target = wanted.knob.actuator, wanted.target
        try:
            actuator.write(target, text)
        except Exception as error:
            raise KnobFault(
                f"{wanted.knob.name}: {target} can't be set to {text}: {error_text(error)}{_locked_hint(error, target)}"
            ) from error
        got = self._read(wanted)
        try:
            agrees = actuator.agrees(target, text, got)
        except Exception:  # the target holds a text that is no value
            agrees = False
        if not agrees:
            raise KnobFault(f"{wanted.knob.name}: {target} holds {got} after {text} was written; the machine allows no such value now")
        return got


class KnobSetter:
    """Makes the settings of configurations, one configuration after the other.

    Parameters
    ----------
    knobs : sequence of OpenKnob
        The job's knobs that are settings of the machine; without any, nothing is ever touched.
    folder : Path or None
        Where journals are written; None only without knobs.
    """

    def __init__(self, knobs: Sequence[OpenKnob] = (), folder: Path | None = None) -> None:
        self.knobs = tuple(knobs)
        self._folder = folder
        self._made: list[Settings] = []

    def retry_restoring(self) -> None:
        """Try again to put back what could not be put back after earlier runs, so that the next run doesn't take it for the original."""
        self._made = [settings for settings in self._made if settings.in_force]
        for settings in reversed(self._made):
            settings.restore()

    def settings(self, config: Mapping[str, Any], cpus: Sequence[int]) -> Settings:
        """The settings of a configuration for a run on `cpus`; nothing is changed before their `apply`."""
        self.retry_restoring()
        self._made.append(Settings(self.knobs, config, cpus, self._folder))
        return self._made[-1]


def _locked_hint(error: Exception, target: str) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENODATA and target.endswith("_power_limit_uw"):
        return " (the driver's word for a limit that the firmware has locked)"
    return ""
