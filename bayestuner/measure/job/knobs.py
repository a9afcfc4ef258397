"""The [knobs] section of a job file: its knobs are checked and made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bayestuner.errors import InvalidSpace
from bayestuner.measure.actuators.cpu_frequency import UNITS as CLOCK_UNITS
from bayestuner.measure.actuators.power_cap import UNITS as POWER_UNITS
from bayestuner.measure.job.command import BUILT_IN_PLACEHOLDERS, text_of
from bayestuner.measure.job.keys import ReportMistake, check_table, suggestion, toml_text
from bayestuner.measure.job.schema import KNOB_KINDS
from bayestuner.measure.machine.memory import MemoryBound, memory_text
from bayestuner.measure.metrics import METRICS
from bayestuner.space import Categorical, Integer, Knob, Ordinal

ONE_AT_MOST = ("cores", "memory", "smt")
MAX_VALUES = 10_000
Units = Mapping[str, Mapping[str, float]]
SETTING_UNITS: Units = {"cpu_frequency": CLOCK_UNITS, "power_cap": POWER_UNITS}
MAX_CONFIGS = 5_000_000
MAX_KNOBS = 50
LONGEST_NAME = 60
_MEMORY_UNITS = {"mib": 1 << 20, "gib": 1 << 30, "kib": 1 << 10, "bytes": 1}
_OWN_VARIABLES = {"CORES": "cores", "MEMORY_BYTES": "memory"}


@dataclass(frozen=True, slots=True)
class JobKnob:
    """A knob, and how its values take effect.

    Attributes
    ----------
    knob : Knob
        Its name and values, as the search sees it.
    kind : str
        One of `bayestuner.measure.job.schema.KNOB_KINDS`, or ``platform.kind``.
    unit_bytes : int
        How many bytes one unit of a knob of kind memory is; 1 for every other kind.
    variable : str or None
        The environment variable of a knob of kind environment.
    scale : float
        For a knob that is a setting of the machine or of a platform: how many of the actuator's units one unit of the knob is; else 1.
    """

    knob: Knob
    kind: str
    unit_bytes: int = 1
    variable: str | None = None
    scale: float = 1.0

    @property
    def name(self) -> str:
        """The knob's name."""
        return self.knob.name


@dataclass(frozen=True, slots=True)
class CoreCount:
    """How many cores a job may ask for on this machine.

    Attributes
    ----------
    n : int
        The largest number.
    n_all : int or None
        What ``max = "all"`` means; None: `n`. It is fewer where a CPU quota allows less than all CPUs at once.
    has_siblings : bool
        Whether second threads of cores may be used.
    kept_free : str
        A clause for messages about the cores that are kept free of jobs; empty where none are.
    """

    n: int
    has_siblings: bool = True
    kept_free: str = ""
    n_all: int | None = None


def build_knobs(
    table: Mapping[str, Any],
    cores: CoreCount,
    report: ReportMistake,
    units: Units | None = None,
    memory: MemoryBound | None = None,
) -> list[JobKnob]:
    """Make the knobs of the [knobs] section; a knob that is wrong is reported and left out.

    Parameters
    ----------
    table : dict
        The section as read.
    cores : CoreCount
    report : callable
    units : dict of str to dict, optional
        The kinds of knobs that platforms offer, each with the units with which a knob's name may end.
    memory : MemoryBound, optional
        The most that a memory knob may ask for; by default anything.
    """
    units = {**SETTING_UNITS, **(units or {})}
    if len(table) > MAX_KNOBS:
        report("knobs", f"{len(table)} knobs; a search of {MAX_KNOBS} at most can be made")
        return []
    made = (_build_knob(name, given, cores, units, memory, report) for name, given in table.items())
    knobs = [knob for knob in made if knob is not None]
    if not table:
        report("knobs", 'no knob; give at least one, as in cores = { kind = "cores", min = 1, max = "all" }')
    for kind in (*ONE_AT_MOST, *units):
        of_kind = [knob.name for knob in knobs if knob.kind == kind]
        for name in of_kind[1:]:
            report(f"knobs.{name}", f"a second knob of kind {kind}, after {of_kind[0]!r}; a job has one at most")
    _check_variables(knobs, report)
    n_configs = 1
    for knob in knobs:
        n_configs *= len(knob.knob)
    if n_configs > MAX_CONFIGS:
        report("knobs", f"these knobs make {n_configs} configurations, more than the {MAX_CONFIGS} that are searched; use a larger step")
    return knobs


def _build_knob(name: str, given: Any, cores: CoreCount, units: Units, memory: MemoryBound | None, report: ReportMistake) -> JobKnob | None:
    key = f"knobs.{name}"
    if not isinstance(given, dict):
        report(key, f'expected a table like {{ kind = "argument", values = [1, 2, 4] }}, not {toml_text(given)}')
        return None
    name_problem = _name_problem(name)
    if name_problem:
        report(key, name_problem)
        return None
    kind = given.get("kind")
    kinds = [*KNOB_KINDS, *(k for k in units if k not in KNOB_KINDS)]
    if not isinstance(kind, str) or kind not in kinds:
        wrong = f"unknown kind {toml_text(kind)}" + suggestion(str(kind), kinds)
        report(f"{key}.kind", wrong if kind is not None else f"missing; one of {', '.join(kinds)}")
        return None
    problems: list[str] = []

    def note(where: str, problem: str) -> None:
        problems.append(problem)
        report(where, problem)

    found = check_table(given, KNOB_KINDS.get(kind, KNOB_KINDS["argument"])[1], key, note, extra=("kind",))
    unit_bytes = round(_in_units(name, key, _MEMORY_UNITS, "memory", note)) if kind == "memory" else 1
    scale = _in_units(name, key, units[kind], "setting", note) if units.get(kind) else 1.0
    if problems:
        return None
    values = _values(found, given, kind, key, cores, note)
    if values is None or (kind == "environment" and not _variable_fits(found["variable"], key, note)):
        return None
    if kind == "memory" and memory is not None and max(values) * unit_bytes > memory.n_bytes:
        most = memory.n_bytes // unit_bytes
        advice = f"use at most {most}" if most else "name the knob in a smaller unit"
        report(key, f"asks for up to {memory_text(max(values) * unit_bytes)}, but {memory.reason}; {advice}")
        return None
    if not _values_distinct(values, key, note) or not _values_ordered(values, found, key, note):
        return None
    try:
        knob = _space_knob(name, values, kind, found.get("ordered"))
    except InvalidSpace as error:
        report(key, str(error))
        return None
    return JobKnob(knob, kind, unit_bytes, found.get("variable"), scale)


def _name_problem(name: str) -> str | None:
    if not name.isidentifier() or not name.isascii():
        return "a knob's name is a word of letters, digits and underscores that doesn't begin with a digit"
    if len(name) > LONGEST_NAME:
        return f"a knob's name has at most {LONGEST_NAME} characters"
    if name in METRICS:
        return f"{name!r} is the name of a metric that runs report; call the knob something else"
    if name in BUILT_IN_PLACEHOLDERS or name.upper() == "FD":
        return f"{name!r} is taken by BayesTuner itself; call the knob something else"
    return None


def _in_units(name: str, key: str, units: Mapping[str, float], what: str, report: ReportMistake) -> float:
    """How many bytes (for memory) or units of the actuator one unit of a knob is, from the unit with which its name ends."""
    unit = name.lower().rpartition("_")[2]
    if unit not in units:
        *others, last = [f"{what}_{end}" for end in units]
        names = f"{', '.join(others)} or {last}" if others else last
        report(key, f"a {what} knob's name says its unit: call it {names}, not {name!r}")
    return units.get(unit, 1)


def _values(
    found: Mapping[str, Any], given: Mapping[str, Any], kind: str, key: str, cores: CoreCount, report: ReportMistake
) -> Sequence[Any] | None:
    """The values of a knob, from the key `values` or from min, max and step; None where they were reported as wrong."""
    if kind == "smt":
        if not cores.has_siblings:
            report(key, "no second thread of a core may be used here (SMT is off, hidden or kept from this process); leave this knob out")
            return None
        return (False, True)
    if "values" in given:
        extra = [name for name in ("min", "max", "step") if name in given]
        if extra:
            report(f"{key}.{extra[0]}", "given beside values; give either values, or min and max (and step)")
            return None
        values: Sequence[Any] = found["values"]
        if not values:
            report(f"{key}.values", "an empty list; give at least one value")
            return None
    else:
        missing = [name for name in ("min", "max") if name not in given]
        if missing:
            report(f"{key}.{missing[0]}", "missing; give min and max (and step), or values")
            return None
        low, high, step = found["min"], found["max"], found["step"]
        high = (cores.n_all or cores.n) if high == "all" else high
        if high < low:
            report(f"{key}.max", f"the range is empty: max, {high!r}, is below min, {low!r}")
            return None
        fractional = any(isinstance(v, float) for v in (low, high))
        if fractional and "step" not in given:
            report(f"{key}.step", "missing; a range with a fractional end needs a step")
            return None
        steps = (high - low) / step + 1e-9  # infinite where the ends are so far apart, or the step is so small
        if not steps < MAX_VALUES:
            report(f"{key}.step", f"the range has more than {MAX_VALUES} values; use a larger step")
            return None
        values = [_tidy(low + i * step) for i in range(int(steps) + 1)]
    return values if _values_fit(values, kind, key, cores, report) else None


def _tidy(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.12g}")  # 0.1 + 2 * 0.1 is 0.3, for people and for the job


def _values_distinct(values: Sequence[Any], key: str, report: ReportMistake) -> bool:
    """Whether no two values are equal, or the same text to the job; reported where two are."""
    first_at: dict[Any, int] = {}
    for index, value in enumerate(values):
        for same in (value, ("text", text_of(value))):
            first = values[first_at.setdefault(same, index)]
            if first_at[same] != index:
                twice = f"{toml_text(first)} twice"
                if toml_text(first) != toml_text(value):
                    twice = f"{toml_text(first)} and {toml_text(value)}, which are one value to the job or the search"
                report(f"{key}.values", f"holds {twice}; give each value once")
                return False
    return True


def _values_ordered(values: Sequence[Any], found: Mapping[str, Any], key: str, report: ReportMistake) -> bool:
    """Whether numbers are in rising order, which they have to be in unless `ordered` is false; reported where they aren't."""
    if found.get("ordered") is False or any(isinstance(value, (bool, str)) for value in values):
        return True
    for before, after in pairwise(values):
        if after < before:
            remedy = "; sort them, or say ordered = false where neighbours aren't alike" if "ordered" in found else "; sort them"
            report(f"{key}.values", f"holds {toml_text(after)} after {toml_text(before)}, but numbers stand in rising order{remedy}")
            return False
    return True


def _values_fit(values: Sequence[Any], kind: str, key: str, cores: CoreCount, report: ReportMistake) -> bool:
    if kind in SETTING_UNITS:
        for value in values:
            if isinstance(value, (bool, str)) or not value > 0:
                report(f"{key}.values", f"a knob of kind {kind} takes numbers above 0, not {toml_text(value)}")
                return False
    if kind not in ("cores", "memory"):
        return True
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            report(f"{key}.values", f"a knob of kind {kind} takes whole numbers of at least 1, not {toml_text(value)}")
            return False
    if kind == "cores" and max(values) > cores.n:
        report(key, f'asks for up to {max(values)} cores, but this process may use {cores.n}{cores.kept_free}; use max = "all"')
        return False
    return True


def _variable_fits(variable: str, key: str, report: ReportMistake) -> bool:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        report(f"{key}.variable", f"{variable!r} is no name of an environment variable")
        return False
    if variable.startswith("BAYESTUNER_"):
        report(f"{key}.variable", f"{variable!r} is set by BayesTuner itself; name the variable that your program reads")
        return False
    return True


def _space_knob(name: str, values: Sequence[Any], kind: str, ordered: bool | None) -> Knob:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if kind == "smt":
        return Ordinal(name, values)
    if not (numbers if ordered is None else ordered):
        return Categorical(name, values)
    more_is: Any = "safer" if kind == "memory" else None
    if numbers and all(isinstance(v, int) for v in values):
        step = values[1] - values[0] if len(values) > 1 else 1
        if step > 0 and list(values) == list(range(values[0], values[-1] + 1, step)):
            return Integer(name, values[0], values[-1], step, more_is=more_is)
    return Ordinal(name, values, more_is=more_is)


def _check_variables(knobs: Sequence[JobKnob], report: ReportMistake) -> None:
    """Check that no two knobs need the same environment variable, BAYESTUNER_<KNOB> or one of their own."""
    seen: dict[str, str] = {}
    for knob in knobs:
        upper = knob.name.upper()
        if upper in seen:
            report(f"knobs.{knob.name}", f"gives the same variable, BAYESTUNER_{upper}, as {seen[upper]!r}; rename one")
        seen.setdefault(upper, knob.name)
        if _OWN_VARIABLES.get(upper, knob.kind) != knob.kind:
            report(f"knobs.{knob.name}", f"BAYESTUNER_{upper} is what the knob of kind {_OWN_VARIABLES[upper]} sets; rename this one")
    taken: dict[str, str] = {}
    for knob in knobs:
        if knob.variable is not None and taken.setdefault(knob.variable, knob.name) != knob.name:
            first = taken[knob.variable]
            report(f"knobs.{knob.name}.variable", f"{knob.variable!r} is set by the knob {first!r} too; use each variable once")
