"""The runs of a study, one after another: each made, stored and told to whoever shows progress."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bayestuner.errors import InvalidTell
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.job import Job
from bayestuner.measure.runner import Runner, RunRecord
from bayestuner.study.stopping import costs_budget
from bayestuner.study.store import Record, Role
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Trial
from bayestuner.tune.news import Progress, RunNews


class Launcher:
    """Makes the runs of one call of `tune`.

    Parameters
    ----------
    job : Job
    study : Study
    runner : Runner
    progress : Progress
    """

    def __init__(self, job: Job, study: Study, runner: Runner, progress: Progress) -> None:
        self.job = job
        self.study = study
        self.runner = runner
        self.progress = progress
        self._told_notices = 0

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
        try:
            record = self.runner.run(trial.config)
        except GroupFault as error:  # the machine's fault, not the configuration's
            record = RunRecord(Failed("transient", str(error)), {})
        details = {"duration_s": time.monotonic() - started, **record.details}
        try:
            told = self.study.tell(trial, record.outcome, details)
        except InvalidTell as error:
            told = self.study.tell(trial, Failed("error", str(error)), details)
        self.pass_on_notices()
        records = self.study.records()
        self.progress.run_finished(
            RunNews(trial.number, k, n, role, trial.config, self._best(records), self._seconds_left(records), told.outcome, details)
        )

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
