"""What earlier studies measured: given to a `Tuner`, which may learn from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bayestuner.errors import InvalidSpace, InvalidTell
from bayestuner.goal import Goal
from bayestuner.search.strategy import as_outcome
from bayestuner.space import Space
from bayestuner.trial import Config, Measured, Outcome, Reading

MAX_TRIALS = 20  # configurations of a study that are learnt from, the last ones measured


class EarlierStudy:
    """An earlier study of the same or of a similar job: its space, what it measured, and its goal.

    Parameters
    ----------
    name : str
        Shown to people where the study was of use.
    space : Space
        May have other levels than the new study's, lack some of its knobs or have more; knobs are matched by name, levels by value.
    trials : iterable of (config, result)
        The result is a dict of metrics (numbers or `Reading`), an `Outcome`, or the kind of a failure (``"oom"``, ``"timeout"``,
        ``"error"``). Metrics are matched by name.
    goal : Goal, optional
        Its limits say what the study's bounded metrics are to be compared with; they are never used for the new study.

    Raises
    ------
    InvalidSpace
        What should be a space is none, or a configuration is not of its knobs and levels.
    InvalidTell
        A result can't be read.
    """

    def __init__(self, name: str, space: Space, trials: Iterable[tuple[Mapping[str, Any], Any]], goal: Goal | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidTell(f"an earlier study has a name to be shown by, not {name!r}")
        if not isinstance(space, Space):
            raise InvalidSpace(f"the earlier study {name!r} needs its Space, not {space!r}")
        if goal is not None and not isinstance(goal, Goal):
            raise InvalidTell(f"the goal of the earlier study {name!r} is a Goal or None, not {goal!r}")
        if isinstance(trials, (str, bytes, Mapping)) or not isinstance(trials, Iterable):
            raise InvalidTell(f"the trials of the earlier study {name!r} are a list of (config, result), not {trials!r}")
        self.name = name
        self.space = space
        self.goal = goal
        self.trials: tuple[tuple[Config, Outcome], ...] = tuple(self._trial(number, given) for number, given in enumerate(trials))

    def _trial(self, number: int, given: Any) -> tuple[Config, Outcome]:
        where = f"trial {number} of the earlier study {self.name!r}"
        if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or len(given) != 2 or not isinstance(given[0], Mapping):
            raise InvalidTell(f"{where} is a configuration and its result, ({{knob: value}}, {{metric: value}}), not {given!r}")
        config, result = given
        lacking = [knob.name for knob in self.space.knobs if knob.name not in config]
        if lacking or len(config) != len(self.space.knobs):
            raise InvalidSpace(f"{where} sets {', '.join(map(str, config))}; its space has the knobs {', '.join(self.space.names)}")
        values = {knob.name: knob.values[knob.code(config[knob.name])] for knob in self.space.knobs}
        return values, as_outcome(result, f"the result of {where}")

    def measured(self) -> list[tuple[Config, Mapping[str, Reading]]]:
        """Configuration and readings of the runs that ended well, in order."""
        return [(config, outcome.metrics) for config, outcome in self.trials if isinstance(outcome, Measured)]

    def latest(self, count: int = MAX_TRIALS) -> list[tuple[Config, Mapping[str, Reading]]]:
        """The measured runs of the `count` configurations measured last, in order: what a search learns from."""
        measured = self.measured()
        last = list(dict.fromkeys(tuple(config.values()) for config, _ in reversed(measured)))[:count]
        return [(config, metrics) for config, metrics in measured if tuple(config.values()) in last]

    def limit_of(self, metric: str) -> float | None:
        """The study's own limit of a metric; None where it had none, or one in per cent of a reference that is not known here."""
        bounds = () if self.goal is None else self.goal.bounds
        return next((bound.limit for bound in bounds if bound.metric == metric and not bound.relative), None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.space!r}, {len(self.trials)} trials)"
