"""`tune`: from a job to the summary of its study, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from bayestuner.errors import StoreError
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.measure.run.placement import cpus_of
from bayestuner.measure.run.runner import Runner
from bayestuner.measure.run.warmup import warmup_s
from bayestuner.study.registry import check_strategy, check_suits
from bayestuner.study.stopping import Rule
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary, summarise
from bayestuner.tune.learning import earlier_studies
from bayestuner.tune.machine import open_machine
from bayestuner.tune.matching import (
    DEFAULT_STRATEGY,
    as_begun,
    changed_programs,
    check_same,
    check_same_meter,
    create_study,
    set_budget,
    wanted_budget,
)
from bayestuner.tune.programs import fingerprints
from bayestuner.tune.progress import Progress
from bayestuner.tune.rules import is_complete, nothing_was_run, rules_of
from bayestuner.tune.session import TuningSession, compile_engine
from bayestuner.tune.succession import place_of


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What `tune` returns: the study's folder and its summary."""

    study_path: Path
    summary: Summary

    @property
    def found(self) -> bool:
        """True where a configuration is recommended; `summary.decision` says whether it was shown to be better than the default."""
        return self.summary.recommended is not None


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
    wait: bool = False,
    learn_from: Sequence[str | Path] | None = None,
) -> TuneResult:
    """Find the configuration of `job` that meets its goal best; where an earlier call was stopped, go on from there.

    Where the study is finished and the job, its program, an input file or the machine has changed since then, a new study beside it
    (``NAME-2``) takes its place, and learns from it.

    The default (all-max) configuration is run first, then the search up to the budget; at the end candidates and the default
    configuration are launched in rounds, until one is shown to be better (`bayestuner.study.race`).

    Parameters
    ----------
    job : Job
    study_path : path
        The study's folder; it is made where it does not exist. `TuneResult.study_path` is the one worked in.
    progress : Progress, optional
    budget : int, optional
        Number of runs in all, that of the default configuration included; by default the job file's.
    seed, strategy : optional
        By default the job file's seed and ``"bayes"``. A study that exists keeps its own; naming others is an error.
    rules : sequence of Rule
        Reasons to stop the search in addition to those of the job file.
    allow_affinity : bool
        Go on without memory limits where no cgroup can be made, as ``isolation = "affinity-allowed"`` in the job file does.
    wait : bool
        Wait until another BayesTuner that measures on this machine has ended, instead of raising `MachineBusy`.
    learn_from : sequence of path, optional
        Folders of earlier studies that a new study learns from; none: from none. By default those of the job file's `measure.learn_from`,
        and where it has none, this user's studies beside the new one that have the same knobs. A study that exists keeps its own.

    Returns
    -------
    TuneResult

    Raises
    ------
    MeterUnavailable, IsolationUnavailable, KnobUnavailable
        The machine lacks what the job file asks for.
    MachineBusy
        Another BayesTuner is measuring on this machine.
    StoreError
        The study can't be used, or was begun for another job (`StudyMismatch`).
    """
    progress = progress or Progress()
    place = place_of(Path(study_path), job)
    path = place.path
    if place.note is not None:
        progress.note(place.note)
    job_rules = rules_of(job)
    if strategy is not None:
        check_strategy(strategy)
    resumed = Study.exists(path)
    if not resumed:  # before anything of the machine is touched
        check_suits(strategy or DEFAULT_STRATEGY, job.space, job.goal)
    with ExitStack() as stack:
        if resumed:
            study = stack.enter_context(Study.open(path))
            job = as_begun(study, job)
            check_same(study, job, seed, strategy)
            wanted = wanted_budget(study, job, budget)
            for text in changed_programs(study, job):
                progress.note(text)
            if is_complete(study, job, wanted):
                for text in (*study.notices, nothing_was_run(study)):
                    progress.note(text)
                return TuneResult(path, summarise(study))
        stack.enter_context(machine_lock(path, wait=wait, tell=progress.note))
        topology = read_topology(policy=job.measure.core_policy)
        isolation, meter, facts = open_machine(job, allow_affinity, progress)
        if meter is not None:
            stack.callback(meter.close)
        if not resumed and "memory" in job.needs - isolation.controls:
            job = _with_memory_held(job, progress)
        knobs = open_knobs(job, cpus_of(job, job.all_max_config(), topology))
        if resumed:
            check_same_meter(study, facts)
            set_budget(study, job, wanted, progress)
            study.add_provenance({**facts, "programs": fingerprints(job)})
        else:
            history = earlier_studies(job, path, strategy or DEFAULT_STRATEGY, learn_from, progress, first=place.earlier)
            study = stack.enter_context(create_study(path, job, facts, budget, seed, strategy, history))
        warmup = warmup_s(job.measure, meter, facts["preflight"])
        compile_engine(study.info.strategy, progress)  # before what it notes would stand below the head of a table
        progress.began(study, job, resumed=resumed, meter=meter, isolation=isolation)
        runner = stack.enter_context(Runner(job, meter=meter, isolation=isolation, warmup_s=warmup, topology=topology, knobs=knobs))
        try:
            TuningSession(job, study, runner, progress, job_rules, rules).run()
        except Exception:
            with suppress(StoreError, OSError):
                if not resumed and not any(r.tell_seq is not None for r in study.records()):
                    study.discard()  # nothing was measured: a start that failed must not be in the way of the next one
            raise
        return TuneResult(path, summarise(study))


def _with_memory_held(job: Job, progress: Progress) -> Job:
    held = job.with_memory_held()
    memory = held.knob_of_kind("memory")
    if memory is not None and held.space != job.space:
        progress.note(f"{memory.name} is held at {memory.knob.values[0]} and not searched, since it has no effect here")
    return held
