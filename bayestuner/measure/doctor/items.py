"""One line of `bayestuner doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from bayestuner.measure.cgroup.isolation import Refusal


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a run may want: whether it is usable here, and if not, why and what would make it so."""

    group: str  # "meter", "limit", "knob", "platform", "extension", "extra"
    what: str
    usable: bool
    detail: str = ""
    reason: str = ""
    remedy: str = ""


def refused(group: str, what: str, refusal: Refusal) -> Item:
    """The line of something that can't be used."""
    return Item(group, what, False, reason=refusal.reason, remedy=refusal.remedy)
