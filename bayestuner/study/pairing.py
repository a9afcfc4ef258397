"""One configuration against another, round by round: what the machine did to a round it did to both."""

from __future__ import annotations

from collections.abc import Iterable

from bayestuner.study.figures import Figure, figure
from bayestuner.study.race import Round


def paired_changes(rounds: Iterable[Round], row: int, against: int) -> dict[str, Figure]:
    """Relative change of each metric from one configuration to another, as means over rounds with their 95 % interval.

    Both were launched in each round, so a slow change of the machine falls out of their difference. A round in which one failed is left
    out.

    Parameters
    ----------
    rounds : iterable of Round
    row, against : int
        The configuration, and the one it is compared with.

    Returns
    -------
    dict
        Metric -> mean of (value / other value - 1); empty where there is no round of both.
    """
    pairs = [(a, b) for r in rounds if (a := r.get(row)) and (b := r.get(against))]
    names = [name for name in dict.fromkeys(n for a, _ in pairs for n in a) if all(name in a and b.get(name) for a, b in pairs)]
    return {name: figure([a[name] / b[name] - 1.0 for a, b in pairs]) for name in names}
