"""The [goal] section of a job file: its goals made and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bayestuner.errors import InvalidGoal
from bayestuner.goal import Bound, Goal
from bayestuner.measure.job.keys import ReportMistake, check_table, suggestion
from bayestuner.measure.job.knobs import JobKnob
from bayestuner.measure.job.schema import GOAL_KEYS, ONE_GOAL_KEYS
from bayestuner.measure.metrics import LATENCY_METRICS, METRICS, POWER_METRICS, Mode

DEFAULT_PRESET = "default"
MOST = 50
"""Bounds of one goal, and presets of one file: what a search has to weigh at every step, and more than anybody wants."""

LONGEST_NAME = 60
SLIP_SHARE = 5.0
"""A lower bound of this many times what the all-max configuration reaches, or more, is taken for a slip: ``600%`` for ``60%``."""

_OBJECTIVES = ("minimize", "maximize")
_ONE_GOAL = tuple(key.name for key in ONE_GOAL_KEYS)


@dataclass(frozen=True, slots=True)
class Goals:
    """The [goal] section of a job file: its goals by the names of their presets, and the name of the one that holds.

    The section's own goal is called ``default``.
    """

    by_name: Mapping[str, Goal]
    chosen: str


def build_goals(
    table: Mapping[str, Any],
    knobs: Mapping[str, Any],
    made: Sequence[JobKnob],
    settings: Mapping[str, Any],
    report: ReportMistake,
    *,
    read_by_output: bool = False,
    mode: Mode = "batches",
    own: Collection[str] = (),
) -> Goals | None:
    """Make the goals of the [goal] section; None where one was reported as wrong.

    Parameters
    ----------
    table : dict
        The [goal] section as read.
    knobs : dict
        The [knobs] section as read: a goal on a knob that was itself reported as wrong is no second mistake.
    made : sequence of JobKnob
        The knobs that were made of it.
    settings : dict
        The [measure] section, checked.
    report : callable
    read_by_output : bool
        The job has a throughput_regex, whose lines say nothing of a single batch's latency.
    mode : {"batches", "to_completion"}
    own : collection of str
        Names of the job's own metrics, those included that were reported as wrong.
    """
    known = [*METRICS, *own, *(knob.name for knob in made if knob.knob.numeric), *(set(knobs) - {knob.name for knob in made})]
    lacking = _lacking(no_meter=settings.get("energy") == [], read_by_output=read_by_output, mode=mode)
    found = check_table(table, GOAL_KEYS, "goal", report)
    plain = {name: value for name, value in table.items() if name in _ONE_GOAL}
    goal = _build_goal(plain, "goal", known, made, lacking, report, is_empty=not table)
    if goal is None or len(found) < len(GOAL_KEYS):
        return None
    if len(found["presets"]) > MOST:
        report("goal.presets", f"{len(found['presets'])} presets; give at most {MOST}")
        return None
    goals: dict[str, Goal] = {DEFAULT_PRESET: goal}
    for name, given in found["presets"].items():
        key = f"goal.presets.{name}"
        if not name.isprintable() or len(name) > LONGEST_NAME:
            report(key, f"a preset's name has at most {LONGEST_NAME} characters, all of which can be printed")
            continue
        if name == DEFAULT_PRESET:
            report(key, f"{name!r} is what the [goal] section itself is called; give the preset another name")
            continue
        check_table(given, ONE_GOAL_KEYS, key, lambda where, problem: report(where, problem) if "unknown key" in problem else None)
        kept = {k: v for k, v in plain.items() if not (k in _OBJECTIVES and set(given) & set(_OBJECTIVES))}
        preset = _build_goal({**kept, **{k: v for k, v in given.items() if k in _ONE_GOAL}}, key, known, made, lacking, report)
        if preset is not None:
            goals[name] = preset
    if found["preset"] not in (*found["presets"], DEFAULT_PRESET):
        report("goal.preset", f"there is no preset {found['preset']!r}" + suggestion(found["preset"], [*found["presets"], DEFAULT_PRESET]))
    return Goals(goals, found["preset"]) if found["preset"] in goals and len(goals) == len(found["presets"]) + 1 else None


def _build_goal(
    table: Mapping[str, Any],
    key: str,
    known: Sequence[str],
    made: Sequence[JobKnob],
    lacking: Mapping[str, str],
    report: ReportMistake,
    *,
    is_empty: bool = False,
) -> Goal | None:
    """Make one goal of its keys; None where it was reported as wrong."""
    found = check_table(table, ONE_GOAL_KEYS, key, report)
    objectives = [name for name in _OBJECTIVES if found.get(name) is not None]
    problems = [_metric_problem(f"{key}.{name}", found[name], known, lacking, report) for name in objectives]
    if len(objectives) != 1 and not is_empty and set(_OBJECTIVES) <= found.keys():
        report(key, 'needs exactly one of minimize and maximize, as in minimize = "power_w"')
    bounds: list[Bound] = []
    if len(found.get("subject_to", ())) > MOST:
        report(f"{key}.subject_to", f"{len(found['subject_to'])} bounds; give at most {MOST}")
        return None
    for index, text in enumerate(found.get("subject_to", ())):
        try:
            bounds.append(Bound.parse(text))
        except InvalidGoal as error:
            report(f"{key}.subject_to[{index}]", str(error))
            problems.append(True)
        else:
            problems.append(_metric_problem(f"{key}.subject_to[{index}]", bounds[-1].metric, known, lacking, report))
    if any(problems) or len(objectives) != 1 or len(found) < len(ONE_GOAL_KEYS):
        return None
    knob_names = {knob.name for knob in made}
    tightened = [bound if bound.metric in knob_names else _with_margin(bound, found["margin"]) for bound in bounds]
    goal = Goal(minimize=found["minimize"], maximize=found["maximize"], subject_to=tightened)
    levels = {knob.name: knob.knob.values for knob in made if knob.knob.numeric}
    impossible = _impossible(goal, levels)
    if impossible:
        report(f"{key}.subject_to", impossible)
        return None
    return goal


def _with_margin(bound: Bound, margin: float) -> Bound:
    """The bound with that share of its limit to spare."""
    return replace(bound, limit=bound.limit * (1.0 + margin if bound.sense == ">=" else 1.0 - margin))


def _impossible(goal: Goal, levels: Mapping[str, Sequence[float]]) -> str | None:
    """Why no run can meet the bounds of a goal, with what to do; None where nothing speaks against it.

    Every built-in metric of a run is above 0, one of the job's own is not below 0, and a relative bound on a knob is a share of the
    knob's last value.
    """
    for bound in goal.bounds:
        if bound.metric not in levels:
            built_in = METRICS.get(bound.metric)
            if bound.sense == "<=" and (bound.limit < 0 or (bound.limit == 0 and built_in is not None)):
                return f"{str(bound)!r} can't be met: the {bound.metric} of a run is {'above' if built_in else 'at least'} 0"
            highest = None if built_in is None else built_in.highest
            if bound.sense == ">=" and not bound.relative and highest is not None and bound.limit > highest:
                return f"{str(bound)!r} can't be met: {bound.metric} is {highest:g} at most"
            if bound.sense == ">=" and bound.relative and bound.limit >= SLIP_SHARE:
                times = f"{str(bound)!r} asks for {bound.limit:g} times what the all-max configuration reaches"
                return f"{times}; was {10 * bound.limit:g}% meant? If not, give the bound as a number"
    knobs_resolved = [
        replace(bound, limit=bound.limit * levels[bound.metric][-1], relative=False) if bound.relative and bound.metric in levels else bound
        for bound in goal.bounds
    ]
    problem = Goal(minimize=goal.objective, subject_to=knobs_resolved).impossible(levels, positive=True)
    return f"{problem}; change the bounds" if problem else None


def _metric_problem(key: str, metric: str, known: Sequence[str], lacking: Mapping[str, str], report: ReportMistake) -> bool:
    """Report a metric that no run of this job can give; return whether it was reported."""
    if metric not in known:
        report(key, f"no run reports the metric {metric!r}{suggestion(metric, known)}")
        return True
    if metric in lacking:
        report(key, f"{metric!r} {lacking[metric]}")
        return True
    return False


def _lacking(*, no_meter: bool, read_by_output: bool, mode: Mode) -> dict[str, str]:
    """Metrics that no run of this job can have, each with why and what to do."""
    power = "needs an energy meter, but measure.energy is empty; name meters there"
    latency = (
        "can't be known of a job that is read by throughput_regex: a line of output says nothing of a single batch; "
        "let the job report each batch on the pipe, or name another metric"
    )
    found = dict.fromkeys(POWER_METRICS, power) if no_meter else {}
    found |= dict.fromkeys(LATENCY_METRICS, latency) if read_by_output else {}
    others = {name: metric.only for name, metric in METRICS.items() if metric.only not in (None, mode)}
    return found | {name: f"is a metric of jobs with job.mode = {only!r}, and this one has {mode!r}" for name, only in others.items()}
