"""One line of `bayestuner doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from bayestuner.measure.cgroup.isolation import Refusal


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a run may need: whether it is usable here, and if not, why, and what would make it usable.

    Attributes
    ----------
    group : {"meter", "limit", "knob", "platform", "extension", "extra", "folder"}
        The heading under which it is shown.
    what : str
        Its name.
    usable : bool
    detail : str
        What is known of it where it is usable.
    reason, remedy : str
        Where it isn't usable: why, and what to do.
    """

    group: str
    what: str
    usable: bool
    detail: str = ""
    reason: str = ""
    remedy: str = ""


def refused(group: str, what: str, refusal: Refusal) -> Item:
    """The line of something that can't be used."""
    return Item(group, what, False, reason=refusal.reason, remedy=refusal.remedy)
