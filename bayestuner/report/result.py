"""What a study came to and what was run in it, as text for people. Functions of the study's data, nothing else."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayestuner.foreign_text import harmless, markdown_text
from bayestuner.goal import Goal
from bayestuner.measure.metrics import POWER_METRICS
from bayestuner.report.apply import application_of
from bayestuner.report.tables import facts, markdown_facts, markdown_table, plain_table
from bayestuner.report.verdict import explanation, next_steps, verdict_title, why_not_best_reading
from bayestuner.report.words import config_text, duration, first_line, label, quantity, with_interval
from bayestuner.study.sides import Side
from bayestuner.study.store import Record
from bayestuner.study.summary import Summary
from bayestuner.trial import Failed, Measured

ALWAYS_SHOWN = (
    "duration_s", "power_w", "energy_j", "throughput", "energy_j_per_item", "latency_p50_s", "cpu_s_per_item", "cpu_s", "memory_peak_bytes",
)  # fmt: skip

UNTELLABLE = 0.25
"""Noise from which on "within noise" would say nothing."""


def result_text(summary: Summary, study_path: Path, records: Sequence[Record], *, width: int = 100) -> str:
    """The block `bayestuner tune` ends with."""
    parts = ["\n  ".join(map(harmless, _headline(summary)))]
    shown = summary.recommended or summary.nearest
    if shown is not None:
        parts.append(_indent(_compare(summary, shown, width - 2)))
    parts.append(facts(closing(summary, study_path, records), width=width))
    return "\n\n".join(parts)


def result_markdown(summary: Summary, study_path: Path, records: Sequence[Record]) -> str:
    """The same in Markdown."""
    parts = [f"# {markdown_text(summary.name)}", "\n  ".join(map(markdown_text, _headline(summary)))]
    shown = summary.recommended or summary.nearest
    if shown is not None:
        parts.append(markdown_table(*comparison(summary, shown)))
    parts.append(markdown_facts(closing(summary, study_path, records)))
    parts.append("## Runs\n\n" + markdown_table(*_run_rows(summary, records)))
    return "\n\n".join(parts) + "\n"


def trials_table(summary: Summary, records: Sequence[Record], *, width: int | None = 100) -> str:
    """Every run of a study, one line each."""
    header, rows = _run_rows(summary, records, room=None if width is None else 60)
    return plain_table(header, rows, width=width)


def _title(summary: Summary) -> str:
    if summary.recommended is not None:
        return "recommended"
    return "nearest" if summary.complete else "best so far"


def _headline(summary: Summary) -> list[str]:
    title, goal = f"{summary.name}: {verdict_title(summary)}", f"goal: {goal_text(summary)}"
    if summary.recommended is not None:
        return [title, config_text(summary.recommended.config), goal]
    if summary.complete and summary.n_runs and summary.n_failed == summary.n_runs:
        return [title, *([summary.stop_reason] if summary.stop_reason else [])]
    return [title, goal]


def goal_text(summary: Summary) -> str:
    """The goal as given, and what a relative bound comes to."""
    given, judged = summary.goal, summary.judged_goal
    if judged is None or not given.relative:
        return str(given)
    return f"{given}, that is {', '.join(str(b) for b, g in zip(judged.bounds, given.bounds, strict=True) if g.relative)}"


def _compare(summary: Summary, shown: Side, width: int) -> str:
    header, rows = comparison(summary, shown)
    return plain_table(header, rows, width=width)


def comparison(summary: Summary, shown: Side) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table, knobs first, then metrics: the configuration shown beside the all-max one."""
    base, title = summary.baseline, _title(summary)
    same = base is not None and base.config == shown.config
    sides = [shown] if base is None or same else [shown, base]
    header = ["", f"{title} (= all-max)" if same else title, *(["all-max"] if len(sides) > 1 else [])]
    rows = [[name, *(str(s.config[name]) for s in sides)] for name in shown.config]
    goal = summary.judged_goal or summary.goal
    names = [m for m in dict.fromkeys([*goal.metrics, *summary.metric_units, *ALWAYS_SHOWN]) if any(m in s.figures for s in sides)]
    for name in names:
        cells = [with_interval(name, s.figures[name], summary) if name in s.figures else "-" for s in sides]
        rows.append([label(name, summary, estimated=summary.estimated), *cells])
    rows.append(["meets the goal", *(_verdict(s, goal) for s in sides)])
    return header, rows


def _verdict(side: Side, goal: Goal) -> str:
    if side.failures and not side.figures:
        return f"failed: {first_line(side.failures[-1], 50)}"
    if side.meets_goal is None:
        return "unknown"
    if side.meets_goal:
        return "yes, on average" if side.surely is False else "yes"
    if side.failures:
        return f"no, failed in {len(side.failures)} launches"
    missed = [
        f"{b.metric} {b.sense} {b.limit:.4g}"
        for b in goal.bounds
        if not b.relative and b.metric in side.figures and b.violation(side.figures[b.metric].mean) > 0
    ]
    return "no: " + ", ".join(missed) if missed else "no"


def closing(summary: Summary, study_path: Path, records: Sequence[Record]) -> list[tuple[str, str]]:
    """What is said below the table of a result, as pairs of a name and a text."""
    said = (("verdict", explanation(summary)), ("best read", why_not_best_reading(summary)))
    pairs = [(name, text) for name, text in said if text is not None]
    pairs += [("to do", text) for text in next_steps(summary, study_path)]
    saving = _saving(summary)
    if saving:
        pairs.append(("saving", saving))
    change = _change(summary)
    if change:
        pairs.append(("change", change))
    pairs.append(("meter", _meter(summary)))
    shown = summary.recommended
    if shown is not None and shown.repeated:
        n = max((f.n for f in shown.figures.values()), default=0)
        beside = "" if summary.baseline is None or not summary.baseline.repeated else ", in rounds with the all-max default"
        pairs.append(("figures", f"means of {n} launches{beside}; ± is a 95 % Student-t interval"))
    elif shown is not None or summary.nearest is not None:
        pairs.append(("figures", "from the search run alone; no repeats"))
    pairs.append(("runs", _run_counts(summary, records)))
    if summary.drift:
        pairs.append(("drift", _drift(summary)))
    pairs += [("beware", text) for text in _doubts(records)]
    if summary.stop_reason and summary.n_failed < summary.n_runs and not summary.stop_reason.startswith("the budget"):
        pairs.append(("stopped", f"because {first_line(summary.stop_reason, 400)}"))
    if summary.learnt_from:
        pairs.append(("learnt from", f"{', '.join(first_line(name, 80) for name in summary.learnt_from)} (earlier studies)"))
    pairs += [("note", note) for note in summary.notes]
    application = application_of(summary, records)
    if application is not None:
        pairs.append(("apply with", application.line))
        pairs += [("beware", text) for text in [application.left_out] if text]
    pairs.append(("study", f"{study_path}   (bayestuner show {shlex.quote(str(study_path))})"))
    return pairs


def _drift(summary: Summary) -> str:
    """How far the all-max configuration has moved since its first run."""
    moved = ", ".join(f"{label(d.metric, summary, estimated=summary.estimated)} {100.0 * d.change:+.1f} %" for d in summary.drift)
    beyond = [label(d.metric, summary, estimated=summary.estimated) for d in summary.drift if d.beyond_noise]
    noise = max(d.noise for d in summary.drift)
    if beyond:
        verdict = f"more than noise: {', '.join(beyond)}"
    elif noise > UNTELLABLE:
        verdict = f"no drift could be told: single launches differ too much among themselves (up to {100.0 * noise:.0f} % would be chance)"
    else:
        verdict = f"within noise ({100.0 * noise:.1f} %)"
    return f"the all-max configuration, its last launches against its first run: {moved}; {verdict}"


def _doubts(records: Sequence[Record]) -> list[str]:
    """What to know about the figures, from the flags of the runs they come from."""
    flags = Counter(flag for r in records if isinstance(r.trial.outcome, Measured) for flag in r.trial.outcome.flags)
    said = {
        "contended": "other programs used the machine during {} of the runs; figures from a quiet machine are better",
        "stolen": "the hypervisor gave CPU time to other machines during {} of the runs",
        "swapped": "the machine swapped during {} of the runs",
        "throttled": "the processor was slowed for heat during {} of the runs; better cooling gives better figures",
        "thrashing": "in {} of the runs the memory limit was too small for the files the job reads: their figures depend on the disk",
        "cpu_quota": "in {} of the runs a CPU quota (docker run --cpus) stopped the job for a part of the time",
    }
    return [text.format(flags[flag]) for flag, text in said.items() if flags[flag]]


def _meter(summary: Summary) -> str:
    if summary.meter is None:
        return "none was used; no power figures"
    if summary.estimated:
        return f"{summary.meter}: power figures are ESTIMATED from CPU time, not measured; no saving is claimed from them"
    return f"{summary.meter}: power was measured"


def _saving(summary: Summary) -> str | None:
    """Power of the recommended against the default configuration; never from an estimate."""
    one, other = summary.recommended, summary.baseline
    if summary.estimated or one is None or other is None or one.config == other.config or not (one.repeated and other.repeated):
        return None
    if "power_w" not in one.figures or "power_w" not in other.figures:
        return None
    paired = summary.changes.get("power_w")
    saved = -100.0 * (one.figures["power_w"].mean / other.figures["power_w"].mean - 1.0 if paired is None else paired.mean)
    half = "" if paired is None or paired.half_width is None else f" ± {100.0 * paired.half_width:.1f}"
    less = f"{saved:.1f}{half} % less power" if saved >= 0 else f"none: {-saved:.1f}{half} % more power"
    return f"{less} than the all-max default" + ("" if paired is None else f", launch by launch over {paired.n} pairs")


def _change(summary: Summary) -> str | None:
    """The objective of the recommended against the default configuration, where that isn't power, which is the saving."""
    metric = summary.goal.objective
    paired = summary.changes.get(metric)
    if paired is None or metric in POWER_METRICS:
        return None
    half = "" if paired.half_width is None else f" ± {100.0 * paired.half_width:.1f}"
    what = label(metric, summary, estimated=False)
    return f"{what} {100.0 * paired.mean:+.1f}{half} % against the all-max default, launch by launch over {paired.n} pairs"


def _run_counts(summary: Summary, records: Sequence[Record]) -> str:
    kinds = Counter(r.trial.outcome.kind for r in records if r.role != "repeat" and isinstance(r.trial.outcome, Failed))
    transient = kinds.pop("transient", 0)
    failed = f", {summary.n_failed} of them failed ({', '.join(f'{n} {k}' for k, n in kinds.most_common())})" if kinds else ", none failed"
    again = f", {transient} more were the machine's fault and not counted" if transient else ""
    repeats = f", then {summary.n_repeats} repeats" if summary.n_repeats else ""
    search = f", {duration(summary.search_s)} of it the search" if summary.n_repeats else ""
    return f"{summary.n_runs}{failed}{again}{repeats}; {duration(summary.duration_s)} of running{search}"


def _run_rows(summary: Summary, records: Sequence[Record], room: int | None = None) -> tuple[list[str], list[list[str]]]:
    goal = summary.search_goal
    knobs = list(records[0].trial.config) if records else []
    metrics = [m for m in dict.fromkeys([*summary.goal.metrics, "power_w", "throughput", "duration_s"]) if m not in knobs]
    metrics = [m for m in metrics if any(m in r.trial.metrics for r in records)]
    header = ["run", "role", *knobs, *(label(m, summary, estimated=summary.estimated) for m in metrics), "came to"]
    rows = []
    for r in records:
        cells = [quantity(m, r.trial.metrics[m], summary) if m in r.trial.metrics else "" for m in metrics]
        rows.append(
            [
                str(r.trial.number + 1),
                r.role,
                *(str(r.trial.config[k]) for k in knobs),
                *cells,
                came_to(r.trial.outcome, r.trial.config, goal, orphaned=r.orphaned, room=room),
            ]
        )
    return header, rows


def came_to(outcome: Any, config: dict[str, Any], goal: Goal | None, *, orphaned: bool = False, room: int | None = 60) -> str:
    """How a run ended, in a word or two; the first line of a failure's message, in at most `room` characters where that is given."""
    if outcome is None:
        return "interrupted; will be run again" if orphaned else "running"
    if isinstance(outcome, Failed):
        return f"{outcome.kind}: {first_line(outcome.message, room or sys.maxsize)}" if outcome.message else outcome.kind
    if not isinstance(outcome, Measured):
        return ""
    doubts = [f.replace("_", " ") for f in outcome.flags if f != "estimated_power"]  # an estimate is named where its figure stands
    flags = f" ({', '.join(doubts)})" if doubts else ""
    if goal is None or goal.relative:
        return f"measured{flags}"
    values = {**{k: float(v) for k, v in config.items() if isinstance(v, (int, float))}, **outcome.values}
    missed = [b.metric for b in goal.bounds if b.metric in values and b.violation(values[b.metric]) > 0]
    return ("misses " + ", ".join(missed) if missed else "meets goal") + flags


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.split("\n"))
