"""The sentences that explain a recommendation: what was decided, why, why not the best reading of the search, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from bayestuner.goal import Bound
from bayestuner.report.words import config_text, label, quantity, with_interval
from bayestuner.study.decision import Contender, Decision
from bayestuner.study.race import NO_WORSE
from bayestuner.study.sides import Side
from bayestuner.study.summary import Summary

NAMED = 3
"""Contenders that are named beside a recommendation."""

EASED = 0.98
"""A bound that is proposed leaves the nearest configuration this much to spare."""


def verdict_title(summary: Summary) -> str:
    """What a study came to, in a line without the study's name."""
    verdict = None if summary.decision is None else summary.decision.verdict
    if summary.recommended is not None:
        more = {"better": ", better than the all-max default", "no_improvement": "; no improvement over the all-max default was shown"}
        return "recommended configuration" + more.get(verdict or "", "")
    if not summary.complete:
        return "not finished yet"
    if summary.n_runs and summary.n_failed == summary.n_runs:
        return "every run failed, so there is nothing to recommend"
    nearest = summary.nearest
    if verdict == "none_meets" and nearest is not None and nearest.meets_goal:
        return "no configuration was shown to meet the goal"
    return "no configuration that meets the goal was found"


def explanation(summary: Summary) -> str | None:
    """Why this is recommended, or nothing is; None where no final launches were made."""
    decision = summary.decision
    if decision is None:
        return None
    if decision.verdict == "better":
        return _why_better(summary, decision)
    if decision.verdict == "no_improvement":
        return _why_no_improvement(summary, decision)
    return _why_nothing(summary, decision)


def why_not_best_reading(summary: Summary) -> str | None:
    """Why the configuration with the best reading of the search is not the one recommended; None where it is."""
    best, decision = summary.best_reading, summary.decision
    if best is None or decision is None or (summary.recommended is not None and best.config == summary.recommended.config):
        return None
    objective = summary.goal.objective
    read = f" ({quantity(objective, best.figures[objective].mean, summary)})" if objective in best.figures else ""
    text = f"{config_text(best.config)} had the best reading of the search{read}"
    contender = decision.contender(best.config)
    if contender in _named(summary, decision):
        return None
    if contender is None:
        return f"{text} but was not launched again: others were decided on first"
    if contender.failures or contender.side.meets_goal is False:
        return f"{text}; launched again, it {_missed(summary, contender)}"
    if summary.recommended is not None and best.config == decision.leader:
        return f"{text}; the recommended one does as well, within what can be told, and takes less of the machine"
    return f"{text}; launched again, {_compared(summary, contender)}"


def next_steps(summary: Summary, study_path: Path) -> list[str]:
    """What to do where nothing meets the goal."""
    if summary.recommended is not None or not summary.complete or summary.nearest is None or summary.judged_goal is None:
        return []
    missed = _missed_bounds(summary, summary.nearest)
    if not missed and not summary.nearest.failures:
        return ["raise measure.launches, or run it on a quieter machine: the launches differ too much among themselves to tell"]
    eased = [_eased(bound, value) for bound, value in missed]
    steps = ["give the job more (cores, memory, other values of its knobs), search longer (tune --budget N), or ask for less"]
    if eased:
        command = shlex.join(["bayestuner", "retarget", str(study_path), *eased])
        steps.append(f"{command}   (shows without a run what would be recommended then)")
    return steps


def _why_better(summary: Summary, decision: Decision) -> str:
    one = decision.contender(None if summary.recommended is None else summary.recommended.config)
    if one is None:
        return "shown to be better than the all-max default in the final launches"
    default = decision.default
    if default is None:
        text = f"it held the goal in {one.launches} launches; the all-max default could not be run"
    elif default.failures or default.side.meets_goal is False:
        text = f"it held the goal in {one.launches} launches, and the all-max default {_missed(summary, default)}"
    else:
        text = f"{_compared(summary, one)}, over {one.launches} launches of it in rounds with the default"
    if decision.leader is not None and decision.leader != one.side.config:
        text += f"; {config_text(decision.leader)} can't be told apart from it and takes more of the machine"
    return f"{text}; shown with a confidence of {100 * decision.confidence:g} %, all candidates and looks counted"


def _why_no_improvement(summary: Summary, decision: Decision) -> str:
    others = _others(summary, decision)
    kept = summary.recommended is None or summary.baseline is None or summary.recommended.config == summary.baseline.config
    frugal = f"it surely loses no more than {100 * NO_WORSE:g} % against the all-max default and takes less of the machine"
    text = "the all-max default is kept" if kept else frugal
    if not others:
        return text + ("; the search found nothing to launch beside it" if kept else "; nothing was shown to be better")
    named = [f"{config_text(c.side.config)}: {_outcome(summary, decision, c)}" for c in _named(summary, decision)]
    beaten = "what was launched beside it was not" if len(others) == 1 else f"none of the {len(others)} launched beside it was"
    return f"{text}; {beaten} shown to be better: {'; '.join(named)}"


def _others(summary: Summary, decision: Decision) -> list[Contender]:
    """What was launched beside the default and is not recommended."""
    recommended = None if summary.recommended is None else summary.recommended.config
    return [c for c in decision.contenders if not c.is_default and c.side.config != recommended]


def _named(summary: Summary, decision: Decision) -> list[Contender]:
    """Whom the verdict names."""
    return _others(summary, decision)[:NAMED] if decision.verdict == "no_improvement" else []


def _why_nothing(summary: Summary, decision: Decision) -> str:
    nearest = summary.nearest
    contender = None if nearest is None else decision.contender(nearest.config)
    if nearest is None or contender is None:
        return "no configuration held the goal in the final launches"
    if contender.failures or nearest.meets_goal is False:
        return f"the nearest, {config_text(nearest.config)}, {_missed(summary, contender)}"
    chance = f"the chance that it holds every bound is {_percent(contender.chance_holds)}"
    return f"the nearest, {config_text(nearest.config)}, meets the goal on average over {contender.launches} launches, but {chance} only"


def _outcome(summary: Summary, decision: Decision, contender: Contender) -> str:
    if contender.failures or contender.side.meets_goal is False:
        return _missed(summary, contender)
    default = decision.default
    given_up = default is not None and contender.launches < default.launches
    launches = f", given up after {contender.launches} launch{'es' if contender.launches > 1 else ''}" if given_up else ""
    return f"{_compared(summary, contender)}{launches}"


def _compared(summary: Summary, contender: Contender) -> str:
    """The objective against the default, and how sure it is to be better."""
    metric = summary.goal.objective
    name = label(metric, summary, estimated=summary.estimated)
    change, default = contender.changes.get(metric), summary.baseline
    if change is not None:
        half = "" if change.half_width is None else f" ± {100 * change.half_width:.1f}"
        text = f"{name} {100 * change.mean:+.1f}{half} % against the default"
    elif metric in contender.side.config and default is not None:  # a knob: nothing about it is uncertain
        value, usual = contender.side.config[metric], default.config[metric]
        return f"{name} {value}, as the default has it" if value == usual else f"{name} {value} instead of {usual}"
    elif metric in contender.side.figures:
        text = f"{name} {with_interval(metric, contender.side.figures[metric], summary)}"
    else:
        text = name
    return f"{text} (chance to be better {_percent(contender.chance_better)})"


def _missed(summary: Summary, contender: Contender) -> str:
    """How a configuration fell short of the goal."""
    if contender.failures:
        why = contender.side.failures[-1] if contender.side.failures else "failed"
        return f"failed in {contender.failures} of {contender.failures + contender.launches} launches ({why})"
    missed = _missed_bounds(summary, contender.side)
    said = [
        f"{bound} by {100 * bound.violation(value) / abs(bound.limit):.1f} %"
        if bound.limit
        else f"{bound} by {quantity(bound.metric, bound.violation(value), summary)}"
        for bound, value in missed
    ]
    return f"misses {', '.join(said)}" if said else "does not hold the goal"


def _missed_bounds(summary: Summary, side: Side) -> list[tuple[Bound, float]]:
    goal = summary.judged_goal
    found = []
    for bound in () if goal is None else goal.bounds:
        value = side.figures[bound.metric].mean if bound.metric in side.figures else side.config.get(bound.metric)
        if isinstance(value, (int, float)) and bound.violation(float(value)) > 0:
            found.append((bound, float(value)))
    return found


def _eased(bound: Bound, value: float) -> str:
    eased = value * EASED if (bound.sense == ">=") == (value > 0) else value / EASED
    return f"{bound.metric} {bound.sense} {eased:.3g}"


def _percent(chance: float) -> str:
    if chance > 0.999:
        return "over 99.9 %"
    if chance < 0.001:
        return "under 0.1 %"
    return f"{100 * chance:.{1 if chance > 0.99 else 0 if chance >= 0.1 else 1}f} %"
