"""Running the trials of a study one after another: each is run, stored and reported."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bayestuner.codec import outcome_to_json
from bayestuner.errors import InvalidTell
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.measure.run.judging import DISTURBED
from bayestuner.measure.run.record import RunRecord
from bayestuner.measure.run.runner import Runner
from bayestuner.study.finals import rules_of_settings
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record, Role
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed, Measured, Outcome, Trial
from bayestuner.tune.progress import Progress, RunProgress
from bayestuner.tune.rules import BusyGuard

FUTILE_RETRIES = 2
"""After so many trials in a row whose retries were all disturbed too, trials are run only once, until one run is undisturbed."""


class TrialRunner:
    """Runs the trials of one call of `tune`.

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
        self._n_notices_passed_on = 0
        self._futile_retries = 0
        self._busy_guard = BusyGuard(job.measure.max_outside_load)

    def run(self, trial: Trial, role: Role, k_of_n: tuple[int, int] | None = None, facts: Mapping[str, Any] | None = None) -> Outcome:
        """Run a trial, store its outcome and report it; return the outcome as stored.

        Raises `MachineBusy` where others leave too little of this machine (`BusyGuard`).

        Parameters
        ----------
        k_of_n : (int, int), optional
            The run is number k of n in its phase; by default it is counted among all runs up to the end of the search, which are more than
            the budget where some did not count (see `costs_budget`).
        facts : dict, optional
            Stored beside what the runner reports.
        """
        records = self.study.records()
        k, n = k_of_n or (trial.number + 1, self.study.info.budget + sum(not costs_budget(r) for r in records))
        launched = k - 1 if role == "repeat" else None
        run = RunProgress(trial.number, k, n, role, trial.config, self._best(records), self._seconds_left(records, launched))
        self.progress.run_started(run)
        started = time.monotonic()
        record = self._least_disturbed(trial, self._min_throughput() if role == "search" else None)
        details = {**record.details, **(facts or {}), "duration_s": time.monotonic() - started}
        try:
            told = self.study.tell(trial, record.outcome, details)
        except InvalidTell as error:
            told = self.study.tell(trial, Failed("error", str(error)), details)
        self.pass_on_notices()
        records = self.study.records()
        left = self._seconds_left(records, None if launched is None else k)
        self.progress.run_finished(RunProgress(trial.number, k, n, role, trial.config, self._best(records), left, told.outcome, details))
        self._busy_guard.check(details)
        assert told.outcome is not None  # noqa: S101 - it was just told
        return told.outcome

    def _min_throughput(self) -> float | None:
        """The goal's lower bound on the throughput."""
        goal = self.study.resolved_goal
        bounds = () if goal is None else goal.bounds
        return max((b.limit for b in bounds if b.metric == "throughput" and b.sense == ">=" and not b.relative), default=None)

    # -- attempts -----------------------------------------------------------------------------------------------------

    def _least_disturbed(self, trial: Trial, min_throughput: float | None) -> RunRecord:
        """Run a trial, a few times over while it is disturbed from outside; the least disturbed run counts, and the details keep all."""
        best = self._attempt(trial.config, min_throughput)
        others: list[dict[str, Any]] = []
        while _disturbances(best) and len(others) < self.job.measure.retries and self._futile_retries < FUTILE_RETRIES:
            self.progress.note(
                f"run {trial.number + 1} was disturbed ({', '.join(_disturbances(best))}): it is made once more, both are kept"
            )
            best, other = _less_disturbed_first(self._attempt(trial.config, min_throughput), best)
            others.append({"outcome": outcome_to_json(other.outcome), "details": other.details})
        if not _disturbances(best):
            self._futile_retries = 0
        elif others:
            self._futile_retries += 1
            if self._futile_retries == FUTILE_RETRIES:
                self.progress.note(
                    "this machine is busy all the time: disturbed runs are not made again, until one is undisturbed; figures from a quiet "
                    "machine are better (after Ctrl-C the same command goes on then, with what was measured)"
                )
        return RunRecord(best.outcome, {**best.details, "other_attempts": others})

    def _attempt(self, config: Config, min_throughput: float | None) -> RunRecord:
        cooled = self.cooldown.wait()
        try:
            record = self.runner.run(config, min_throughput=min_throughput)
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

    def _seconds_left(self, records: Sequence[Record], launched: int | None) -> float | None:
        """What the runs to come take at most, each as long as those so far on average.

        `launched` final launches are made; None while the search goes on.
        """
        took = [float(r.details["duration_s"]) for r in records if r.details.get("duration_s") is not None]
        if not took:
            return None
        searching = (
            0 if launched is not None else max(self.study.info.budget - sum(costs_budget(r) and r.tell_seq is not None for r in records), 0)
        )
        launches = rules_of_settings(asdict(self.job.measure)).most if self.job.measure.repeats else 0
        return (searching + max(launches - (launched or 0), 0)) * sum(took) / len(took)

    def pass_on_notices(self) -> None:
        """Report what the study has noticed since the last call."""
        for text in self.study.notices[self._n_notices_passed_on :]:
            self.progress.note(text)
        self._n_notices_passed_on = len(self.study.notices)


def _disturbances(record: RunRecord) -> list[str]:
    """The flags of a run that say it was disturbed from outside the job."""
    return [flag for flag in record.outcome.flags if flag in DISTURBED] if isinstance(record.outcome, Measured) else []


def _less_disturbed_first(second: RunRecord, first: RunRecord) -> tuple[RunRecord, RunRecord]:
    """The less disturbed of two runs of one configuration, then the other; a run in which the job failed counts as the less disturbed."""
    if isinstance(second.outcome, Failed):
        return (first, second) if second.outcome.kind == "transient" else (second, first)
    return (second, first) if _disturbance(second) <= _disturbance(first) else (first, second)


def _disturbance(record: RunRecord) -> tuple[int, float]:
    return len(_disturbances(record)), float(record.details.get("outside_share") or 0.0)
