"""What a good configuration is: one metric to minimise or maximise, subject to bounds on others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bayestuner.errors import InvalidGoal, finite_number

_BOUND = re.compile(r"\s*([^\W\d][^\s<>=%]*)\s*(>=|<=)\s*([-+0-9.eE]+)\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class Bound:
    """``metric >= limit`` or ``metric <= limit``.

    Parameters
    ----------
    metric : str
    sense : {">=", "<="}
    limit : float
        In the metric's own unit; a share (0.6 for 60 %) where `relative`.
    relative : bool
        True: `limit` is a share of what a reference configuration reaches; `Goal.resolve` makes it absolute.
    """

    metric: str
    sense: Literal[">=", "<="]
    limit: float
    relative: bool = False

    def __post_init__(self) -> None:
        if self.sense not in (">=", "<="):
            raise InvalidGoal(f"a bound's sense is '>=' or '<=', not {self.sense!r}")
        if not isinstance(self.metric, str) or not self.metric:
            raise InvalidGoal(f"a bound's metric is a name, not {self.metric!r}")
        object.__setattr__(self, "limit", finite_number(self.limit, f"the limit of the bound on {self.metric!r}", InvalidGoal))

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read ``"throughput >= 50"`` or ``"throughput >= 60%"``."""
        match = _BOUND.fullmatch(text)
        if match is None:
            raise InvalidGoal(f"can't read the bound {text!r}: write it as 'metric >= number', 'metric <= number' or 'metric >= 60%'")
        metric, sense, number, percent = match.groups()
        try:
            limit = float(number)
        except ValueError:
            raise InvalidGoal(f"the bound {text!r} has {number!r} where a number belongs") from None
        return cls(metric, sense, limit / 100.0 if percent else limit, bool(percent))  # type: ignore[arg-type]

    def violation(self, value: float) -> float:
        """How far `value` is on the wrong side, in the metric's unit; <= 0 is feasible."""
        return self.limit - value if self.sense == ">=" else value - self.limit

    def __str__(self) -> str:
        limit = f"{100.0 * self.limit:g}%" if self.relative else f"{self.limit:g}"
        return f"{self.metric} {self.sense} {limit}"


def AtLeast(metric: str, limit: float) -> Bound:  # noqa: N802 - reads as a type at the call
    """The bound ``metric >= limit``."""
    return Bound(metric, ">=", limit)


def AtMost(metric: str, limit: float) -> Bound:  # noqa: N802
    """The bound ``metric <= limit``."""
    return Bound(metric, "<=", limit)


class Goal:
    """Minimise or maximise one metric subject to bounds on others.

    Parameters
    ----------
    minimize, maximize : str
        Exactly one of them: the metric's name.
    subject_to : iterable of str or Bound
        ``"throughput >= 50"`` or ``AtLeast("throughput", 50)``; any number, in either direction.

    Examples
    --------
    >>> goal = Goal(minimize="power_w", subject_to=["throughput >= 50"])
    >>> goal.feasible({"power_w": 80.0, "throughput": 51.0})
    True
    """

    __slots__ = ("bounds", "direction", "objective")

    def __init__(
        self,
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        subject_to: Iterable[str | Bound] = (),
    ) -> None:
        if (minimize is None) == (maximize is None):
            raise InvalidGoal("a goal needs exactly one of minimize= and maximize=")
        name = minimize if minimize is not None else maximize
        if not isinstance(name, str) or not name:
            raise InvalidGoal(f"a goal's metric is a name, not {name!r}")
        if isinstance(subject_to, (str, Bound)):
            subject_to = [subject_to]
        if not isinstance(subject_to, Iterable):
            raise InvalidGoal(f"subject_to is a list of bounds like ['throughput >= 50'], not {subject_to!r}")
        self.objective: str = name
        self.direction: Literal["minimize", "maximize"] = "minimize" if minimize is not None else "maximize"
        self.bounds: tuple[Bound, ...] = tuple(self._bound(b) for b in subject_to)

    @staticmethod
    def _bound(given: str | Bound) -> Bound:
        if isinstance(given, Bound):
            return given
        if isinstance(given, str):
            return Bound.parse(given)
        raise InvalidGoal(f"a bound is text like 'throughput >= 50' or AtLeast('throughput', 50), not {given!r}")

    @property
    def sign(self) -> float:
        """+1 when minimising, -1 when maximising: ``sign * value`` is always minimised."""
        return 1.0 if self.direction == "minimize" else -1.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objective, then each bounded metric once, in order."""
        return tuple(dict.fromkeys([self.objective, *(b.metric for b in self.bounds)]))

    @property
    def relative(self) -> bool:
        """Whether a bound is still relative to a reference (see `resolve`)."""
        return any(b.relative for b in self.bounds)

    def resolve(self, reference: Mapping[str, float]) -> Goal:
        """Return this goal with relative bounds made absolute by the `reference` configuration's metrics."""
        missing = [b.metric for b in self.bounds if b.relative and b.metric not in reference]
        if missing:
            raise InvalidGoal(
                f"the bound on {missing[0]!r} is relative, but the reference run measured only {', '.join(sorted(reference))}"
            )
        bounds = [replace(b, limit=b.limit * reference[b.metric], relative=False) if b.relative else b for b in self.bounds]
        return Goal(**{self.direction: self.objective}, subject_to=bounds)

    def impossible(self, levels: Mapping[str, Sequence[float]] | None = None, *, positive: bool = False) -> str | None:
        """Why no configuration can meet the bounds, as a clause for messages; None where nothing speaks against it.

        Two bounds on one metric may contradict each other, and a bound on a knob may lie outside of the knob's values. A relative bound can
        only be compared with other relative ones, and only where the sign of the metric is known.

        Parameters
        ----------
        levels : mapping of str to sequence of float, optional
            Values of the knobs whose values are numbers, by name.
        positive : bool
            Whether every metric is known to be above 0.
        """
        comparable = [bound for bound in self.bounds if positive or not bound.relative]
        for metric, relative in dict.fromkeys((bound.metric, bound.relative) for bound in comparable):
            bounds = [bound for bound in comparable if (bound.metric, bound.relative) == (metric, relative)]
            words = " and ".join(repr(str(bound)) for bound in bounds)
            least = max((bound.limit for bound in bounds if bound.sense == ">="), default=-math.inf)
            if least > min((bound.limit for bound in bounds if bound.sense == "<="), default=math.inf):
                return f"no number meets {words}"
            values = None if relative else (levels or {}).get(metric)
            if values is not None and not any(all(bound.violation(value) <= 0 for bound in bounds) for value in values):
                return f"no value of the knob {metric!r} meets {words}; it takes {min(values):g} to {max(values):g}"
        return None

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Largest violation over the bounds, each as a share of its limit (of 1 where the limit is 0); <= 0 is feasible."""
        self._check_resolved()
        shares = [b.violation(metrics[b.metric]) / (abs(b.limit) or 1.0) for b in self.bounds]
        return max(shares, default=0.0)

    def feasible(self, metrics: Mapping[str, float]) -> bool:
        """Whether `metrics` meet every bound."""
        self._check_resolved()
        return all(b.violation(metrics[b.metric]) <= 0.0 for b in self.bounds)

    def better(self, a: Mapping[str, float], b: Mapping[str, float]) -> bool:
        """Whether `a` has the strictly better objective."""
        return self.sign * a[self.objective] < self.sign * b[self.objective]

    def _check_resolved(self) -> None:
        if self.relative:
            raise InvalidGoal(f"the goal '{self}' has a relative bound; give it a reference with goal.resolve({{metric: value}}) first")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Goal):
            return NotImplemented
        return (self.objective, self.direction, self.bounds) == (other.objective, other.direction, other.bounds)

    def __hash__(self) -> int:
        return hash((self.objective, self.direction, self.bounds))

    def __str__(self) -> str:
        text = f"{self.direction} {self.objective}"
        return text + (" subject to " + ", ".join(map(str, self.bounds)) if self.bounds else "")

    def __repr__(self) -> str:
        bounds = f", subject_to={[str(b) for b in self.bounds]!r}" if self.bounds else ""
        return f"Goal({self.direction}={self.objective!r}{bounds})"
