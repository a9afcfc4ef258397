"""The key `measure.stop` of a job file: conditions that end the search before its budget is spent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bayestuner.measure.job.keys import ReportMistake, suggestion

_CONDITION = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=?|>=?)\s*(\d+\.?\d*|\.\d+)\s*(%|[A-Za-z]*)\s*")
_EXAMPLES = {"expected_improvement": "expected_improvement < 10%", "regret": "regret < 1%", "time": "time > 2h"}
_LONGEST_S = 8760 * 3600.0
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class StopCondition:
    """One condition: ``time > limit``, or one of the other quantities ``< limit``.

    Attributes
    ----------
    quantity : {"expected_improvement", "regret", "time"}
    limit : float
        For time seconds, else a share of the best objective (0.1 for 10 %).
    """

    quantity: str
    limit: float

    def __str__(self) -> str:
        return f"time > {self.limit:g}s" if self.quantity == "time" else f"{self.quantity} < {100.0 * self.limit:g}%"


def build_stop(texts: Sequence[str], report: ReportMistake) -> tuple[StopCondition, ...]:
    """Make the conditions of the texts of `measure.stop`; a text that is wrong is reported and left out."""
    made: list[StopCondition] = []
    for index, text in enumerate(texts):
        condition = _parse(text)
        if isinstance(condition, str):
            report(f"measure.stop[{index}]", condition)
        elif condition.quantity in (c.quantity for c in made):
            report(f"measure.stop[{index}]", f"a second condition on {condition.quantity}; give one")
        else:
            made.append(condition)
    return tuple(made)


def _parse(text: str) -> StopCondition | str:
    """The condition, or what is wrong with the text."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        return f"can't read {text!r}: write it as {', '.join(map(repr, _EXAMPLES.values()))}"
    quantity, sense, number, unit = match.groups()
    if quantity not in _EXAMPLES:
        return f"can't stop by {quantity!r}" + suggestion(quantity, _EXAMPLES)
    example, limit = _EXAMPLES[quantity], float(number)
    if sense[0] not in example:
        return f"{text!r} would stop at once or never; write it as {example!r}"
    if quantity == "time":
        if unit not in _SECONDS:
            return f"{text!r} needs a unit of time, one of {', '.join(_SECONDS)}, as in {example!r}"
        seconds = limit * _SECONDS[unit]
        return (
            StopCondition(quantity, seconds) if 0.0 < seconds <= _LONGEST_S else "expected more than 0 seconds and at most a year (8760h)"
        )
    if unit != "%":
        return f"{text!r} needs a percentage of the best objective, as in {example!r}"
    return StopCondition(quantity, limit / 100.0) if 0.0 < limit < 100.0 else f"expected more than 0% and less than 100%, not {number}%"
