"""`tune`: run a job's configurations and keep what comes of them; the one room that knows both a study and a runner."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayestuner.errors import InvalidTell, MeterUnavailable, NoRecommendation, StoreError
from bayestuner.goal import Goal
from bayestuner.measure.cgroup.isolation import GroupFault, Isolation, Refusal
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job import Job
from bayestuner.measure.placement import environment
from bayestuner.measure.runner import Runner, RunRecord
from bayestuner.search import warmup
from bayestuner.search.stopping import ExpectedImprovement, RegretBound, StoppingRule, WallClock
from bayestuner.study.codec import goal_to_json, space_to_json
from bayestuner.study.provenance import machine_facts
from bayestuner.study.stopping import Rule, costs_budget
from bayestuner.study.store import Record, Role
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary, judging_goal, ranked_rows, side_of, summarise
from bayestuner.trial import Config, Failed, Measured, Outcome, Trial

MAX_CANDIDATES = 3
HOPELESS_RUNS = 3
_POLL_S = 0.5
_SOON_S = 2.0
_SURE_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class RunNews:
    """A run that starts or has finished, for whoever shows progress.

    Attributes
    ----------
    number : int
        The trial's number.
    k, n : int
        Run k of n in its phase.
    role : str
        ``baseline``, ``search`` or ``repeat``.
    config : dict
    best : Trial or None
        The best feasible trial so far.
    seconds_left : float or None
        Estimated for everything that is still to run.
    outcome : Outcome or None
        None while it runs.
    details : dict
        What the runner reported.
    """

    number: int
    k: int
    n: int
    role: Role
    config: Config
    best: Trial | None
    seconds_left: float | None
    outcome: Outcome | None = None
    details: Mapping[str, Any] | None = None


class Progress:
    """What `tune` tells while it works; this one says nothing. Override what you show."""

    def began(self, study: Study, job: Job, *, resumed: bool, meter: EnergyMeter | None, isolation: Isolation | None) -> None:
        """The study is open and the machine ready."""

    def run_started(self, news: RunNews) -> None:
        """A run starts."""

    def run_finished(self, news: RunNews) -> None:
        """A run has finished and its outcome is on disk."""

    def note(self, text: str) -> None:
        """Something a user should know."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What `tune` came to: the study's summary and where the study is."""

    study_path: Path
    summary: Summary

    @property
    def found(self) -> bool:
        """True where a configuration that meets the goal was found."""
        return self.summary.recommended is not None


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


def tune(
    job: Job,
    *,
    study_path: str | Path,
    progress: Progress | None = None,
    budget: int | None = None,
    seed: int | None = None,
    strategy: str | None = None,
    rules: Sequence[Rule] = (),
    allow_affinity: bool = False,
) -> TuneResult:
    """Find the configuration of `job` that meets its goal best; go on where an earlier call was stopped.

    The default (all-max) configuration runs first, then the search up to the budget, then launches of the recommended and the default
    configuration in alternation.

    Parameters
    ----------
    job : Job
    study_path : path
        The study's folder; made where there is none.
    progress : Progress, optional
    budget : int, optional
        Runs in all, the default configuration's included; by default the job file's, or the study's own on a resume.
    seed, strategy : optional
        By default the job file's seed and ``"bayes"``; a resume refuses other ones than the study's.
    rules : sequence of Rule
        Reasons to stop the search beside those of the job file.
    allow_affinity : bool
        Go on with core binding alone where no cgroup can be made, as ``isolation = "affinity-allowed"`` does.

    Raises
    ------
    MeterUnavailable, IsolationUnavailable
        Where the machine lacks what the job file asks for.
    StoreError
        Where the study can't be used or was made for another job.
    """
    progress = progress or Progress()
    path = Path(study_path)
    job_rules = rules_of(job)
    resumed = Study.exists(path)
    with ExitStack() as stack:
        if resumed:
            study = stack.enter_context(Study.open(path))
            _check_same(study, job, seed, strategy)
            if budget is not None:
                study.set_budget(budget)
            if _is_complete(study, job):
                for text in study.notices:
                    progress.note(text)
                return TuneResult(path, summarise(study))
        isolation, meter, facts = _open_machine(job, allow_affinity, progress)
        if meter is not None:
            stack.callback(meter.close)
        if resumed:
            study.add_provenance(facts)
        else:
            study = stack.enter_context(_create(path, job, facts, budget, seed, strategy))
        progress.began(study, job, resumed=resumed, meter=meter, isolation=isolation)
        runner = stack.enter_context(Runner(job, meter=meter, isolation=isolation))
        _Session(job, study, runner, progress, job_rules, rules).run()
        return TuneResult(path, summarise(study))


class _Session:
    """One call of `tune` on an open study."""

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
        self.runner = runner
        self.progress = progress
        self.job_rules = job_rules
        decision = _decision(study, job)
        decided = [] if decision is None else [DecidedRule(decision["stop_reason"])]
        self.rules: tuple[Rule, ...] = (HopelessRule(), *decided, *job_rules.values(), *rules)
        self._told_notices = 0

    def run(self) -> None:
        """Baseline, search, repeats; then store what it came to."""
        self.study.set_result(_decision(self.study, self.job))
        self._compile()
        self._baseline()
        stop_reason = self._search() if self.study.resolved_goal is not None else self._why_no_goal()
        recommended, rejected, notes = self._confirm()
        result: dict[str, Any] = {**(self.study.info.result or {}), "complete": True, "stop_reason": stop_reason}
        result |= {"rejected": rejected, "notes": notes, "recommended": None}
        if recommended is not None:
            result |= {"recommended": recommended, "command": list(self.job.argv(recommended)), "env": _environment(self.job, recommended)}
        self.study.set_result(result)

    # -- phases -------------------------------------------------------------------------------------------------------

    def _compile(self) -> None:
        """Have the engine ready before anything is measured: compiling beside a run would take its cores and spoil its figures."""
        if self.study.info.strategy != "bayes":
            return
        thread = warmup.start()
        thread.join(_SOON_S)
        if thread.is_alive():
            self.progress.note("compiling the engine first, once per version, so that it does not disturb the runs (about 15 s)")
            thread.join()

    def _baseline(self) -> None:
        while True:
            record = self.study.baseline()
            if record is None or record.orphaned:
                if self.study.stop_reason(()) is not None and record is None:
                    return
                trial = self.study.adopt(self.job.all_max_config(), "baseline")
                self._run(trial, "baseline")
            elif record.running and self.study.resolved_goal is None:
                time.sleep(_POLL_S)  # another process measures what the goal refers to
            else:
                return

    def _search(self) -> str | None:
        while True:
            trial = self.study.ask(self.rules)
            self._pass_on_notices()
            if trial is None:
                reason = self.study.stop_reason(self.rules)
                if reason is not None:
                    self._note_early_end(reason)
                return reason
            self._run(trial, "search")

    def _note_early_end(self, reason: str) -> None:
        """Say that a rule ended the search; one of the job file that goes by the model is kept to by later calls."""
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
        said = f"{outcome.kind}: {outcome.message}" if isinstance(outcome, Failed) else "it could not be run"
        return (
            f"the goal '{self.study.goal}' refers to the all-max configuration, but that one failed ({said}); "
            "make it run, or give the bound as a number instead of a percentage"
        )

    def _confirm(self) -> tuple[Config | None, list[Config], list[str]]:
        """Launch the recommended and the default configuration in alternation until one candidate holds its bounds."""
        rejected: list[int] = []
        notes: list[str] = []
        goal = self.study.resolved_goal
        if goal is None:
            return None, [], notes
        configs = self.study.space.config
        for attempt in range(MAX_CANDIDATES):
            row = self._candidate(goal, rejected)
            if row is None:
                break
            self._repeat(row, attempt)
            records = self.study.records()
            side = side_of(self.study, records, row, judging_goal(self.study, records))
            if side.meets_goal:
                return configs(row), [configs(r) for r in rejected], notes
            rejected.append(row)
            notes.append(f"{_config_text(configs(row))} was promising in the search but did not hold the goal in the repeats")
            self.progress.note(notes[-1])
        return None, [configs(r) for r in rejected], notes

    def _candidate(self, goal: Goal, rejected: Sequence[int]) -> int | None:
        records = self.study.records()
        feasible = [row for row in ranked_rows(self.study, records, goal) if row not in rejected]
        try:
            advice = self.study.recommend()
        except NoRecommendation:
            return None
        if advice.row not in rejected and (advice.row in feasible or advice.p_feasible >= _SURE_ENOUGH):
            return advice.row
        return feasible[0] if feasible else None

    def _repeat(self, row: int, attempt: int) -> None:
        repeats = self.job.measure.repeats
        first = next((r for r in self.study.records() if r.role == "baseline"), None)
        against = first.trial.row if first is not None and isinstance(first.trial.outcome, Measured) and first.trial.row != row else None
        rows = [row] if against is None else [row, against]
        for k in range(repeats):
            for which in rows if k % 2 == 0 else reversed(rows):
                wanted = k + 1 + (attempt * repeats if which == against else 0)
                while self._launches(which) < wanted:
                    trial = self.study.adopt(self.study.space.config(which), "repeat")
                    done = sum(min(max(self._launches(r) - (attempt * repeats if r == against else 0), 0), repeats) for r in rows)
                    self._run(trial, "repeat", (done + 1, repeats * len(rows)))
                    if self._transients() >= HOPELESS_RUNS:
                        return

    def _launches(self, row: int) -> int:
        told = (r for r in self.study.records() if r.role == "repeat" and r.trial.row == row and r.trial.outcome is not None)
        return sum(not _is_transient(r.trial.outcome) for r in told)

    def _transients(self) -> int:
        return sum(_is_transient(r.trial.outcome) for r in self.study.records() if r.role == "repeat")

    # -- one run ------------------------------------------------------------------------------------------------------

    def _run(self, trial: Trial, role: Role, k_of_n: tuple[int, int] | None = None) -> None:
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
        self._pass_on_notices()
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

    def _pass_on_notices(self) -> None:
        for text in self.study.notices[self._told_notices :]:
            self.progress.note(text)
        self._told_notices = len(self.study.notices)


def _is_transient(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Failed) and outcome.kind == "transient"


def _decision(study: Study, job: Job) -> dict[str, Any] | None:
    """What is stored of an earlier call that ended the search by a rule of the job file, where the rule still stands there; else None."""
    result = study.info.result or {}
    if result.get("stopped_by") not in [str(condition) for condition in job.measure.stop]:
        return None
    return {"complete": False, "stop_reason": result["stop_reason"], "stopped_by": result["stopped_by"]}


def _is_complete(study: Study, job: Job) -> bool:
    """True where an earlier call came to its end and no further run is to be made."""
    result = study.info.result
    if not result or not result.get("complete"):
        return False
    stopped = study.stop_reason((HopelessRule(),)) is not None or study.resolved_goal is None or _decision(study, job) is not None
    return stopped and not any(r.orphaned and r.role != "repeat" for r in study.records())


# -- the machine ------------------------------------------------------------------------------------------------------


def _open_machine(job: Job, allow_affinity: bool, progress: Progress) -> tuple[Isolation, EnergyMeter | None, dict[str, Any]]:
    from bayestuner.measure.cgroup.select import open_isolation

    isolation, refused = open_isolation(job.needs, allow_affinity=allow_affinity or job.measure.allow_affinity)
    for name in isolation.sweep():
        progress.note(f"removed the group {name}, which an earlier BayesTuner left behind")
    unlimited = job.needs - isolation.controls
    if unlimited:
        progress.note(f"{' and '.join(sorted(unlimited))} can't be limited here: {isolation.name} is used as allowed")
    meter, meter_refusals = _open_meter(job)
    facts = {
        **machine_facts(),
        "isolation": isolation.name,
        "meter": None if meter is None else {"source": meter.source, "estimated": meter.estimated, "boundary": meter.boundary},
        "refusals": [{"what": r.what, "reason": r.reason, "remedy": r.remedy} for r in (*refused, *meter_refusals)],
    }
    return isolation, meter, facts


def _open_meter(job: Job) -> tuple[EnergyMeter | None, tuple[Refusal, ...]]:
    from bayestuner.measure.energy.select import open_meter

    try:
        return open_meter(job.measure.energy)
    except MeterUnavailable:
        if job.needs_power:
            raise
        return None, ()


# -- the study and the job file ---------------------------------------------------------------------------------------


def _create(path: Path, job: Job, facts: Mapping[str, Any], budget: int | None, seed: int | None, strategy: str | None) -> Study:
    return Study.create(
        path,
        job.space,
        job.goal,
        strategy or "bayes",
        job.measure.seed if seed is None else seed,
        job.measure.budget if budget is None else budget,
        facts,
        name=job.name,
        job=_job_facts(job),
    )


def _job_facts(job: Job) -> dict[str, Any]:
    return {
        "path": str(job.path),
        "text": job.text,
        "unit": job.unit,
        "command": list(job.command),
        "env": dict(job.env),
        "throughput_regex": job.throughput_regex,
        "ready_regex": job.ready_regex,
        "knobs": {k.name: k.kind for k in job.knobs},
        "all_max": job.all_max_config(),
        "measure": asdict(job.measure),
    }


def _check_same(study: Study, job: Job, seed: int | None, strategy: str | None) -> None:
    """Refuse to go on with another job than the study's: its results would not belong together."""
    info = study.info
    given = {"strategy": strategy, "seed": seed}
    for what, stored in (("strategy", info.strategy), ("seed", info.seed)):
        if given[what] is not None and given[what] != stored:
            raise StudyMismatch(
                f"the study in {study.folder} was begun with the {what} {stored}, not {given[what]}; name a new one with --study"
            )
    differences = [*_space_differences(study, job), *_other_differences(study, job)]
    if differences:
        raise StudyMismatch(
            f"the study in {study.folder} was begun for another job than {job.path.name} describes now ({'; '.join(differences)}): "
            "change the file back or name a new folder with --study"
        )


def _space_differences(study: Study, job: Job) -> list[str]:
    if space_to_json(study.space) == space_to_json(job.space):
        return []
    then, now = ({k.name: k for k in s.knobs} for s in (study.space, job.space))
    out = [
        f"knob {name} was {then[name].describe()} and is {now[name].describe()}" for name in then if name in now and then[name] != now[name]
    ]
    out += [f"knob {name} is gone" for name in then if name not in now]
    out += [f"knob {name} is new" for name in now if name not in then]
    return out or ["the knobs stand in another order"]


def _other_differences(study: Study, job: Job) -> list[str]:
    out = []
    if goal_to_json(study.goal) != goal_to_json(job.goal):
        out.append(f"the goal was '{study.goal}' and is '{job.goal}'")
    then, now = study.info.job or {}, _job_facts(job)
    for key in ("command", "env", "unit", "throughput_regex", "ready_regex"):
        if key in then and then[key] != now[key]:
            out.append(f"job.{key} was {then[key]!r} and is {now[key]!r}")
    return out


class StudyMismatch(StoreError):
    """A study was begun for another job, seed or strategy."""


def _environment(job: Job, config: Config) -> dict[str, str]:
    """The variables a run of `config` gets beyond those this process has."""
    n_cores = job.cores_of(config) or len(os.sched_getaffinity(0))
    given = environment(job, config, n_cores, job.memory_bytes_of(config), None)
    return {name: value for name, value in given.items() if os.environ.get(name) != value and name != "PYTHONUNBUFFERED"}


def _config_text(config: Config) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items())
