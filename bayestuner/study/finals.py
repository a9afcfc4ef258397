"""The race of a stored study: what is raced for, who races, and what the launches so far come to, from its records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bayestuner.errors import InvalidGoal, NoRecommendation, StoreError
from bayestuner.goal import Goal
from bayestuner.study.figures import figure
from bayestuner.study.frugality import Frugality
from bayestuner.study.nomination import nominate
from bayestuner.study.race import Contest, Judgement, RaceRules, judge
from bayestuner.study.rounds import rounds_of
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Measured

LIKELY_FEASIBLE = 0.5


def race_rules(study: Study) -> RaceRules:
    """The rules that the study's last race had; before it, those of the job file it was begun with, or defaults."""
    stored = (study.info.result or {}).get("rules")
    return (
        RaceRules(stored["repeats"], stored["launches"], stored["confidence"])
        if stored
        else rules_of_settings((study.info.job or {}).get("measure", {}))
    )


def rules_of_settings(settings: Mapping[str, Any], launched_before: int = 0) -> RaceRules:
    """The rules that a [measure] section asks for; launches that earlier races made are not counted."""
    usual = RaceRules()
    repeats = max(int(settings.get("repeats", usual.repeats)), 1)
    launches = settings.get("launches") or usual.launches // usual.repeats * repeats
    return RaceRules(repeats, int(launches) + launched_before, float(settings.get("confidence", usual.confidence)))


def default_row(records: Sequence[Record]) -> int | None:
    """The default configuration's row; None where it was not measured in the search."""
    first = next((r for r in records if r.role == "baseline" and isinstance(r.trial.outcome, Measured)), None)
    return None if first is None else first.trial.row


def contest_of(study: Study, records: Sequence[Record], goal: Goal | None = None) -> Contest | None:
    """What is raced for, by the study's goal or another; None where its bounds can't be made absolute."""
    default = default_row(records)
    resolved = study.resolved_goal if goal is None else goal
    given = study.goal if goal is None else goal
    if resolved is not None and resolved.relative:
        first = next((r for r in records if r.role == "baseline" and isinstance(r.trial.outcome, Measured)), None)
        resolved = None if first is None else resolved.resolve(study.values_of(first.trial))
    if resolved is None:
        return None
    frugality = Frugality(study, records)

    def knobs(row: int) -> Mapping[str, float]:
        config = study.space.config(row)
        return {k.name: float(config[k.name]) for k in study.space.knobs if k.numeric}

    return Contest(given, resolved, default, knobs, frugality.key, race_rules(study), frugality.fits, _readings(study, records, resolved))


def _readings(study: Study, records: Sequence[Record], goal: Goal) -> dict[int, dict[str, float]]:
    """Row -> means of what the search measured of the goal's metrics; rows that failed are left out."""
    values: dict[int, list[Mapping[str, float]]] = {}
    for record in records:
        if record.role != "repeat" and isinstance(record.trial.outcome, Measured):
            values.setdefault(record.trial.row, []).append(study.values_of(record.trial))
    return {row: {m: figure([v[m] for v in runs]).mean for m in goal.metrics} for row, runs in values.items()}


def check_measured(study: Study, records: Sequence[Record], goal: Goal) -> None:
    """Raise `InvalidGoal` where a run of the study did not measure what another goal is about."""
    for record in records:
        values = study.values_of(record.trial)
        missing = [m for m in goal.metrics if values and m not in values]
        if missing:
            raise InvalidGoal(
                f"trial {record.trial.number} did not measure {', '.join(missing)}; a new goal can use {', '.join(sorted(values))}"
            )


def judge_finals(study: Study, records: Sequence[Record], candidates: Sequence[int], goal: Goal | None = None) -> Judgement | None:
    """What the final launches come to; None where there are none."""
    contest, rounds = contest_of(study, records, goal), list(rounds_of(records).values())
    return None if contest is None or not rounds else judge(contest, candidates, rounds)


def candidates_of(study: Study, records: Sequence[Record], contest: Contest, advice: Callable[[], tuple[int, float]]) -> list[int]:
    """Whom the search nominates.

    Parameters
    ----------
    advice : callable
        Gives the strategy's choice and its chance to be feasible; may raise `NoRecommendation`.
    """
    try:
        row, p_feasible = advice()
    except (NoRecommendation, StoreError):
        return []
    frugality = Frugality(study, records)
    readings = contest.readings
    likely = row in readings and (contest.resolved.feasible(readings[row]) or p_feasible >= LIKELY_FEASIBLE)
    return nominate(
        contest.resolved,
        readings,
        advice=row if likely else None,
        default=contest.default,
        frugality=frugality.key,
        twin=frugality.twin,
    )
