"""Checks of a job's command, patterns and environment: a placeholder for every knob that needs one, a pattern that catches a number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bayestuner.measure.job.command import BUILT_IN_PLACEHOLDERS, placeholders
from bayestuner.measure.job.keys import ReportMistake, shortened, suggestion, toml_text
from bayestuner.measure.job.knobs import JobKnob

LONGEST_NAME = 100


def check_command(
    command: Sequence[str], table: Mapping[str, Any], knobs: Sequence[JobKnob], env: Mapping[str, str], report: ReportMistake
) -> None:
    """Check that every placeholder names a knob, and that every knob of kind argument has a placeholder.

    Parameters
    ----------
    command : sequence of str
    table : dict
        The [knobs] section as read: a placeholder for a knob that was itself reported as wrong is no second mistake.
    knobs : sequence of JobKnob
        The knobs that were made of it.
    env : dict
        ``job.env``.
    report : callable
    """
    if not command or not command[0]:
        report("job.command", 'empty; give the program and its arguments, as in ["./serve", "--batch", "{batch_size}"]')
        return
    for word in command:
        if "\0" in word:
            report("job.command", "holds a NUL character, which no argument can")
    names = placeholders(command)
    known = [*BUILT_IN_PLACEHOLDERS, *table]
    for name in names:
        if name not in known:
            literal = f"; write {{{{{name}}}}} for the literal text"
            report("job.command", f"the placeholder {{{shortened(name, LONGEST_NAME)}}} names no knob{suggestion(name, known)}{literal}")
    for knob in knobs:
        if knob.kind == "argument" and knob.name not in names:
            problem = f'would change nothing: {{{knob.name}}} doesn\'t stand in job.command; put it there, or use kind = "environment"'
            report(f"knobs.{knob.name}", problem)
        if knob.variable is not None and knob.variable in env:
            report(f"knobs.{knob.name}.variable", f"{knob.variable!r} is also set in job.env; take it out there")


def check_name(job: Mapping[str, Any], path: Path, report: ReportMistake) -> None:
    """Check that the job's name, given or its file's, can be part of a folder's name: its study is kept in NAME.study."""
    if "name" not in job:
        return
    name = job["name"] or path.stem
    if "/" in name or name.startswith((".", "-")) or not name.isprintable() or len(name.encode(errors="replace")) > LONGEST_NAME:
        rule = f"printable, at most {LONGEST_NAME} bytes, without a slash, not beginning with a dot or a dash"
        given = "" if job["name"] else " of the file; give the job a name"
        report("job.name", f"{toml_text(name)} can't name the folder of a study ({rule}){given}")


def check_patterns(job: Mapping[str, Any], report: ReportMistake, *, metrics_by_regex: bool = False) -> None:
    """Check that throughput_regex has one group that catches a number, and that ready_regex and decimal_mark aren't given in vain.

    Parameters
    ----------
    job : dict
        The [job] section, checked.
    report : callable
    metrics_by_regex : bool
        A metric of the job's own is read from its output.
    """
    pattern, to_completion = job.get("throughput_regex"), job.get("mode") == "to_completion"
    if pattern is None:
        useless = {"ready_regex": not to_completion, "decimal_mark": not metrics_by_regex}
        for name in (name for name, in_vain in useless.items() if in_vain):
            if job.get(name) is not None and "throughput_regex" in job:
                report(f"job.{name}", "given without job.throughput_regex; give both, or let the job report on the pipe")
        return
    compiled = re.compile(pattern)
    named = set(compiled.groupindex)
    if to_completion and "rate" in named:
        report(
            "job.throughput_regex",
            "has a group rate, which says nothing of a whole execution; for a rate that the program prints write a metric, as in "
            "[metrics.speed] regex = '([0-9.]+) items/s'",
        )
    elif not (named & {"items", "rate"} and not {"items", "rate"} <= named) and not (compiled.groups == 1 and not named):
        report(
            "job.throughput_regex",
            "needs one group that catches a number: (?P<items>...) for items since the last line, or (?P<rate>...) for items per second",
        )


def check_environment(job: Mapping[str, Any], report: ReportMistake) -> None:
    """Check that ``job.env`` and ``job.env_keep`` name variables that a process can have, and none in both."""
    env, kept = job.get("env", {}), job.get("env_keep", ())
    for key, names in (("env", env), ("env_keep", kept)):
        for name in names:
            if not name or "=" in name or not name.isprintable():
                report(f"job.{key}", f"no variable can be called {name!r}; give a name such as CUDA_VISIBLE_DEVICES")
    for name, value in env.items():
        if "\0" in value:
            report(f"job.env.{name}", "holds a NUL character, which no variable can")
    for name in kept:
        if name in env:
            report("job.env_keep", f"{name} is also set in job.env; take it out of one of them")
