"""Reading a job file: from TOML to a `Job`. All mistakes of a file are reported at once, each with its dotted key."""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.checks import check_command, check_environment, check_name, check_patterns
from bayestuner.measure.job.command import (
    BUILT_IN_PLACEHOLDERS,
    fill_placeholders,
    module_problem,
    placeholders,
    program_problem,
    resolve_program,
)
from bayestuner.measure.job.goals import build_goals
from bayestuner.measure.job.job import Job, MeasureSettings
from bayestuner.measure.job.keys import LONGEST_TEXT, ReportMistake, check_table, shortened, suggestion, toml_text
from bayestuner.measure.job.knobs import CoreCount, build_knobs
from bayestuner.measure.job.own_metrics import build_metrics
from bayestuner.measure.job.schema import JOB_KEYS, MEASURE_KEYS, SECTIONS
from bayestuner.measure.job.stop import build_stop
from bayestuner.measure.job.user import access_problem, user_problem
from bayestuner.measure.machine.core_order import CorePolicy, order_cores, physical_cores
from bayestuner.measure.machine.memory import MemoryBound, memory_bound
from bayestuner.measure.machine.quota import cpu_quota
from bayestuner.measure.machine.topology import Topology, read_topology
from bayestuner.measure.platform import Platform, PlatformProblem, knob_offers, load_platforms
from bayestuner.space import Space

LARGEST_BYTES = 2**20
MOST_PARTS = 100
MOST_MISTAKES = 50
"""Beyond these a file is no job file, and reading it, or a message about it, could take for ever."""

_LONG_KEY = re.compile(rf"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}""")
_LONGEST_KEY, _LONGEST_PROBLEM = 100, 1200


class _TooManyMistakes(Exception):
    """Carries the mistakes found so far."""

    def __init__(self, mistakes: list[tuple[str, str]]) -> None:
        super().__init__()
        self.mistakes = mistakes


def _reporter(mistakes: list[tuple[str, str]]) -> ReportMistake:
    """What notes mistakes in a list, each cut to a length that can be read, and gives up where they are too many."""

    def report(key: str, problem: str) -> None:
        mistakes.append((shortened(key, _LONGEST_KEY), shortened(problem, _LONGEST_PROBLEM)))
        if len(mistakes) >= MOST_MISTAKES:
            raise _TooManyMistakes(mistakes)

    return report


class MistakesInJob(InvalidJob):
    """A job file holds mistakes.

    Attributes
    ----------
    mistakes : tuple of (str, str)
        Dotted key and what is wrong with it, in the order in which they were found.
    """

    def __init__(self, path: Path | str, mistakes: list[tuple[str, str]]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [f"{key}: {problem}" if key else problem for key, problem in mistakes]
        if len(lines) == 1:
            super().__init__(f"{path}: {lines[0]}")
        else:
            super().__init__(f"{path} has {len(lines)} mistakes:\n" + "\n".join(f"  {line}" for line in lines))


def load_job(path: Path | str) -> Job:
    """Read and check a job file.

    Raises
    ------
    InvalidJob
        The file can't be read, is no TOML, or (`MistakesInJob`) holds mistakes.
    """
    where = Path(path)
    try:
        text = _read(where)
    except UnicodeDecodeError as error:
        raise InvalidJob(f"{where} is not a text in UTF-8 ({error.reason} at byte {error.start}); a job file is TOML") from None
    except OSError as error:
        raise InvalidJob(
            f"can't read the job file {shortened(str(where), LONGEST_TEXT)}: {error.strerror}; give the path of a TOML file"
        ) from error
    return parse_job(text, where)


def _read(path: Path) -> str:
    """The text of a regular file that is no larger than a job file can be."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - nonblocking: it may be a FIFO
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_BYTES} bytes, which no job file is", str(path))
    return data.decode("utf-8")


def parse_job(
    text: str, path: Path | str, *, n_cpus: int | None = None, topology: Topology | None = None, memory: MemoryBound | None = None
) -> Job:
    """Check the text of a job file.

    Parameters
    ----------
    text : str
    path : path
        The file; relative programs and folders are looked for from its folder.
    n_cpus : int, optional
        How many CPUs ``max = "all"`` means; by default those that jobs may get on this machine.
    topology : Topology, optional
        By default this machine's. Its CPUs are used, with the policy of the job file.
    memory : MemoryBound, optional
        The most memory that the job can be given; by default what this machine and the cgroups around this process allow.
    """
    where = Path(path).absolute()
    if len(text) > LARGEST_BYTES or _LONG_KEY.search(text):
        raise InvalidJob(f"{path} is no job file: it is larger than {LARGEST_BYTES} bytes, or has a key of more than {MOST_PARTS} parts")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML's own error, of a number too long, of lists too deep
        raise InvalidJob(f"{path} is not valid TOML: {error}") from None
    mistakes: list[tuple[str, str]] = []
    job = None
    try:
        job = _build(table, text, where, n_cpus, topology or read_topology(), memory or memory_bound(), mistakes)
    except _TooManyMistakes as many:
        mistakes = [*many.mistakes, ("", "and perhaps more; correct these first")]
    if mistakes or job is None:
        raise MistakesInJob(path, mistakes)
    return job


def _build(
    table: dict[str, Any],
    text: str,
    path: Path,
    n_cpus: int | None,
    topology: Topology,
    memory: MemoryBound | None,
    mistakes: list[tuple[str, str]],
) -> Job | None:
    report = _reporter(mistakes)
    for name in table:
        if name not in SECTIONS:
            report(name, "unknown section" + suggestion(name, SECTIONS))
    sections = {name: _section(table, name, report) for name in SECTIONS}
    job = check_table(sections["job"], JOB_KEYS, "job", report)
    measure_mistakes: list[tuple[str, str]] = []  # [measure] is checked first, because knobs depend on it, but reported after them
    report_measure = _reporter(measure_mistakes)
    settings = _measure(sections["measure"], report_measure)
    cores = _core_count(sections["knobs"], settings, n_cpus, topology, report_measure)
    platforms = _platforms(settings, report_measure)
    units = {kind: offer.units for kind, (_, offer) in knob_offers(platforms or {}).items()}
    known = sections["knobs"] if platforms is not None else {n: g for n, g in sections["knobs"].items() if not _is_of_platform(g)}
    knobs = build_knobs(known, cores, report, units, memory) if known or not sections["knobs"] else []
    mistakes += measure_mistakes
    mode = job.get("mode", "batches")
    read_by_output = job.get("throughput_regex") is not None or (mode == "to_completion" and job.get("ready_regex") is not None)
    metrics = build_metrics(sections["metrics"], sections["knobs"].keys(), report, read_by_output=read_by_output)
    goals = build_goals(
        sections["goal"], sections["knobs"], knobs, settings, report, read_by_output=read_by_output, mode=mode, own=sections["metrics"]
    )
    check_name(job, path, report)
    check_patterns(job, report, metrics_by_regex=any(metric.source == "regex" for metric in metrics.values()))
    check_environment(job, report)
    cwd = _cwd(job, path, report)
    user = _user(job, cwd, report)
    command = tuple(job.get("command", ()))
    if "command" in job:
        check_command(command, sections["knobs"], knobs, job.get("env", {}), report)
        module = module_problem(command, cwd, job.get("env", {}))
        if module:
            report("job.command", module)
        if command and command[0] and not set(placeholders(command[:1])) - set(BUILT_IN_PLACEHOLDERS):
            _program(fill_placeholders(command, dict.fromkeys(placeholders(command), ""), path.parent)[0], job.get("env", {}), user, report)
    if mistakes or goals is None:
        return None
    space = Space(*(knob.knob for knob in knobs))
    made = Job(
        name=job["name"] or path.stem,
        command=command,
        unit=job["unit"],
        knobs=tuple(knobs),
        space=space,
        goal=goals.by_name[goals.chosen],
        measure=MeasureSettings(**{**settings, **{name: tuple(settings[name]) for name in ("energy", "platforms")}}),
        env=MappingProxyType(dict(job["env"])),
        cwd=cwd,
        throughput_regex=job["throughput_regex"],
        ready_regex=job["ready_regex"],
        text=text,
        path=path,
        user=job["user"],
        decimal_mark=job["decimal_mark"],
        env_keep=tuple(job["env_keep"]),
        presets=MappingProxyType(dict(goals.by_name)),
        mode=mode,
        metrics=MappingProxyType(metrics),
    )
    if set(placeholders(command[:1])) - set(BUILT_IN_PLACEHOLDERS):
        _program(made.argv(made.all_max_config())[0], made.env, user, report)
    return made


def _program(program: str, env: Mapping[str, str], user: str | None, report: ReportMistake) -> None:
    problem = program_problem(program, env)
    if problem is None and user is not None:
        problem = access_problem(Path(resolve_program(program, env)), user)
    if problem:
        report("job.command", problem)


def _user(job: Mapping[str, Any], cwd: Path, report: ReportMistake) -> str | None:
    """The user that the job file names; None where it names none, or one that was reported as wrong."""
    user: str | None = job.get("user")
    if user is None:
        return None
    problem = user_problem(user)
    if problem:
        report("job.user", problem)
        return None
    closed = access_problem(cwd, user) if cwd.is_dir() else None
    if closed:
        report("job.cwd", closed)
    return user


def _section(table: dict[str, Any], name: str, report: ReportMistake) -> dict[str, Any]:
    given = table.get(name)
    if isinstance(given, dict):
        return given
    if given is not None:
        report(name, f"expected a table, [{name}], not {toml_text(given)}")
    elif name not in ("measure", "metrics"):
        report(name, f"missing; a job file needs a [{name}] section")
    return {}


def _measure(table: dict[str, Any], report: ReportMistake) -> dict[str, Any]:
    found = check_table(table, MEASURE_KEYS, "measure", report)
    if {"min_seconds", "max_seconds"} <= found.keys() and found["min_seconds"] > found["max_seconds"]:
        report("measure.min_seconds", f"{found['min_seconds']:g} s is longer than measure.max_seconds, {found['max_seconds']:g} s")
    if len(set(found.get("energy", ()))) != len(found.get("energy", ())):
        report("measure.energy", "names a meter twice; name each once, in the order to try them")
    found["stop"] = build_stop(found.get("stop", ()), report)
    if found.get("learn_from") is not None:
        found["learn_from"] = tuple(found["learn_from"])
    return found


def _is_of_platform(given: Any) -> bool:
    return isinstance(given, dict) and "." in str(given.get("kind", ""))


def _platforms(settings: Mapping[str, Any], report: ReportMistake) -> dict[str, Platform] | None:
    """The platforms of the job file by spec; None where one can't be loaded. That is reported, and so is a meter that none of them has."""
    try:
        platforms = load_platforms(settings.get("platforms", ()))
    except PlatformProblem as problem:
        report("measure.platforms", str(problem))
        return None
    meters = [f"{p.name}.{meter}" for p in platforms.values() for meter in p.meters]
    for name in settings.get("energy", ()):
        if "." in name and name not in meters:
            report("measure.energy", f"no platform of measure.platforms has the meter {name!r}{suggestion(name, meters or ['none'])}")
    return platforms


def _core_count(
    knobs: Mapping[str, Any], settings: Mapping[str, Any], n_cpus: int | None, topology: Topology, report: ReportMistake
) -> CoreCount:
    """How many cores the job may ask for under its core policy: CPUs, or physical cores where it has a knob of kind smt."""
    by_smt = any(isinstance(given, dict) and given.get("kind") == "smt" for given in knobs.values())
    if n_cpus is not None:
        return CoreCount(n_cpus)
    names = ("placement", "smt", "housekeeping_cores")
    policy = CorePolicy(**{name: settings[name] for name in names if name in settings})
    order = order_cores(topology.cpus, policy)
    if not order.cpus:
        n = physical_cores(topology.cpus)
        report("measure.housekeeping_cores", f"leaves the job no core: this process may use {n} physical cores; keep fewer free")
        return CoreCount(len(topology.cpus))
    if by_smt and policy.smt == "never":
        report("measure.smt", "'never' stands against the knob of kind smt; leave one of them out")
    kept = f" ({len(order.housekeeping)} more are kept free by measure.housekeeping_cores)" if order.housekeeping else ""
    n, quota = len(order.first_threads if by_smt else order.cpus), cpu_quota()
    return CoreCount(n, bool(order.siblings), kept, n if quota is None else min(n, quota.whole_cpus))


def _cwd(job: dict[str, Any], path: Path, report: ReportMistake) -> Path:
    cwd: Path = path.parent / str(job.get("cwd", "."))
    try:
        if cwd.is_dir():
            return cwd.resolve()
        reason = f"there is no folder {cwd}"
    except OSError as error:
        reason = f"can't look at {shortened(str(cwd), LONGEST_TEXT)}: {error.strerror}"
    report("job.cwd", f"{reason}; give one that exists, absolute or from the job file's folder")
    return path.parent
