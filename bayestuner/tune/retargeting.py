"""Final launches of a finished study under other bounds: its candidates for them race, and the runs are added to the study."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bayestuner.errors import StoreError
from bayestuner.goal import Goal
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.measure.run.placement import cpus_of
from bayestuner.measure.run.runner import Runner
from bayestuner.measure.run.warmup import warmup_s
from bayestuner.study.finals import check_measured
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary, summarise
from bayestuner.tune.confirming import RACE_KEYS, Confirmation, Confirmed, confirmed
from bayestuner.tune.machine import open_machine
from bayestuner.tune.matching import as_begun
from bayestuner.tune.progress import Progress
from bayestuner.tune.session import result_of
from bayestuner.tune.trial_runner import TrialRunner


def launch_retargeted(
    study_path: Path, goal: Goal, *, progress: Progress | None = None, allow_affinity: bool = False, wait: bool = False
) -> Summary:
    """Race what the study would recommend under another goal; return what that comes to, in the form of a study's summary.

    The study's own result is brought up to date with the launches: they are launches of its configurations too.

    Raises
    ------
    StoreError
        The study holds no job, or is not finished.
    MeterUnavailable, IsolationUnavailable, KnobUnavailable, MachineBusy
        As of `bayestuner.tune.tune`.
    """
    progress = progress or Progress()
    with ExitStack() as stack:
        study = stack.enter_context(Study.open(study_path))
        job = _job_of(study)
        check_measured(study, study.records(), goal)
        stack.enter_context(machine_lock(study_path, wait=wait, tell=progress.note))
        topology = read_topology(policy=job.measure.core_policy)
        isolation, meter, facts = open_machine(job, allow_affinity, progress)
        if meter is not None:
            stack.callback(meter.close)
        knobs = open_knobs(job, cpus_of(job, job.all_max_config(), topology))
        study.add_provenance({**facts, "retarget": str(goal)})
        progress.began(study, job, resumed=True, meter=meter, isolation=isolation)
        warmup = warmup_s(job.measure, meter, facts["preflight"])
        runner = stack.enter_context(Runner(job, meter=meter, isolation=isolation, warmup_s=warmup, topology=topology, knobs=knobs))
        trial_runner = TrialRunner(job, study, runner, progress, Cooldown(job.measure.cooldown_seconds))
        found = Confirmation(trial_runner, goal=goal).run()
        _bring_up_to_date(study, job)
        return summarise(study, goal, {"complete": True, **result_of(job, found)})


def _job_of(study: Study) -> Job:
    stored = study.info.job or {}
    if "text" not in stored or "path" not in stored:
        raise StoreError(f"the study in {study.folder} holds no job file, so nothing of it can be launched; tune the job anew")
    if not (study.info.result or {}).get("complete"):
        raise StoreError(f"the study in {study.folder} is not finished: let `bayestuner tune` come to its end first")
    return as_begun(study, parse_job(stored["text"], Path(stored["path"])))


def _bring_up_to_date(study: Study, job: Job) -> None:
    stored: dict[str, Any] = study.info.result or {}
    if stored.get("verdict") is None:
        return
    kept = {name: stored[name] for name in (*RACE_KEYS, "notes")}
    again = confirmed(study, Confirmed(**kept), [study.space.row(config) for config in stored["candidates"]])
    study.set_result({**stored, **result_of(job, again)})
