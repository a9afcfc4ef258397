"""The race at the end of a search: candidates and the default configuration, launched in rounds until one is shown to be better.

A best-arm identification with bounds. Only final launches decide: the search's own readings were selected for their luck, so they say
whom to launch and nothing more. Everything here is a function of the launches made so far; a race that was interrupted goes on from them.

A claim is looked for after `repeats` launches, twice and four times as many, and at the end, not after every launch; and the chance of a
wrong one is shared out evenly among those looks and the candidates (Bonferroni). docs/decision.md has what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bayestuner.goal import Goal
from bayestuner.study.launches import Estimate
from bayestuner.study.nomination import nominate_next
from bayestuner.study.standing import Figures, Standing

Verdict = Literal["better", "no_improvement", "none_meets"]
"""``better``: shown to be better than the default, within the bounds. ``no_improvement``: nothing was; the default holds the goal.
``none_meets``: no configuration, the default included, was shown to hold the bounds."""

EQUIVALENCE = 0.01
"""Objectives that differ by less than this share are as good as equal in practice."""

NO_WORSE = 0.03
"""What a more frugal configuration may at most lose against the default to be recommended in its place; surely no more."""

MAX_ABREAST = 3
"""Candidates that are launched beside the default at the same time."""

HOPELESS = 0.05
"""An arm leaves the race where the chance that it is what is looked for falls below this."""

UNLIKELY = 0.5
"""A default that holds the bounds in practice with less than this chance need not be beaten by whom is launched next."""

LIKELY = 0.9
"""The default, which runs already, is kept where its chance to hold the bounds in practice is this."""

TELL_APART = 0.8
"""Confidence in a loss of more than `EQUIVALENCE` from which on a more frugal configuration is not called equal."""

LOOKS = (1, 2, 4)
"""A claim is looked for when an arm has so many times `repeats` launches."""

Round = Mapping[int, Mapping[str, float] | None]
"""Arm -> the metrics of its launch in that round, or None where the launch failed."""


@dataclass(frozen=True, slots=True)
class RaceRules:
    """How much effort the race may take.

    Attributes
    ----------
    repeats : int, at least 1
        Least launches of what is recommended and of the default.
    launches : int
        Most launches in all; twice `repeats` where that is more.
    confidence : float
        One less the chance of claiming an improvement where there is none, over all candidates and looks; and the chance to hold the
        bounds in practice (see `standing.TOLERANCE`) that a recommendation needs.
    """

    repeats: int = 3
    launches: int = 24
    confidence: float = 0.95

    @property
    def most(self) -> int:
        """Most launches in all."""
        return max(self.launches, 2 * self.repeats)


@dataclass(frozen=True)
class Contest:
    """What is raced for.

    Attributes
    ----------
    goal : Goal
        As given; its bounds may be relative to the default.
    resolved : Goal
        With absolute bounds, for where the default can't be launched.
    default : int or None
        The default configuration's row; None where it failed in the search.
    knobs : callable
        Row -> values of its numeric knobs, which are known exactly where the goal names them.
    frugality : callable
        Row -> sort key; the lower of two takes less of the machine.
    rules : RaceRules
    fits : callable
        Row -> whether it may be recommended, as far as no launch is needed to say so (memory left free, for example).
    readings : dict
        Row -> means of what the search measured of the goal's metrics: they say whom to launch where every candidate is out.
    """

    goal: Goal
    resolved: Goal
    default: int | None
    knobs: Callable[[int], Mapping[str, float]]
    frugality: Callable[[int], tuple[float, ...]]
    rules: RaceRules
    fits: Callable[[int], bool] = lambda row: True
    readings: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What the launches so far come to.

    Attributes
    ----------
    verdict : Verdict
    recommended : int or None
        Row; None where no configuration was shown to meet the goal.
    leader : int or None
        The best of those shown to be better: `recommended` unless a more frugal one is as good.
    nearest : int or None
        Where nothing is recommended: the row likeliest to hold the bounds.
    standings : dict
        Row -> `Standing` of everything launched.
    wanted : tuple of int
        Rows to launch in the next round, in this order; empty where the race is over.
    figures : Figures
        The estimates behind all that.
    """

    verdict: Verdict
    recommended: int | None
    leader: int | None
    nearest: int | None
    standings: Mapping[int, Standing]
    wanted: tuple[int, ...]
    figures: Figures


def judge(contest: Contest, candidates: Sequence[int], rounds: Sequence[Round]) -> Judgement:
    """Say what the launches so far come to and which are wanted next.

    Parameters
    ----------
    contest : Contest
    candidates : sequence of int
        Rows beside the default, the most promising first.
    rounds : sequence of Round
        Every complete round so far.
    """
    return _Race(contest, [row for row in candidates if row != contest.default], rounds).judgement()


class _Race:
    """The launches so far, looked at once."""

    def __init__(self, contest: Contest, candidates: Sequence[int], rounds: Sequence[Round]) -> None:
        self.contest, self.rules, self.default = contest, contest.rules, contest.default
        self.candidates, self.rounds = candidates, rounds
        self.figures = Figures(contest.goal, contest.resolved, contest.default, contest.knobs, rounds)
        self.standings = {row: self.figures.standing(row) for row in self.figures.rows}
        self.left = self.rules.most - sum(map(len, rounds))
        share = len(LOOKS) * max(sum(row != self.default for row in self.standings), 1)
        self.sure = 1.0 - (1.0 - self.rules.confidence) / share

    def judgement(self) -> Judgement:
        rows = self._further()
        looks = [k * self.rules.repeats for k in LOOKS]
        looked_at = [row for row in self.standings if not rows or self.figures.launches(row) in looks]
        verdict, recommended, leader = self._decision(looked_at)
        settled = verdict == "better" and not any(map(self._lacks_launches, rows))
        ran = [row for row, s in self.standings.items() if not s.failures]
        nearest = max(ran, key=lambda row: self.standings[row].p_holds) if verdict == "none_meets" and ran else None
        return Judgement(verdict, recommended, leader, nearest, self.standings, () if settled else self._rotated(rows), self.figures)

    def _decision(self, looked_at: Sequence[int]) -> tuple[Verdict, int | None, int | None]:
        """Verdict, the recommended row and the leader."""
        frugality, confidence = self.contest.frugality, self.rules.confidence
        ready = [row for row in looked_at if row != self.default and self.figures.launches(row) >= self.rules.repeats]
        held = [row for row in ready if self.standings[row].shown_to_hold(confidence) and self.contest.fits(row)]
        better = [row for row in held if self.standings[row].p_better >= self.sure]
        if better:
            leader = min(better, key=lambda row: (self.figures.cost(row), frugality(row)))
            equal = [row for row in better if self._chance_worse(row, leader) < TELL_APART]
            return "better", min([leader, *equal], key=frugality), leader
        if self.default is not None and self.default in self.standings and self.standings[self.default].shown_to_hold(LIKELY):
            no_worse = [row for row in held if self._chance_worse(row, self.default, NO_WORSE) <= 1.0 - confidence]
            return "no_improvement", min([self.default, *no_worse], key=frugality), None
        return "none_meets", None, None

    def _further(self) -> tuple[int, ...]:
        """Rows that a further round would launch; none where no arm is left or the launches are used up."""
        launched = [row for row in self.figures.rows if row != self.default]
        first = dict.fromkeys([*self.candidates[:MAX_ABREAST], *launched])
        rows = [row for row in first if not self._is_out(row)][:MAX_ABREAST] or self._next_ones()
        if self.default is not None and not self._failed(self.default) and (rows or self._lacks_launches(self.default)):
            rows.append(self.default)
        return tuple(rows) if len(rows) <= self.left else ()

    def _next_ones(self) -> list[int]:
        """Whom to launch where none of those launched has anything to win any more."""
        means = self.figures.means()
        default = self.default if self.default in means else None
        surely_missed = default is not None and self.standings[default].p_safe < UNLIKELY
        rows = nominate_next(
            self.contest.goal, self.contest.resolved, self.contest.readings, means,
            candidates=self.candidates, default=default, beat_it=not surely_missed,
        )  # fmt: skip
        return [row for row in rows if row != self.default and row not in self.standings and self.contest.fits(row)][:MAX_ABREAST]

    def _is_out(self, row: int) -> bool:
        """Whether an arm has nothing to win: it failed, misses a bound, is worse than one that holds, or can't be shown to be better."""
        if not self.contest.fits(row):
            return True
        if row not in self.standings:
            return False
        if self._failed(row) or self.standings[row].p_holds < HOPELESS:
            return True
        if not self._may_win(row) and not (self._lacks_launches(row) and self._may_replace(row)):
            return True
        rank = {r: (self.contest.frugality(r), place) for place, r in enumerate([*self.figures.rows, *self.candidates])}
        holding = [r for r, s in self.standings.items() if r != row and s.shown_to_hold(1.0 - HOPELESS) and self._may_stay(r)]
        return any(self._chance_worse(row, r, 0.0 if rank[r] <= rank[row] else EQUIVALENCE) > 1.0 - HOPELESS for r in holding)

    def _may_stay(self, row: int) -> bool:
        return row == self.default or self.contest.fits(row)

    def _may_win(self, row: int) -> bool:
        """Whether an arm would be shown to be better with its share of the launches left, were it a standard error better than it looks."""
        if not self._may_hold(row):
            return False
        if self.default is None or self._failed(self.default) or self.standings[row].p_better >= self.sure:
            return True
        return self._hoped_loss(row, self.default).chance_below(0.0) >= self.sure

    def _may_replace(self, row: int) -> bool:
        """Whether an arm takes less than the default and would be shown, on the same terms, to lose no more than `NO_WORSE` against it."""
        if self.default is None or self.contest.frugality(row) >= self.contest.frugality(self.default) or not self._may_hold(row):
            return False
        return self._hoped_loss(row, self.default).chance_above(self.figures.margin(NO_WORSE)) <= 1.0 - self.rules.confidence

    def _may_hold(self, row: int) -> bool:
        return self.figures.may_hold(row, *self._shares(row), self.rules.confidence)

    def _hoped_loss(self, row: int, other: int) -> Estimate:
        return self.figures.loss(row, other).after(*self._shares(row))

    def _shares(self, row: int) -> tuple[int, int]:
        """An arm's launches now, and at the end if each further round is of `MAX_ABREAST` arms and the default."""
        n = self.figures.launches(row)
        return n, n + self.left // (MAX_ABREAST + 1)

    def _chance_worse(self, row: int, other: int, margin: float = EQUIVALENCE) -> float:
        return self.figures.loss(row, other).chance_above(self.figures.margin(margin))

    def _lacks_launches(self, row: int) -> bool:
        return self.figures.launches(row) < self.rules.repeats

    def _failed(self, row: int) -> bool:
        return row in self.standings and self.standings[row].failures > 0

    def _rotated(self, rows: tuple[int, ...]) -> tuple[int, ...]:
        """The round's order: each begins with another arm, so that none is always launched into the same place."""
        shift = len(self.rounds) % max(len(rows), 1)
        return (*rows[shift:], *rows[:shift])
