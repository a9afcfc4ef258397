"""Earlier studies as JSON, among the facts that a study was begun with: it keeps the history it began with, whatever becomes of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayestuner.codec import Json, goal_from_json, goal_to_json, outcome_from_json, outcome_to_json, plain, space_from_json, space_to_json
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.trial import Measured

KEY = "history"
"""Of the facts recorded at a study's first start."""


def history_to_json(study: EarlierStudy) -> Json:
    """Describe what a search learns from; `history_from_json` makes an equal study of it."""
    trials = [
        [[plain(config[name]) for name in study.space.names], outcome_to_json(Measured(metrics))] for config, metrics in study.latest()
    ]
    goal = None if study.goal is None else goal_to_json(study.goal)
    return {"name": study.name, "space": space_to_json(study.space), "goal": goal, "trials": trials}


def history_from_json(given: Json) -> EarlierStudy:
    """Make the study that `history_to_json` described."""
    space = space_from_json(given["space"])
    trials = [(dict(zip(space.names, values, strict=True)), outcome_from_json(outcome)) for values, outcome in given["trials"]]
    return EarlierStudy(given["name"], space, trials, None if given["goal"] is None else goal_from_json(given["goal"]))


def stored_history(provenance: Sequence[Mapping[str, Any]]) -> list[EarlierStudy]:
    """The earlier studies that a study was begun with, from the facts of its starts."""
    return [history_from_json(given) for given in (provenance[0].get(KEY, []) if provenance else [])]
