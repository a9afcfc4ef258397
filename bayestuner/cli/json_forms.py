"""The ``--json`` forms, version 1: documented in docs/command-line.md; what is here may be added to, never changed in place."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bayestuner.cli.streams import is_unicode
from bayestuner.foreign_text import json_text
from bayestuner.report.apply import application_of
from bayestuner.report.verdict import explanation, next_steps, why_not_best_reading
from bayestuner.search.strategy import Recommendation
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary
from bayestuner.trial import Failed, Measured

VERSION = 1


def emit(form: Any) -> None:
    """Print a form."""
    text = json.dumps(form, indent=2, ensure_ascii=not is_unicode(sys.stdout), allow_nan=False, default=str)
    print(json_text(text))


def trial_form(record: Record) -> dict[str, Any]:
    """One trial."""
    outcome = record.trial.outcome
    measured = outcome.metrics if isinstance(outcome, Measured) else {}
    return {
        "number": record.trial.number,
        "config": record.trial.config,
        "state": record.trial.state,
        "role": record.role,
        "metrics": {name: r.value for name, r in measured.items()},
        "metrics_sd": {name: r.sd for name, r in measured.items()},
        "flags": list(outcome.flags) if isinstance(outcome, Measured) else [],
        "failure": {"kind": outcome.kind, "message": outcome.message} if isinstance(outcome, Failed) else None,
        "interrupted": record.orphaned,
        "asked_utc": record.asked_utc,
        "told_utc": record.told_utc,
        "details": record.details,
    }


def recommendation_form(advice: Recommendation | None) -> dict[str, Any] | None:
    """What to deploy."""
    if advice is None:
        return None
    expected = {name: {"mean": p.mean, "low": p.low, "high": p.high} for name, p in advice.expected.items()}
    return {"config": advice.config, "expected": expected, "p_feasible": advice.p_feasible, "by": "model"}


def launched_form(summary: Summary) -> dict[str, Any] | None:
    """What a finished study recommends, with that configuration's own figures; None where it recommends nothing."""
    side = summary.recommended
    if side is None:
        return None
    contender = None if summary.decision is None else summary.decision.contender(side.config)
    expected: dict[str, Any] = {}
    for metric in summary.goal.metrics:
        if metric in side.figures:
            expected[metric] = side.figures[metric].as_dict()
        elif metric in side.config:
            expected[metric] = dict.fromkeys(("mean", "low", "high"), side.config[metric])
    chance = float(bool(side.meets_goal)) if contender is None else contender.chance_holds
    return {"config": side.config, "expected": expected, "p_feasible": chance, "by": "launches" if side.repeated else "search"}


def summary_form(path: Path, summary: Summary, records: Sequence[Record]) -> dict[str, Any]:
    """What `tune --json` prints."""
    return {"version": VERSION, "study": str(path), **result_form(path, summary, records)}


def result_form(path: Path, summary: Summary, records: Sequence[Record]) -> dict[str, Any]:
    """What a study came to, with the sentences and the line for a shell that the screen has as well."""
    application = application_of(summary, records)
    return {
        **summary.as_dict(),
        "explanation": explanation(summary),
        "best_reading_explanation": why_not_best_reading(summary),
        "to_do": next_steps(summary, path),
        "apply": None if application is None else asdict(application),
    }


def study_form(study: Study, summary: Summary, best: Record | None, recommendation: dict[str, Any] | None) -> dict[str, Any]:
    """What `show --json` prints."""
    info = study.info
    return {
        "version": VERSION,
        "study": str(study.folder),
        "name": info.name,
        "created_utc": info.created_utc,
        "goal": str(study.goal),
        "resolved_goal": None if study.resolved_goal is None else str(study.resolved_goal),
        "strategy": info.strategy,
        "seed": info.seed,
        "budget": info.budget,
        "knobs": {k.name: {"kind": k.kind, "values": list(k.values)} for k in study.space.knobs},
        "trials": [trial_form(r) for r in study.records()],
        "best": None if best is None else trial_form(best),
        "recommendation": recommendation,
        "result": result_form(study.folder, summary, study.records()),
        "provenance": list(study.provenance()),
        "job": info.job,
    }
