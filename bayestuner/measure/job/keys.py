"""A key of a section of a job file, the types its value may have, and the check of a section against its keys."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class _Required:
    """Marks a key without a default."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()

ReportMistake = Callable[[str, str], None]
"""Called once for each mistake, as ``report(dotted key, what is wrong and what to do)``."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    Parameters
    ----------
    name : str
    type : str
        A name in `TYPES`.
    default : object
        The value of the key where it is left out; `REQUIRED` where it may not be left out.
    unit : str
        Unit of the value, as the reference shows it.
    low, high : float, optional
        The smallest and the largest allowed value.
    exclusive_low : bool
        Whether the value has to be above `low`, not equal to it.
    choices : tuple of str
        The allowed texts (of a text, or of each element of a list of texts).
    allow_dotted : bool
        Whether texts with a dot are allowed beside `choices`: they name knobs or meters of platforms, which the caller checks.
    description : str
        What the reference says of the key.
    """

    name: str
    type: str
    description: str
    default: Any = REQUIRED
    unit: str = ""
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    choices: tuple[str, ...] = ()
    allow_dotted: bool = False


LONGEST_TEXT = 1000
MOST_ELEMENTS = 10_000
"""Longer texts and lists of a job file are slips, and would make every message about them endless."""

_SHOWN = 80
_SHOWN_DEPTH = 5


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _fits_64_bits(value: Any) -> bool:
    """Whether a number is none of the whole numbers that neither TOML nor any program but Python knows."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_values(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, (str, bool)) or (_is_number(v) and _fits_64_bits(v)) for v in value)


def _is_table_of_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())


def _is_table_of_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", lambda v: isinstance(v, str)),
    "integer": ("a whole number", _is_integer),
    "number": ("a number", _is_number),
    "boolean": ("true or false", lambda v: isinstance(v, bool)),
    "texts": ("a list of texts", _is_texts),
    "values": ("a list of numbers or of texts", _is_values),
    "text table": ("a table of texts", _is_table_of_texts),
    "tables": ("a table of tables", _is_table_of_tables),
    "number or auto": ('a whole number or "auto"', lambda v: _is_integer(v) or v == "auto"),
    "number or all": ('a whole number or "all"', lambda v: _is_integer(v) or v == "all"),
    "pattern": ("a regular expression", lambda v: isinstance(v, str)),
}


def toml_text(value: Any) -> str:
    """A value of a job file as it stands there, for messages: ``true`` and not Python's ``True``; what is long or deep is cut."""
    return shortened(_toml_text(value, _SHOWN_DEPTH), _SHOWN)


def _toml_text(value: Any, depth: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)) and depth == 0:
        return "..."
    if isinstance(value, list):
        return f"[{', '.join(_toml_text(inner, depth - 1) for inner in value[:_SHOWN])}]"
    if isinstance(value, dict):
        inside = (f"{name} = {_toml_text(inner, depth - 1)}" for name, inner in list(value.items())[:_SHOWN])
        return f"{{ {', '.join(inside)} }}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return f"a whole number of {value.bit_length()} bits" if isinstance(value, int) and value.bit_length() > _SHOWN else repr(value)


def shortened(text: str, longest: int) -> str:
    """The text, cut in its middle where it is longer than that."""
    return text if len(text) <= longest else f"{text[: longest - longest // 3]} ... {text[-longest // 3 :]}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known word, else ``"; known: a, b, c"``."""
    names = list(known)[:MOST_ELEMENTS]
    close = difflib.get_close_matches(word[:LONGEST_TEXT], names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {shortened(', '.join(names), LONGEST_TEXT)}"


def check_table(
    table: Mapping[str, Any], keys: Iterable[Key], prefix: str, report: ReportMistake, *, extra: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check one section of a job file against its keys.

    Parameters
    ----------
    table : dict
        The section as read.
    keys : iterable of Key
        The keys it may hold.
    prefix : str
        Dotted name of the section, for messages.
    report : callable
        Called once for each mistake.
    extra : tuple of str
        Names of further keys that the caller checks itself.

    Returns
    -------
    dict
        Name of the key -> its value, or its default where it is left out. A key whose value is wrong is reported and not in it.
    """
    known = {key.name: key for key in keys}
    for name in table:
        if name not in known and name not in extra:
            report(f"{prefix}.{name}", "unknown key" + suggestion(name, [*extra, *known]))
    found: dict[str, Any] = {}
    for name, key in known.items():
        if name not in table:
            if key.default is REQUIRED:
                report(f"{prefix}.{name}", f"missing; give {TYPES[key.type][0]}")
            else:
                found[name] = key.default
            continue
        problem = problem_with(table[name], key)
        if problem:
            report(f"{prefix}.{name}", problem)
        else:
            found[name] = table[name]
    return found


def problem_with(value: Any, key: Key) -> str | None:
    """What is wrong with a key's value, or None."""
    words, fits = TYPES[key.type]
    if not fits(value):
        return f"expected {words}, not {toml_text(value)}"
    if isinstance(value, (list, dict)) and len(value) > MOST_ELEMENTS:
        return f"holds {len(value)} elements; give at most {MOST_ELEMENTS}"
    if key.type in ("text", "pattern") and len(value) > LONGEST_TEXT:
        return f"is {len(value)} characters long; {LONGEST_TEXT} are allowed"
    if key.choices:
        for given in value if isinstance(value, list) else [value]:
            if given not in key.choices and not (key.allow_dotted and "." in given):
                return (
                    f"{toml_text(given)} is not one of {', '.join(key.choices)}"
                    + suggestion(str(given), key.choices).partition("; known")[0]
                )
    if key.type in ("text", "values"):
        for given in value if isinstance(value, list) else [value]:
            if isinstance(given, str) and not given.isprintable():
                return f"{toml_text(given)} holds a character that can't be printed; leave it out, since it would show in every table"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _range_problem(value, key)
    if key.type == "pattern":
        return _pattern_problem(value)
    return None


def _range_problem(value: float, key: Key) -> str | None:
    unit = f" {key.unit}" if key.unit not in ("", "1", "as named") else ""
    if key.low is not None and (value < key.low or (key.exclusive_low and value == key.low)):
        return f"expected {'more than' if key.exclusive_low else 'at least'} {key.low:g}{unit}, not {toml_text(value)}"
    if key.high is not None and value > key.high:
        return f"expected at most {key.high:.12g}{unit}, not {toml_text(value)}"
    if not _fits_64_bits(value):
        return f"expected a number of 64 bits, not {toml_text(value)}"
    return None


def _pattern_problem(value: str) -> str | None:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return None
