"""When to end a search before its budget: rules that look at a strategy and give a reason to stop, or None."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bayestuner.errors import InvalidGoal, finite_number, whole_number
from bayestuner.search.strategy import Strategy
from bayestuner.trial import Measured

if TYPE_CHECKING:
    from bayestuner.search.engine.remaining_gain import RemainingGain

MAX_LOOKS = 4  # batches of joint samples that one decision draws, at most
MAX_ERROR = 0.05  # probability of judging a probability wrongly because of its finite sample, over all looks together


class StoppingRule(ABC):
    """Base of all rules."""

    @abstractmethod
    def reason(self, strategy: Strategy) -> str | None:
        """Why no further run should start, in one sentence with its figures; None to go on."""


@dataclass(frozen=True, slots=True)
class ExpectedImprovement(StoppingRule):
    """Stop when no row left is expected to improve on the best one by more than a share of it.

    Alipourfard et al. 2017 (CherryPick, section 3.4): 10 %, after at least 6 runs. Never stops a strategy without a model, nor before a
    run has met the goal. It is early and often wrong where the model is poor: `RegretBound` is the careful rule.

    Parameters
    ----------
    share : float
        Of the best objective, above 0 and below 1. The expected improvement already counts the chances that a row misses the goal or
        fails, so that it is a small number even where a large improvement is possible: see `RegretBound`.
    after : int
        Measured runs before which it does not stop.
    """

    share: float = 0.10
    after: int = 6

    def __post_init__(self) -> None:
        _check_share("share", self.share)
        _check_after(self.after)

    def reason(self, strategy: Strategy) -> str | None:
        """Why to stop."""
        remaining_gain = _remaining_gain_of(strategy, self.after)
        if remaining_gain is None:
            return None
        left = remaining_gain.largest_improvement()
        if left >= self.share:
            return None
        best = f"{remaining_gain.best_value:.4g}"
        return f"the largest expected improvement left, {_percent(left)} of {best}, is below {_percent(self.share)}"


@dataclass(frozen=True, slots=True)
class RegretBound(StoppingRule):
    """Stop when the best row measured is very likely as good as the best one there is, up to a share of its objective.

    Wilson 2024 (Stopping Bayesian optimization with probabilistic regret bounds): the probability is estimated by joint samples of all
    models, drawn until it is clearly above `confidence` or below it, at most `MAX_LOOKS` batches. They are drawn with the hyperparameters
    that fit best, and where that says stop, again with sampled hyperparameters, whose answer counts. The probability is as right as the
    models are. Never stops a strategy without a model, nor before a run has met the goal.

    Parameters
    ----------
    share : float
        Regret that is tolerated, as a share of the best objective, above 0 and below 1.
    confidence : float
        The probability asked for.
    after : int
        Measured runs before which it does not stop: models of fewer runs are overconfident.
    draws : int
        Joint samples in a batch.
    """

    share: float = 0.01
    confidence: float = 0.9
    after: int = 6
    draws: int = 64

    def __post_init__(self) -> None:
        _check_share("share", self.share)
        _check_share("confidence", self.confidence)
        _check_after(self.after)
        whole_number(self.draws, "draws, a number of joint samples,", 1, InvalidGoal)

    def reason(self, strategy: Strategy) -> str | None:
        """Why to stop."""
        remaining_gain = _remaining_gain_of(strategy, self.after)
        if remaining_gain is None:
            return None
        if not self._holds(remaining_gain, integrate=False)[0]:  # the cheaper look first: most often it says no
            return None
        holds, hits, n = self._holds(remaining_gain, integrate=True)
        if not holds:
            return None
        seen, rows = remaining_gain.sampled
        where = "there is" if seen == rows else f"of a sample of {seen} of the {rows} configurations"
        return (
            f"in {hits} of {n} joint samples of the model (at least {_percent(self.confidence)} asked) the best configuration measured, at "
            f"{remaining_gain.best_value:.4g}, is within {_percent(self.share)} of the best {where}"
        )

    def _holds(self, remaining_gain: RemainingGain, *, integrate: bool) -> tuple[bool, int, int]:
        """Whether the probability is high enough, and in how many of how many samples the regret is within the share."""
        hits = n = 0
        for look in range(MAX_LOOKS):
            hits += int((remaining_gain.regrets(self.draws, look, integrate=integrate) <= self.share).sum())
            n += self.draws
            if hits < self.confidence * n:  # going on needs no proof, stopping does
                return False, hits, n
            if surely_below(n - hits, n, 1.0 - self.confidence):
                break
        return True, hits, n


@dataclass(frozen=True, slots=True)
class WallClock(StoppingRule):
    """Stop starting runs `limit_s` seconds after this rule was made; a run under way is not cut short."""

    limit_s: float
    started: float = field(default_factory=time.monotonic, repr=False, compare=False)

    def __post_init__(self) -> None:
        if finite_number(self.limit_s, "a time limit", InvalidGoal) < 0.0:
            raise InvalidGoal(f"a time limit is a number of seconds, 0 or more, not {self.limit_s!r}")

    def reason(self, strategy: Strategy | None = None) -> str | None:
        """Why to stop."""
        return f"the time limit of {self.limit_s:g} s is reached" if time.monotonic() - self.started >= self.limit_s else None


def first_reason(rules: Iterable[StoppingRule], strategy: Strategy) -> str | None:
    """The reason of the first rule that holds, or None."""
    return next((reason for rule in rules if (reason := rule.reason(strategy)) is not None), None)


def surely_below(hits: int, n: int, p: float) -> bool:
    """Whether so few hits among n prove that their probability is below p: the exact binomial test of Clopper and Pearson's interval."""
    tail_probability = sum(math.exp(_log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p)) for k in range(hits + 1))
    return tail_probability <= MAX_ERROR / MAX_LOOKS


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _remaining_gain_of(strategy: Strategy, after: int) -> RemainingGain | None:
    """What the strategy's model expects; None where it has none, with fewer than `after` measured runs, or where none met the goal."""
    from bayestuner.search.engine.tuner import Tuner

    if not isinstance(strategy, Tuner) or strategy.best_feasible is None:
        return None
    if sum(isinstance(t.outcome, Measured) for t in strategy.trials) < after:
        return None
    return strategy.remaining_gain()


def _check_share(name: str, value: float) -> None:
    if not 0.0 < finite_number(value, name, InvalidGoal) < 1.0:
        raise InvalidGoal(f"{name} is above 0 and below 1, as 0.01 for 1 %, not {value!r}")


def _check_after(value: int) -> None:
    whole_number(value, "after, a number of measured runs,", 1, InvalidGoal)


def _percent(share: float) -> str:
    return "less than 0.01 %" if share < 1e-4 else f"{100.0 * share:.2g} %"
