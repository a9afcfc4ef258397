"""Rules that end a study by its records; those of `bayestuner.search.engine.stopping` go by its strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bayestuner.search.engine.stopping import StoppingRule
from bayestuner.study.store import Record
from bayestuner.trial import Failed


class RecordRule(Protocol):
    """Decides by the trials that were run whether to stop."""

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why no further run is to be started, or None."""


Rule = RecordRule | StoppingRule


def costs_budget(record: Record) -> bool:
    """True for runs that count towards the budget: all but repeats and those that failed because of the machine; running ones count."""
    outcome = record.trial.outcome
    return record.role != "repeat" and not (isinstance(outcome, Failed) and outcome.kind == "transient")


@dataclass(frozen=True, slots=True)
class Budget:
    """Stop after `runs` runs in all, those of earlier calls included."""

    runs: int

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        return f"the budget of {self.runs} runs is used" if sum(map(costs_budget, records)) >= self.runs else None
