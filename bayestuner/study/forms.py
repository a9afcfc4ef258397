"""What may stand in a study's file: the form of every JSON column, checked at the one door before anything of it is used.

A study may come from somebody else, be cut short by a full disk, or be edited by hand. What has another form than BayesTuner writes is
refused here in one sentence, so that no later line has to ask what it was given. Keys that no line reads may hold anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from bayestuner.errors import StoreError

MAX_DEPTH = 40
"""Lists and objects of a column may be nested this deep; what BayesTuner writes stays under ten."""

Check = Callable[[Any, str], None]
"""Raises `WrongForm` unless a value, which stands at the given place, has the form."""


class WrongForm(StoreError):
    """Something in a study has another form than BayesTuner writes."""


def load(text: Any, check: Check, where: str) -> Any:
    """The value of a JSON text that has the form.

    Raises
    ------
    WrongForm
        It is no JSON, nested too deep, or has another form.
    """
    if not isinstance(text, str):
        raise WrongForm(f"{where} is no text")
    try:
        value = json.loads(text, parse_constant=_no_number)
        _check_depth(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:  # no JSON, a number too long, NaN, nested too deep
        raise WrongForm(f"{where} can't be read ({error})") from None
    check(value, where)
    return value


def load_or_none(text: Any, check: Check, where: str) -> Any:
    """The same, and None for a column that is NULL."""
    return None if text is None else load(text, check, where)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        if isinstance(one, (dict, list)):
            _check_depth(one, left - 1)


# -- forms ------------------------------------------------------------------------------------------------------------------


def text(value: Any, where: str) -> None:
    """Any text that can be encoded."""
    if not isinstance(value, str):
        raise WrongForm(f"{where} is {_shown(value)}, where a text belongs")


def flag(value: Any, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongForm(f"{where} is {_shown(value)}, where true or false belongs")


def number(value: Any, where: str) -> None:
    """A finite number, within double precision."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise WrongForm(f"{where} is {_shown(value)}, where a number belongs")


def whole(least: int, most: int = 2**63 - 1) -> Check:
    """A whole number from `least` to `most`."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise WrongForm(f"{where} is {_shown(value)}, where a whole number from {least} to {most} belongs")

    return check


def one_of(*words: str) -> Check:
    """One of some words."""

    def check(value: Any, where: str) -> None:
        if value not in words or not isinstance(value, str):
            raise WrongForm(f"{where} is {_shown(value)}, where {', '.join(words[:-1])} or {words[-1]} belongs")

    return check


def time(value: Any, where: str) -> None:
    """A time of day with its offset, ISO 8601."""
    text(value, where)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise WrongForm(f"{where} is {_shown(value)}, where a time such as 2026-01-31T12:00:00+00:00 belongs")


def scalar(value: Any, where: str) -> None:
    """A value of a knob: a number, a text or a boolean."""
    if not isinstance(value, (str, bool)):
        number(value, where)


def maybe(check: Check) -> Check:
    """The form, or null."""

    def inner(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return inner


def list_of(check: Check, *, length: int | None = None) -> Check:
    """A list, each entry of a form."""

    def inner(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise WrongForm(f"{where} is {_shown(value)}, where a list belongs")
        if length is not None and len(value) != length:
            raise WrongForm(f"{where} has {len(value)} entries, where {length} belong")
        for position, one in enumerate(value):
            check(one, f"{where}[{position}]")

    return inner


def entries(*checks: Check) -> Check:
    """A list of exactly these forms, one an entry."""

    def inner(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) != len(checks):
            raise WrongForm(f"{where} is {_shown(value)}, where a list of {len(checks)} belongs")
        for position, (check, one) in enumerate(zip(checks, value, strict=True)):
            check(one, f"{where}[{position}]")

    return inner


def dict_of(check: Check) -> Check:
    """An object with any keys, each value of a form."""

    def inner(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise WrongForm(f"{where} is {_shown(value)}, where an object belongs")
        for key, one in value.items():
            check(one, f"{where}.{_shown_key(key)}")

    return inner


def keys(needed: Mapping[str, Check], allowed: Mapping[str, Check] | None = None) -> Check:
    """An object that has the needed keys and may have those allowed, each of its form; others may hold anything."""
    forms = {**needed, **(allowed or {})}

    def inner(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise WrongForm(f"{where} is {_shown(value)}, where an object belongs")
        missing = [key for key in needed if key not in value]
        if missing:
            raise WrongForm(f"{where} lacks {', '.join(missing)}")
        for key, check in forms.items():
            if key in value:
                check(value[key], f"{where}.{key}")

    return inner


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    try:
        found = json.dumps(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a number that is too large"
    return found if len(found) <= 60 else found[:57] + "..."


def _shown_key(key: str) -> str:
    return key if len(key) <= 40 else key[:37] + "..."


# -- the columns ------------------------------------------------------------------------------------------------------------

RACE_RULES = keys({"repeats": whole(1), "launches": whole(1), "confidence": number})


def race_rules(value: Any, where: str) -> None:
    """The rules of a race, or none at all: of a search that came to no race."""
    if value != {}:
        RACE_RULES(value, where)


CONFIG = dict_of(scalar)
SPACE = keys(
    {
        "knobs": list_of(
            keys(
                {"kind": text, "name": text, "values": list_of(scalar), "more_is": maybe(one_of("safer", "riskier"))},
                {"hungry_for": maybe(text)},
            )
        ),
        "rows": maybe(list_of(list_of(whole(0)))),
        "allowed": maybe(text),
    }
)
GOAL = keys(
    {"subject_to": list_of(keys({"metric": text, "sense": one_of(">=", "<="), "limit": number, "relative": flag}))},
    {"minimize": text, "maximize": text, "text": text},
)
MEASURED = keys({"state": one_of("measured"), "metrics": dict_of(list_of(maybe(number), length=2)), "flags": list_of(text)})
FAILED = keys({"state": one_of("failed"), "kind": text, "message": text}, {"limit": text})
OWNER = keys({"pid": whole(0), "start_ticks": whole(0), "boot_id": text, "token": text}, {"pid_namespace": whole(0)})
DETAILS = keys(
    {},
    {
        "argv": maybe(list_of(text)),
        "cpus": maybe(list_of(whole(0))),
        "cwd": maybe(text),
        "duration_s": maybe(number),
        "env": maybe(dict_of(text)),
        "estimated": maybe(flag),
        "flags": maybe(list_of(text)),
        "isolation": maybe(text),
        "memory_max": maybe(whole(0)),
        "mems": maybe(list_of(whole(0))),
        "outside_share": maybe(number),
        "power_source": maybe(text),
        "settings": maybe(list_of(keys({"knob": text, "target": text, "asked": scalar}))),
        "user": maybe(text),
    },
)
MEASURE = keys(
    {}, {"memory_headroom": maybe(number), "repeats": whole(0), "launches": maybe(whole(0)), "confidence": number, "budget": whole(0)}
)
JOB = keys(
    {},
    {
        "unit": text,
        "text": text,
        "path": text,
        "cwd": text,
        "measure": MEASURE,
        "metrics": maybe(dict_of(keys({"unit": text}))),
        "knobs": dict_of(text),
        "knob_variables": dict_of(maybe(text)),
        "knob_units": dict_of(entries(maybe(number), maybe(number))),
    },
)
RESULT = keys(
    {},
    {
        "complete": maybe(flag),
        "recommended": maybe(CONFIG),
        "nearest": maybe(CONFIG),
        "rejected": list_of(CONFIG),
        "candidates": list_of(CONFIG),
        "verdict": maybe(one_of("better", "no_improvement", "none_meets")),
        "stop_reason": maybe(text),
        "stopped_by": maybe(text),
        "command": list_of(text),
        "env": dict_of(text),
        "user": maybe(text),
        "notes": list_of(text),
        "searched": maybe(whole(0)),
        "launched_before": maybe(whole(0)),
        "rules": maybe(race_rules),
    },
)


def outcome(value: Any, where: str) -> None:
    """Measured or failed, by its state."""
    keys({"state": one_of("measured", "failed")})(value, where)
    (MEASURED if value["state"] == "measured" else FAILED)(value, where)
    for name, (reading, _) in value.get("metrics", {}).items():
        number(reading, f"{where}.metrics.{_shown_key(name)}[0]")


HISTORY = list_of(keys({"name": text, "space": SPACE, "goal": maybe(GOAL), "trials": list_of(entries(list_of(scalar), outcome))}))
FACTS = keys(
    {},
    {
        "meter": maybe(keys({"source": text, "estimated": flag, "boundary": maybe(text)})),
        "idle": keys({"power_w": number}),
        "programs": dict_of(text),
        "history": HISTORY,
    },
)
