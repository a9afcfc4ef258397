"""Settings in force for one run: written down, set, read back, put back."""

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
    """A setting of the machine can't be made, or came out as something else: the machine's fault, as with a limit that can't be set."""


@dataclass(frozen=True, slots=True)
class OpenKnob:
    """A knob of a job that is a setting of the machine.

    Attributes
    ----------
    name, kind : str
    actuator : Actuator
    scale : float
        Units of the actuator in one of the knob's.
    platform : str
        Spec of the platform it comes from; empty for built-in ones.
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
    knob: OpenKnob
    target: str
    text: str


class Settings:
    """Settings of one configuration; `apply` puts them in force, `restore` puts back what was there before.

    Parameters
    ----------
    knobs : sequence of OpenKnob
    config : dict
    cpus : sequence of int
        The job's.
    folder : Path
        Where the journal goes.
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
        """Whether anything is still to be put back."""
        return bool(self._changed)

    @property
    def record(self) -> list[dict[str, Any]]:
        """What was asked, what came of it, and what it was before: JSON-able, one entry per target."""
        return self._record

    def apply(self) -> None:
        """Write the journal, then every setting, each read back.

        Raises
        ------
        KnobFault
            One can't be set or came out as something else. What was set before it stays set until `restore`.
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
        """Put back everything, the last change first; what can't be, in sentences. May be called twice."""
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
        """Write and read back; what it holds now."""
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
        except Exception:  # what it holds is no value at all
            agrees = False
        if not agrees:
            raise KnobFault(f"{wanted.knob.name}: {target} holds {got} after {text} was written; the machine allows no such value now")
        return got


class KnobSetter:
    """Puts the settings of configurations in force.

    Parameters
    ----------
    knobs : sequence of OpenKnob
        None of them: nothing is ever touched.
    folder : Path or None
        Where journals go; None only without knobs.
    """

    def __init__(self, knobs: Sequence[OpenKnob] = (), folder: Path | None = None) -> None:
        self.knobs = tuple(knobs)
        self._folder = folder
        self._made: list[Settings] = []

    def retry_restoring(self) -> None:
        """Try again to put back what could not be put back after a run; what was there before must not be lost to the next one."""
        self._made = [settings for settings in self._made if settings.in_force]
        for settings in reversed(self._made):
            settings.restore()

    def settings(self, config: Mapping[str, Any], cpus: Sequence[int]) -> Settings:
        """The settings of a configuration for a job on `cpus`; none of them is touched before their `apply`."""
        self.retry_restoring()
        self._made.append(Settings(self.knobs, config, cpus, self._folder))
        return self._made[-1]


def _locked_hint(error: Exception, target: str) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENODATA and target.endswith("_power_limit_uw"):
        return " (the driver's word for a limit that the firmware has locked)"
    return ""
