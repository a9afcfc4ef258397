"""Reasons to end a search before its budget is used, and which of them are stored so that a later call keeps to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bayestuner.errors import MachineBusy
from bayestuner.measure.job.job import Job
from bayestuner.search.engine.stopping import ExpectedImprovement, RegretBound, StoppingRule, WallClock
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Failed

HOPELESS_RUNS = 3


@dataclass(frozen=True, slots=True)
class HopelessRule:
    """Stop where the first runs have all failed, and not for lack of memory: then the job itself is broken."""

    runs: int = HOPELESS_RUNS

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        outcomes = [r.trial.outcome for r in records if r.trial.outcome is not None and costs_budget(r)]
        broken = [o for o in outcomes if isinstance(o, Failed) and o.kind in ("error", "timeout")]
        if len(broken) < self.runs or len(broken) < len(outcomes):
            return None
        return f"all of the first {len(broken)} runs failed, the last with: {broken[-1].message or broken[-1].kind}"


class BusyGuard:
    """Ends a call whose first runs were all made while other programs used most of the machine: its figures would say little.

    Parameters
    ----------
    max_outside_load : float
        Share of the machine's CPU time that others may use; with 1 nothing is ended, although clock ticks may add up to more.
    """

    def __init__(self, max_outside_load: float) -> None:
        self._limit = max_outside_load
        self._loads: list[float] = []
        self._done = max_outside_load >= 1

    def check(self, details: Mapping[str, Any]) -> None:
        """Take a run's details; raises `MachineBusy` after the last of the first runs where all were made on a busy machine."""
        load = details.get("outside_share")
        if self._done or load is None or load <= self._limit:
            self._done = True
            return
        self._loads.append(float(load))
        if len(self._loads) == HOPELESS_RUNS:
            low, high = (min(round(100 * load), 100) for load in (min(self._loads), max(self._loads)))
            raise MachineBusy(
                f"other programs used {low} to {high} % of this machine's CPU time during each of the first {HOPELESS_RUNS} runs, so that "
                "their figures say little: stop those programs, or start again at a quiet time (what was measured is kept); "
                "measure.max_outside_load in the job file says how much is too much"
            )


@dataclass(frozen=True, slots=True)
class DecidedRule:
    """Keep to an earlier call's decision to end the search: the repeats that were measured since then must not open it again."""

    why: str

    def reason(self, records: Sequence[Record]) -> str | None:
        """Why to stop."""
        return self.why


def rules_of(job: Job) -> dict[str, StoppingRule]:
    """The stopping rules that `measure.stop` of a job file asks for, by the text of its conditions. A time limit counts from this call."""
    makers = {"expected_improvement": ExpectedImprovement, "regret": RegretBound, "time": WallClock}
    return {str(condition): makers[condition.quantity](condition.limit) for condition in job.measure.stop}


def stored_decision(study: Study, job: Job) -> dict[str, Any] | None:
    """What an earlier call stored when a rule of the job file ended its search; None where none did, or the rule is no longer there."""
    result = study.info.result or {}
    if "stop_reason" not in result or result.get("stopped_by") not in [str(condition) for condition in job.measure.stop]:
        return None
    return {"complete": False, "stop_reason": result["stop_reason"], "stopped_by": result["stopped_by"]}


def is_complete(study: Study, job: Job, budget: int) -> bool:
    """True where an earlier call of `tune` was completed and no further run is to be made with this budget."""
    result = study.info.result
    if not result or not result.get("complete"):
        return False
    stopped = (
        study.stop_reason((HopelessRule(),), budget=budget) is not None
        or study.resolved_goal is None
        or stored_decision(study, job) is not None
    )
    return stopped and not any(r.orphaned and r.role in ("baseline", "search") for r in study.records())


def nothing_was_run(study: Study) -> str:
    """What to say of a study that was finished by an earlier call: when, and how to go on."""
    records = study.records()
    latest = max((r.told_utc for r in records if r.told_utc is not None), default=study.info.created_utc)
    when = datetime.fromisoformat(latest).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    reason = str((study.info.result or {}).get("stop_reason") or "")
    if reason.startswith("the budget"):
        how = "to go on with it give a larger budget (--budget, or measure.budget in the job file); "
    elif (study.info.result or {}).get("stopped_by"):
        how = "to go on with it take the condition out of measure.stop in the job file; "
    else:
        how = ""
    ended = f" ({reason})" if 0 < len(reason) < 100 else ""
    return (
        f"nothing was run: the study in {study.folder} was finished at {when}{ended}; {how}to search anew name another folder with --study"
    )
