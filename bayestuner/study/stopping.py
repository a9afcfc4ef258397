"""When a study ends: rules that look at its records, beside those of `bayestuner.search.engine.stopping`, which look at its strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bayestuner.search.engine.stopping import StoppingRule
from bayestuner.study.store import Record
from bayestuner.trial import Failed


class RecordRule(Protocol):
    """Looks at what was run; returns the reason to stop, or None."""

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why no further run is to be started, or None."""


Rule = RecordRule | StoppingRule


def costs_budget(record: Record) -> bool:
    """True for the runs that count: the baseline and the search's, running ones included; not repeats, not transient failures."""
    outcome = record.trial.outcome
    return record.role != "repeat" and not (isinstance(outcome, Failed) and outcome.kind == "transient")


@dataclass(frozen=True, slots=True)
class Budget:
    """Stop after `runs` runs in all, those of earlier sessions included."""

    runs: int

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        return f"the budget of {self.runs} runs is used" if sum(map(costs_budget, records)) >= self.runs else None
