"""The rounds in which the final launches of a study were made: one launch of each configuration, close to each other in time."""

from __future__ import annotations

from collections.abc import Sequence

from bayestuner.study.race import Round
from bayestuner.study.store import Record
from bayestuner.trial import Failed, Measured

DETAIL = "round"
"""Name of the detail of a final launch that numbers its round."""

_EARLIER_SIZE = 2


def rounds_of(records: Sequence[Record]) -> dict[int, Round]:
    """Number of each round -> its launches, with the metrics of those that were measured.

    Launches that the machine made fail are left out. Studies of earlier versions have no numbers of rounds; they launched one candidate
    and the default in alternation.
    """
    rounds: dict[int, dict[int, dict[str, float] | None]] = {}
    for record in records:
        trial = record.trial
        if record.role != "repeat" or trial.outcome is None or _is_transient(trial.outcome):
            continue
        number = record.details.get(DETAIL)
        if number is None:
            number = max(rounds, default=0)
            number += trial.row in rounds.get(number, {}) or len(rounds.get(number, {})) == _EARLIER_SIZE
        rounds.setdefault(int(number), {})[trial.row] = dict(trial.metrics) if isinstance(trial.outcome, Measured) else None
    return dict(rounds)


def _is_transient(outcome: object) -> bool:
    return isinstance(outcome, Failed) and outcome.kind == "transient"
