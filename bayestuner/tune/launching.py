"""The runs of a study, one after another: each made, stored and told to whoever shows progress."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bayestuner.errors import InvalidTell
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.measure.run.judging import DISTURBED
from bayestuner.measure.run.runner import Runner, RunRecord
from bayestuner.study.codec import outcome_to_json
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record, Role
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed, Measured, Trial
from bayestuner.tune.news import Progress, RunNews

VAIN_RETRIES = 2
"""After so many retries in a row that were disturbed as well, runs are made once until one is undisturbed."""


class Launcher:
    """Makes the runs of one call of `tune`.

    Parameters
    ----------
    job : Job
    study : Study
    runner : Runner
    progress : Progress
    cooldown : Cooldown
    """

    def __init__(self, job: Job, study: Study, runner: Runner, progress: Progress, cooldown: Cooldown) -> None:
        self.job = job
        self.study = study
        self.runner = runner
        self.progress = progress
        self.cooldown = cooldown
        self._told_notices = 0
        self._vain_retries = 0

    def run(self, trial: Trial, role: Role, k_of_n: tuple[int, int] | None = None) -> None:
        """Make one run, store its outcome, tell of it.

        Parameters
        ----------
        k_of_n : (int, int), optional
            Run k of n in its phase; by default of the budget.
        """
        records = self.study.records()
        k, n = k_of_n or (sum(costs_budget(r) and r.trial.number <= trial.number for r in records), self.study.info.budget)
        news = RunNews(trial.number, k, n, role, trial.config, self._best(records), self._seconds_left(records))
        self.progress.run_started(news)
        started = time.monotonic()
        name = f"{'repeat' if role == 'repeat' else 'run'} {k} of {n}"
        record = self._undisturbed(trial.config, self._at_least() if role == "search" else None, name)
        details = {**record.details, "duration_s": time.monotonic() - started}
        try:
            told = self.study.tell(trial, record.outcome, details)
        except InvalidTell as error:
            told = self.study.tell(trial, Failed("error", str(error)), details)
        self.pass_on_notices()
        records = self.study.records()
        self.progress.run_finished(
            RunNews(trial.number, k, n, role, trial.config, self._best(records), self._seconds_left(records), told.outcome, details)
        )

    def _at_least(self) -> float | None:
        """The goal's lower bound on the throughput."""
        goal = self.study.resolved_goal
        bounds = () if goal is None else goal.bounds
        return max((b.limit for b in bounds if b.metric == "throughput" and b.sense == ">=" and not b.relative), default=None)

    # -- attempts -----------------------------------------------------------------------------------------------------

    def _undisturbed(self, config: Config, at_least: float | None, name: str) -> RunRecord:
        """One run, or where it was disturbed from outside the better of a few; the details keep every one."""
        best = self._attempt(config, at_least)
        others: list[dict[str, Any]] = []
        while _disturbances(best) and len(others) < self.job.measure.retries and self._vain_retries < VAIN_RETRIES:
            self.progress.note(f"{name} was disturbed ({', '.join(_disturbances(best))}): it is made once more, both are kept")
            best, other = _better(self._attempt(config, at_least), best)
            others.append({"outcome": outcome_to_json(other.outcome), "details": other.details})
        if not _disturbances(best):
            self._vain_retries = 0
        elif others:
            self._vain_retries += 1
            if self._vain_retries == VAIN_RETRIES:
                self.progress.note("this machine is busy all the time: disturbed runs are not made again until one is undisturbed")
        return RunRecord(best.outcome, {**best.details, "other_attempts": others})

    def _attempt(self, config: Config, at_least: float | None) -> RunRecord:
        cooled = self.cooldown.wait()
        try:
            record = self.runner.run(config, at_least=at_least)
        except GroupFault as error:  # the machine's fault, not the configuration's
            record = RunRecord(Failed("transient", str(error)), {})
        return RunRecord(record.outcome, {**record.details, "cooldown_s": None if cooled is None else cooled.waited_s})

    # -- the state of the search --------------------------------------------------------------------------------------

    def _best(self, records: Sequence[Record]) -> Trial | None:
        goal = self.study.resolved_goal
        best: Trial | None = None
        for record in records:
            values = self.study.values_of(record.trial)
            if goal is None or not values or not goal.feasible(values):
                continue
            if best is None or goal.better(values, self.study.values_of(best)):
                best = record.trial
        return best

    def _seconds_left(self, records: Sequence[Record]) -> float | None:
        took = [float(r.details["duration_s"]) for r in records if r.details.get("duration_s") is not None]
        if not took:
            return None
        searching = max(self.study.info.budget - sum(costs_budget(r) and r.tell_seq is not None for r in records), 0)
        repeating = max(2 * self.job.measure.repeats - sum(r.role == "repeat" for r in records), 0)
        return (searching + repeating) * sum(took) / len(took)

    def pass_on_notices(self) -> None:
        """Tell what the study has noticed since the last time."""
        for text in self.study.notices[self._told_notices :]:
            self.progress.note(text)
        self._told_notices = len(self.study.notices)


def _disturbances(record: RunRecord) -> list[str]:
    """What from outside the job makes a run doubtful."""
    return [flag for flag in record.outcome.flags if flag in DISTURBED] if isinstance(record.outcome, Measured) else []


def _better(second: RunRecord, first: RunRecord) -> tuple[RunRecord, RunRecord]:
    """The less disturbed of two runs of one configuration, then the other; a run that failed says more than one that was disturbed."""
    if isinstance(second.outcome, Failed):
        return (first, second) if second.outcome.kind == "transient" else (second, first)
    return (second, first) if _unrest(second) <= _unrest(first) else (first, second)


def _unrest(record: RunRecord) -> tuple[int, float]:
    return len(_disturbances(record)), float(record.details.get("outside_share") or 0.0)
