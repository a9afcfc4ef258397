"""What the final launches of a study decided, and how each configuration that was launched came out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayestuner.goal import Goal
from bayestuner.study.figures import Figure
from bayestuner.study.finals import judge_finals, race_rules
from bayestuner.study.pairing import paired_changes
from bayestuner.study.race import Judgement, Verdict
from bayestuner.study.rounds import rounds_of
from bayestuner.study.sides import Side, side_of
from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Config


@dataclass(frozen=True, slots=True)
class Contender:
    """A configuration that was launched at the end.

    Attributes
    ----------
    side : Side
        Its figures.
    is_default : bool
    launches, failures : int
    chance_better : float
        That it is better than the default: in the objective, or because the default misses the goal.
    chance_holds : float
        That every bound holds.
    changes : dict
        Metric -> relative change against the default, round by round.
    """

    side: Side
    is_default: bool
    launches: int
    failures: int
    chance_better: float
    chance_holds: float
    changes: Mapping[str, Figure]

    def as_dict(self, objective: str) -> dict[str, Any]:
        """JSON-able form."""
        change = self.changes.get(objective)
        return {
            "config": self.side.config,
            "is_default": self.is_default,
            "launches": self.launches,
            "failures": self.failures,
            "meets_goal": self.side.meets_goal,
            "chance_better": self.chance_better,
            "chance_holds": self.chance_holds,
            "objective_change": None if change is None else change.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of the race.

    Attributes
    ----------
    verdict : Verdict
    confidence : float
        What "shown" means: see `bayestuner.study.race.RaceRules`.
    contenders : tuple of Contender
        Everything launched, in the order of first launches.
    leader : dict or None
        The configuration with the best objective of those shown to be better: another than the recommended one where that one is as
        good and takes less of the machine.
    """

    verdict: Verdict
    confidence: float
    contenders: tuple[Contender, ...]
    leader: Config | None

    def contender(self, config: Config | None) -> Contender | None:
        """How a configuration came out of it."""
        return next((c for c in self.contenders if c.side.config == config), None)

    @property
    def default(self) -> Contender | None:
        """The default configuration's part."""
        return next((c for c in self.contenders if c.is_default), None)

    def as_dict(self, goal: Goal) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "verdict": self.verdict,
            "confidence": self.confidence,
            "contenders": [c.as_dict(goal.objective) for c in self.contenders],
            "leader": self.leader,
        }


def decide(
    study: Study, records: Sequence[Record], candidates: Sequence[int], judged: Goal | None, goal: Goal | None = None
) -> tuple[Decision, Judgement] | None:
    """Judge the final launches by the study's goal, or by another; None where there are none.

    Parameters
    ----------
    judged : Goal
        With absolute bounds, for the means of the figures.
    """
    found = judge_finals(study, records, candidates, goal)
    if found is None:
        return None
    rounds, default = list(rounds_of(records).values()), found.figures.default
    contenders = [
        Contender(
            side_of(study, records, row, judged),
            row == default,
            standing.launches,
            standing.failures,
            standing.p_better,
            standing.p_holds,
            {} if default is None or row == default else paired_changes(rounds, row, default),
        )
        for row, standing in found.standings.items()
    ]
    leader = None if found.leader is None else study.space.config(found.leader)
    return Decision(found.verdict, race_rules(study).confidence, tuple(contenders), leader), found
