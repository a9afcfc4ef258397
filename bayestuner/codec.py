"""Space, goal and outcome as JSON, so that a study or a tuner can be kept and continued without what made it (and without pickle)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

from bayestuner.errors import StoreError
from bayestuner.goal import Bound, Goal
from bayestuner.space import Categorical, Integer, Knob, Ordinal, Space
from bayestuner.trial import Failed, Measured, Outcome, Reading

Json = dict[str, Any]


def plain(value: Any) -> Any:
    """Return `value` with numpy scalars turned into Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def space_to_json(space: Space) -> Json:
    """Describe a space; `space_from_json` makes an equal one of it."""
    return {
        "knobs": [_knob_to_json(knob) for knob in space.knobs],
        "rows": None if space.table is None else space.table.tolist(),
        "allowed": None if space.allowed is None else base64.b64encode(np.packbits(space.allowed).tobytes()).decode("ascii"),
    }


def space_from_json(given: Json) -> Space:
    """Make the space that `space_to_json` described."""
    knobs = [_knob_from_json(knob) for knob in given["knobs"]]
    if given["rows"] is not None:
        rows = [[knob.values[code] for knob, code in zip(knobs, codes, strict=True)] for codes in given["rows"]]
        space = Space.from_rows(knobs, rows)
    else:
        space = Space(*knobs)
    if given["allowed"] is not None:
        if space.n_rows > 8 * len(base64.b64decode(given["allowed"])):
            raise StoreError("the configurations that are allowed are fewer than the space has")
        bits = np.unpackbits(np.frombuffer(base64.b64decode(given["allowed"]), dtype=np.uint8), count=space.n_rows)
        space.allowed = bits.astype(np.bool_)
    return space


def _knob_to_json(knob: Knob) -> Json:
    out = {"kind": knob.kind, "name": knob.name, "values": [plain(v) for v in knob.values], "more_is": knob.more_is}
    return out if knob.hungry_for is None else {**out, "hungry_for": knob.hungry_for}


def _knob_from_json(given: Json) -> Knob:
    name, values = given["name"], given["values"]
    hints = {"more_is": given["more_is"], "hungry_for": given.get("hungry_for")}
    if given["kind"] == Integer.kind:
        whole = len(values) > 0 and all(type(v) is int for v in values)
        step = values[1] - values[0] if whole and len(values) > 1 else 1
        if not whole or values != [values[0] + i * step for i in range(len(values))]:
            raise StoreError(f"the values of the knob {name!r} are no whole numbers at equal steps")
        return Integer(name, values[0], values[-1], step, **hints)
    if given["kind"] == Ordinal.kind:
        return Ordinal(name, values, **hints)
    if given["kind"] == Categorical.kind:
        return Categorical(name, values)
    kind = given["kind"]
    raise StoreError(f"there is a knob {name!r} of the kind {kind!r}, which this version doesn't know; use a newer BayesTuner")


def goal_to_json(goal: Goal) -> Json:
    """Describe a goal, relative bounds included."""
    bounds = [{"metric": b.metric, "sense": b.sense, "limit": b.limit, "relative": b.relative} for b in goal.bounds]
    return {goal.direction: goal.objective, "subject_to": bounds, "text": str(goal)}


def goal_from_json(given: Json) -> Goal:
    """Make the goal that `goal_to_json` described."""
    bounds = [Bound(**b) for b in given["subject_to"]]
    return Goal(minimize=given.get("minimize"), maximize=given.get("maximize"), subject_to=bounds)


def outcome_to_json(outcome: Outcome) -> Json:
    """Describe how a run ended."""
    if isinstance(outcome, Measured):
        metrics = {n: [plain(r.value), plain(r.sd)] for n, r in outcome.metrics.items()}
        return {"state": "measured", "metrics": metrics, "flags": list(outcome.flags)}
    out = {"state": "failed", "kind": outcome.kind, "message": outcome.message}
    return {**out, "limit": outcome.limit} if outcome.limit else out


def outcome_from_json(given: Json) -> Outcome:
    """Make the outcome that `outcome_to_json` described."""
    if given["state"] == "measured":
        return Measured({n: Reading(value, sd) for n, (value, sd) in given["metrics"].items()}, tuple(given["flags"]))
    return Failed(given["kind"], given["message"], given.get("limit", ""))


def dump(value: Any) -> str:
    """JSON text of a value to store. Whatever a run reported is made valid JSON, so that nothing in it prevents its being stored."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_default)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), default=_default)


def _finite(value: Any) -> Any:
    """The value with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _default(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def dump_or_none(value: Any) -> str | None:
    """The same, and None for None (a column that is NULL)."""
    return None if value is None else dump(value)
