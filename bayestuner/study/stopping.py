"""When a study ends: rules that look at what was run so far and say why to stop, or nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bayestuner.study.store import Record
from bayestuner.trial import Failed


class StoppingRule(Protocol):
    """Looks at a study's trials; returns the reason to stop, or None."""

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why no further run is to be started, or None."""


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


@dataclass(frozen=True, slots=True)
class WallClock:
    """Stop starting runs `limit_s` seconds after this rule was made."""

    limit_s: float
    started: float = field(default_factory=time.monotonic)

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        return f"the time limit of {self.limit_s:g} s is reached" if time.monotonic() - self.started >= self.limit_s else None
