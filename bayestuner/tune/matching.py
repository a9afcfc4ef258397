"""A study belongs to one job: beginning it for a job, and refusing to go on with it for another one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bayestuner.codec import dump, goal_to_json, plain, space_to_json
from bayestuner.errors import StoreError
from bayestuner.measure.job.job import Job
from bayestuner.measure.metrics import POWER_METRICS
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.space import Knob
from bayestuner.study.study import Study
from bayestuner.tune.programs import changed, fingerprints, latest_of
from bayestuner.tune.progress import Progress

DEFAULT_STRATEGY = "bayes"


class StudyMismatch(StoreError):
    """The study was begun for another job, seed or strategy than the one given."""


def create_study(
    path: Path,
    job: Job,
    facts: Mapping[str, Any],
    budget: int | None,
    seed: int | None,
    strategy: str | None,
    history: Sequence[EarlierStudy] = (),
) -> Study:
    """Begin the study of a job; budget, seed and strategy are the job file's where they are None."""
    return Study.create(
        path,
        job.space,
        job.goal,
        strategy or DEFAULT_STRATEGY,
        job.measure.seed if seed is None else seed,
        job.measure.budget if budget is None else budget,
        {**facts, "programs": fingerprints(job)},
        name=job.name,
        job=_job_facts(job),
        history=history,
    )


def _job_facts(job: Job) -> dict[str, Any]:
    return {
        "path": str(job.path),
        "text": job.text,
        "unit": job.unit,
        "mode": job.mode,
        "metrics": {name: metric.as_dict() for name, metric in job.metrics.items()},
        "command": list(job.command),
        "env": dict(job.env),
        "env_keep": list(job.env_keep),
        "user": job.user,
        "throughput_regex": job.throughput_regex,
        "ready_regex": job.ready_regex,
        "decimal_mark": job.decimal_mark,
        "cwd": str(job.cwd),
        "cwd_from_file": os.path.relpath(job.cwd, job.path.parent),
        "knobs": {k.name: k.kind for k in job.knobs},
        "knob_variables": {k.name: k.variable for k in job.knobs},
        "knob_units": {k.name: [k.unit_bytes, k.scale] for k in job.knobs},
        "all_max": job.all_max_config(),
        "measure": asdict(job.measure),
    }


def as_begun(study: Study, job: Job) -> Job:
    """The job as the study was begun for it: with its memory held at the most where that could not be limited then."""
    held = job.with_memory_held()
    return held if dump(space_to_json(study.space)) == dump(space_to_json(held.space)) else job


def check_same(study: Study, job: Job, seed: int | None, strategy: str | None) -> None:
    """Raise `StudyMismatch` where the study was begun for another job: results of two jobs can't be compared."""
    info = study.info
    given = {"strategy": strategy, "seed": seed}
    for what, stored in (("strategy", info.strategy), ("seed", info.seed)):
        if given[what] is not None and given[what] != stored:
            raise StudyMismatch(
                f"the study in {study.folder} was begun with the {what} {stored}, not {given[what]}; name a new one with --study"
            )
    found = differences(study, job)
    if found:
        raise StudyMismatch(
            f"the study in {study.folder} was begun for another job than {job.path.name} describes now ({'; '.join(found)}): "
            "change the file back or name a new folder with --study"
        )


def differences(study: Study, job: Job) -> list[str]:
    """In what the job differs from the one that the study was begun for, in words."""
    return [*_space_differences(study, job), *_other_differences(study, job)]


def check_same_meter(study: Study, facts: Mapping[str, Any]) -> None:
    """Raise `StudyMismatch` where power would now be measured otherwise than in the runs that the study has.

    Parameters
    ----------
    study : Study
    facts : dict
        Of this start, see `bayestuner.tune.machine.open_machine`.
    """
    now = facts["meter"]
    then = next((start["meter"] for start in study.provenance() if start.get("meter")), None)
    has_power = any(set(r.trial.metrics) & POWER_METRICS for r in study.records())
    if then is None or now is None or then == now or not has_power:
        return
    raise StudyMismatch(
        f"power was measured by {_meter_text(then)} in the study in {study.folder}, and would now be by {_meter_text(now)}: figures of two "
        "meters can't be compared; make the first one usable again (see bayestuner doctor), or name a new folder with --study"
    )


def _meter_text(meter: Mapping[str, Any]) -> str:
    return f"{meter['source']} ({'an estimate' if meter['estimated'] else meter['boundary']})"


def changed_programs(study: Study, job: Job) -> list[str]:
    """Sentences about the files of the job's command that have changed since the study's latest start."""
    return [
        f"{path} has changed since the runs of the study in {study.folder} were made, so that they may not be comparable with later ones; "
        "name a new folder with --study to begin anew"
        for path in changed(latest_of(study.provenance()), fingerprints(job))
    ]


def wanted_budget(study: Study, job: Job, budget: int | None) -> int:
    """Number of runs in all: as given, else the job file's where that was changed since the study was begun, else the study's own."""
    if budget is not None:
        return budget
    in_file = job.measure.budget
    return study.info.budget if in_file == _budget_in_file(study, in_file) else in_file


def set_budget(study: Study, job: Job, budget: int, progress: Progress) -> None:
    """Store the number of runs in all and what the job file says of it now; report where it is another one than before."""
    before = study.info.budget
    if budget != before:
        study.set_budget(budget)
        progress.note(f"the budget is now {budget} runs in all; it was {before}")
    stored = study.info.job
    if stored is not None and _budget_in_file(study, job.measure.budget) != job.measure.budget:
        study.set_job({**stored, "measure": {**stored.get("measure", {}), "budget": job.measure.budget}})


def _budget_in_file(study: Study, otherwise: int) -> int:
    """The budget of the job file when the study was begun or last gone on with."""
    return int(((study.info.job or {}).get("measure") or {}).get("budget", otherwise))


def _space_differences(study: Study, job: Job) -> list[str]:
    # as text, in which 1, 1.0 and true differ, as they do to a job
    if dump(space_to_json(study.space)) == dump(space_to_json(job.space)):
        return []
    then, now = ({k.name: k for k in s.knobs} for s in (study.space, job.space))
    out = []
    for name in then:
        if name in now and then[name] != now[name]:
            out.append(f"knob {name} was {then[name].describe()} and is {now[name].describe()}")
        elif name in now and (before := _values_text(then[name])) != (after := _values_text(now[name])):
            out.append(f"knob {name} had the values {before} and has {after}")
    out += [f"knob {name} is gone" for name in then if name not in now]
    out += [f"knob {name} is new" for name in now if name not in then]
    return out or ["the knobs stand in another order"]


def _values_text(knob: Knob) -> str:
    """The values of a knob as they are written in JSON and in a job file."""
    return dump([plain(value) for value in knob.values])


def _other_differences(study: Study, job: Job) -> list[str]:
    out = []
    if goal_to_json(study.goal) != goal_to_json(job.goal):
        out.append(f"the goal was '{study.goal}' and is '{job.goal}'")
    then, now = {"mode": "batches", **(study.info.job or {})}, _job_facts(job)
    for key in ("command", "mode", "env", "env_keep", "unit", "user", "throughput_regex", "ready_regex", "decimal_mark"):
        if key in then and then[key] != now[key]:
            out.append(f"job.{key} was {then[key]!r} and is {now[key]!r}")
    if "cwd" in then and then["cwd"] != now["cwd"] and then.get("cwd_from_file") != now["cwd_from_file"]:
        out.append(f"job.cwd was {then['cwd']} and is {now['cwd']}")  # a job file that was moved with its folder is the same job
    for key, what in (("knobs", "kind"), ("knob_variables", "variable"), ("knob_units", "unit")):
        before, after = then.get(key, {}), now[key]
        out += [f"the {what} of knob {k} was {before[k]} and is {after[k]}" for k in before if k in after and before[k] != after[k]]
    before, after = (
        {name: {k: v for k, v in own.items() if k != "about"} for name, own in (facts.get("metrics") or {}).items()}
        for facts in (then, now)
    )
    out += [f"the metric {m} was {before.get(m)} and is {after.get(m)}" for m in {**before, **after} if before.get(m) != after.get(m)]
    for key in ("placement", "smt", "housekeeping_cores"):
        measured, measures = then.get("measure", {}), now["measure"]
        if key in measured and measured[key] != measures[key]:
            out.append(f"measure.{key} was {measured[key]!r} and is {measures[key]!r}")
    return out
