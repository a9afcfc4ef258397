"""The recommended configuration against the default, launch by launch: neighbours in time share what the machine did to both."""

from __future__ import annotations

from collections.abc import Sequence

from bayestuner.study.figures import Figure, figure
from bayestuner.study.store import Record
from bayestuner.trial import Measured


def paired_changes(records: Sequence[Record], row: int, against: int) -> dict[str, Figure]:
    """Relative change of each metric from one configuration's final launches to another's, as means over pairs with their interval.

    The k-th last launch of one is paired with the k-th last of the other: they were launched in alternation, so a slow change of the
    machine falls out of their difference. A pair of which one failed is left out.

    Parameters
    ----------
    records : sequence of Record
    row, against : int
        The configuration, and the one it is compared with.

    Returns
    -------
    dict
        Metric -> mean of (value / other value - 1); empty where there are no pairs.
    """
    pairs = [(a, b) for a, b in zip(_last(records, row), _last(records, against), strict=False) if a and b]
    names = [name for name in dict.fromkeys(n for a, _ in pairs for n in a) if all(name in a and b.get(name) for a, b in pairs)]
    return {name: figure([a[name] / b[name] - 1.0 for a, b in pairs]) for name in names}


def _last(records: Sequence[Record], row: int) -> list[dict[str, float]]:
    """Metrics of a configuration's final launches, the last first; an empty dict for one that failed of its own."""
    told = [r.trial for r in records if r.role == "repeat" and r.trial.row == row and r.trial.outcome is not None]
    kept = [t for t in told if getattr(t.outcome, "kind", None) != "transient"]
    return [t.metrics if isinstance(t.outcome, Measured) else {} for t in reversed(kept)]
