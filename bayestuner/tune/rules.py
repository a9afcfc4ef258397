"""Why a search ends before its budget, and what of it is stored, so that a later call keeps to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayestuner.measure.job.job import Job
from bayestuner.search.engine.stopping import ExpectedImprovement, RegretBound, StoppingRule, WallClock
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Failed

HOPELESS_RUNS = 3


@dataclass(frozen=True, slots=True)
class HopelessRule:
    """Stop where the first runs all failed for another reason than memory: the job itself is broken."""

    runs: int = HOPELESS_RUNS

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        told = [r.trial.outcome for r in records if r.trial.outcome is not None and costs_budget(r)]
        broken = [o for o in told if isinstance(o, Failed) and o.kind in ("error", "timeout")]
        if len(broken) < self.runs or len(broken) < len(told):
            return None
        return f"all of the first {len(broken)} runs failed, the last with: {broken[-1].message or broken[-1].kind}"


@dataclass(frozen=True, slots=True)
class DecidedRule:
    """Keep to what an earlier call decided; what was measured since then, the repeats, must not open the search again."""

    why: str

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        return self.why


def rules_of(job: Job) -> dict[str, StoppingRule]:
    """The rules that `measure.stop` of a job file asks for, by its conditions' text. A time limit begins now."""
    makers = {"expected_improvement": ExpectedImprovement, "regret": RegretBound, "time": WallClock}
    return {str(condition): makers[condition.quantity](condition.limit) for condition in job.measure.stop}


def stored_decision(study: Study, job: Job) -> dict[str, Any] | None:
    """What is stored of an earlier call that ended the search by a rule of the job file, where the rule still stands there; else None."""
    result = study.info.result or {}
    if result.get("stopped_by") not in [str(condition) for condition in job.measure.stop]:
        return None
    return {"complete": False, "stop_reason": result["stop_reason"], "stopped_by": result["stopped_by"]}


def is_complete(study: Study, job: Job) -> bool:
    """True where an earlier call came to its end and no further run is to be made."""
    result = study.info.result
    if not result or not result.get("complete"):
        return False
    stopped = study.stop_reason((HopelessRule(),)) is not None or study.resolved_goal is None or stored_decision(study, job) is not None
    return stopped and not any(r.orphaned and r.role in ("baseline", "search") for r in study.records())
