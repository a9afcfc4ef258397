"""One call of `tune` on an open study: the default configuration is run, then the search, then the repeats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bayestuner.errors import InvalidGoal
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.placement import configuration_variables, cpus_of
from bayestuner.measure.run.runner import Runner
from bayestuner.search.engine import warmup
from bayestuner.search.engine.stopping import StoppingRule, WallClock
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategy import check_goal
from bayestuner.study.registry import strategy_class
from bayestuner.study.stopping import Rule, costs_budget
from bayestuner.study.study import Study
from bayestuner.trial import Config, Failed, Measured
from bayestuner.tune.confirming import RACE_KEYS, Confirmation, Confirmed
from bayestuner.tune.drift_monitor import DriftMonitor
from bayestuner.tune.programs import changed_within
from bayestuner.tune.progress import Progress
from bayestuner.tune.rules import DecidedRule, HopelessRule, stored_decision
from bayestuner.tune.trial_runner import TrialRunner

_POLL_S = 0.5
_COMPILE_IN_SILENCE_S = 2.0


class TuningSession:
    """What one call of `tune` does with an open study."""

    def __init__(
        self,
        job: Job,
        study: Study,
        runner: Runner,
        progress: Progress,
        job_rules: Mapping[str, StoppingRule],
        rules: Sequence[Rule],
    ) -> None:
        self.job = job
        self.study = study
        self.progress = progress
        self.job_rules = job_rules
        decision = stored_decision(study, job)
        decided = [] if decision is None else [DecidedRule(decision["stop_reason"])]
        self.rules: tuple[Rule, ...] = (HopelessRule(), *decided, *job_rules.values(), *rules)
        self.trial_runner = TrialRunner(job, study, runner, progress, Cooldown(job.measure.cooldown_seconds))
        self.drift_monitor = DriftMonitor(job, study, runner.meter, progress)

    def run(self) -> None:
        """Run baseline, search and repeats, then store the result."""
        stored = self.study.info.result or {}
        self.study.set_result({**(stored_decision(self.study, self.job) or {}), **{k: stored[k] for k in RACE_KEYS if k in stored}} or None)
        self.drift_monitor.measure_idle()
        self._baseline()
        stop_reason = self._search() if self.study.resolved_goal is not None else self._why_no_goal()
        confirmed = Confirmation(self.trial_runner, stored).run()
        self.drift_monitor.measure_idle()
        confirmed.notes += self.drift_monitor.report("repeat")
        confirmed.notes += [
            f"{path} was changed while the study was made: runs from before and after may not be comparable"
            for path in changed_within(self.study.provenance())
        ]
        kept = {**(self.study.info.result or {}), "complete": True, "stop_reason": stop_reason}
        self.study.set_result({**kept, **result_of(self.job, confirmed)})

    def _baseline(self) -> None:
        while True:
            record = self.study.baseline()
            if record is None or record.orphaned:
                if self.study.stop_reason(()) is not None and record is None:
                    return
                trial = self.study.adopt(self.job.all_max_config(), "baseline")
                self.trial_runner.run(trial, "baseline")
            elif record.running and self.study.resolved_goal is None:
                time.sleep(_POLL_S)  # another process measures what the goal refers to
            else:
                return

    def _search(self) -> str | None:
        while True:
            self._measure_reference_if_due()
            trial = self.study.ask(self.rules)
            self.trial_runner.pass_on_notices()
            if trial is None:
                reason = self.study.stop_reason(self.rules)
                if reason is not None:
                    self._note_early_end(reason)
                return reason
            self.trial_runner.run(trial, "search")

    def _measure_reference_if_due(self) -> None:
        if self.drift_monitor.reference_is_due() and self.study.stop_reason(self.rules) is None:
            self.drift_monitor.measure_idle()
            self.trial_runner.run(self.study.adopt(self.job.all_max_config(), "reference"), "reference")
            self.drift_monitor.report("reference")

    def _note_early_end(self, reason: str) -> None:
        """Report that a rule ended the search.

        Where the job file has the rule and it goes by the model, it is stored: later calls keep to it.
        """
        if self.study.stop_reason(()) is not None:
            return
        n_runs = sum(map(costs_budget, self.study.records()))
        self.progress.note(f"the search ends after {n_runs} of {self.study.info.budget} runs: {reason}")
        for text, rule in self.job_rules.items():
            if not isinstance(rule, WallClock) and self.study.stop_reason((rule,)) == reason:
                self.study.set_result({"complete": False, "stop_reason": reason, "stopped_by": text})
                return

    def _why_no_goal(self) -> str:
        record = self.study.baseline()
        outcome = None if record is None else record.trial.outcome
        if record is not None and isinstance(outcome, Measured):
            try:
                check_goal(self.study.goal.resolve(self.study.values_of(record.trial)), self.study.space)
            except InvalidGoal as error:
                return str(error)
        said = f"{outcome.kind}: {outcome.message}" if isinstance(outcome, Failed) else "it could not be run"
        return (
            f"the goal '{self.study.goal}' refers to the all-max configuration, but that one failed ({said}); "
            "make it run, or give the bound as a number instead of a percentage"
        )


def compile_engine(strategy: str, progress: Progress) -> None:
    """Compile the engine before anything is measured: compiling during a run would take CPU time from it and spoil its figures."""
    if not issubclass(strategy_class(strategy), Tuner):
        return
    thread = warmup.start()
    thread.join(_COMPILE_IN_SILENCE_S)
    if thread.is_alive():
        progress.note("waiting for the engine, so that it does not disturb the runs (it is compiled once per version, in about 15 s)")
        thread.join()


def result_of(job: Job, confirmed: Confirmed) -> dict[str, Any]:
    """What is stored of the final launches: what they came to, and how the job is run in the recommended configuration."""
    result = asdict(confirmed)
    if confirmed.recommended is not None:
        result["command"] = list(job.argv(confirmed.recommended))
        result["env"] = _environment(job, confirmed.recommended)
        result["user"] = job.user
    return result


def _environment(job: Job, config: Config) -> dict[str, str]:
    """The variables that tell a run of `config` its configuration, and those of the job file."""
    n_cores = len(cpus_of(job, config, read_topology(policy=job.measure.core_policy)))
    return configuration_variables(job, config, n_cores, job.memory_bytes_of(config))
