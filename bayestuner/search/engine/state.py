"""A tuner as JSON and back: what it was made of, and everything that was asked and told, in order.

A tuner's choices depend on nothing else, so that one made anew and put through the same events is the same, bit for bit, with its
outstanding trials. Another version, or numbers rounded by another machine, may choose otherwise: the trials stay what they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from bayestuner._version import __version__
from bayestuner.codec import Json, goal_from_json, goal_to_json, outcome_from_json, outcome_to_json, space_from_json, space_to_json
from bayestuner.errors import InvalidState, SpaceExhausted
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.search.strategy import Strategy

FORMAT = 1
OPTIONS = ("seed", "budget", "threads", "confidence", "min_p_feasible", "samples", "family", "form")


def state_of(tuner: Strategy, options: dict[str, Any], history: tuple[EarlierStudy, ...]) -> Json:
    """Everything that `restored` needs, of plain types only."""
    return {
        "format": FORMAT,
        "version": __version__,
        "space": space_to_json(tuner.space),
        "options": dict(options),
        "history": [_study_to_json(study) for study in history],
        "events": [_event_to_json(*event) for event in tuner.events],
    }


def restored(make: Callable[..., Any], state: Any) -> Any:
    """The tuner that `state_of` described; `make` is its class.

    Raises
    ------
    InvalidState
        For what is no such state, or one of a newer version.
    """
    if not isinstance(state, dict) or "format" not in state:
        raise InvalidState(f"from_state takes what state() gave, a dict with its format, not {_short(state)}")
    if state["format"] != FORMAT:
        raise InvalidState(
            f"the state has the format {state['format']!r} (written by version {state.get('version')!r}); this version reads {FORMAT}"
        )
    try:
        space = space_from_json(state["space"])
        history = [_study_from_json(study) for study in state["history"]]
        options = {name: state["options"][name] for name in OPTIONS}
        (kind_of_event, first_goal), *events = state["events"]
        if kind_of_event != "goal":
            raise ValueError("the first event is not a goal")
        tuner = make(space, goal_from_json(first_goal), history=history, **options)
        for event in events:
            _replay(tuner, *event)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InvalidState(f"the state can't be read: {type(error).__name__}: {error}; give it as state() gave it") from error
    return tuner


def _event_to_json(kind: str, *given: Any) -> list[Any]:
    if kind == "goal":
        return [kind, goal_to_json(given[0])]
    if kind == "tell":
        return [kind, given[0], outcome_to_json(given[1])]
    if kind == "tell_many":
        return [kind, [[number, outcome_to_json(outcome)] for number, outcome in given[0]]]
    return [kind, *given]


def _replay(tuner: Any, kind: str, *given: Any) -> None:
    if kind == "ask":
        row, repeat = int(given[0]), bool(given[1])
        try:
            chosen = tuner._next()
        except SpaceExhausted:
            chosen = (-1, False)
        if chosen != (row, repeat):
            warnings.warn(
                f"trial {len(tuner.trials)} is {tuner.space.config(row)}, and would now be another configuration (another version or "
                "machine?); the stored ones are kept and the search goes on from them",
                stacklevel=5,
            )
        tuner._ask_row(row, repeat)
    elif kind == "adopt":
        tuner.adopt(tuner.space.config(int(given[0])))
    elif kind == "tell":
        tuner.tell_outcome(tuner.trials[int(given[0])], outcome_from_json(given[1]))
    elif kind == "tell_many":
        tuner.tell_many((tuner.trials[int(number)], outcome_from_json(outcome)) for number, outcome in given[0])
    elif kind == "goal":
        tuner.retarget(goal_from_json(given[0]))
    else:
        raise InvalidState(f"the state has an event {kind!r}, which this version doesn't know; use a newer BayesTuner")


def _study_to_json(study: EarlierStudy) -> Json:
    trials = [[dict(config), outcome_to_json(outcome)] for config, outcome in study.trials]
    goal = None if study.goal is None else goal_to_json(study.goal)
    return {"name": study.name, "space": space_to_json(study.space), "trials": trials, "goal": goal}


def _study_from_json(given: Json) -> EarlierStudy:
    trials = [(config, outcome_from_json(outcome)) for config, outcome in given["trials"]]
    goal = None if given["goal"] is None else goal_from_json(given["goal"])
    return EarlierStudy(given["name"], space_from_json(given["space"]), trials, goal)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
