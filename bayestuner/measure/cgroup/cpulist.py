"""The kernel's list format for CPUs and memory nodes: ``0-3,8``."""

from __future__ import annotations

import re
from collections.abc import Iterable

NUMBER_MAX = 65535
"""Above every kernel's limits (8192 CPUs, 1024 nodes): a text with larger numbers is no such list, and expanding it would fill memory."""

_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def format_list(numbers: Iterable[int]) -> str:
    """``(0, 1, 2, 5)`` -> ``"0-2,5"``; duplicates and order don't matter."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def parse_list(text: str) -> tuple[int, ...]:
    """``"0-2,5\\n"`` -> ``(0, 1, 2, 5)``; an empty text is an empty list.

    Raises
    ------
    ValueError
        Anything else, and numbers that no kernel has.
    """
    numbers: set[int] = set()
    for span in filter(None, (part.strip() for part in text.split(","))):
        match = _SPAN.fullmatch(span)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= NUMBER_MAX:
            raise ValueError(f"{span!r} is no number and no rising range up to {NUMBER_MAX}")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))
