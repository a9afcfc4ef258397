"""The kernel's list format for CPUs and memory nodes: ``0-3,8``."""

from __future__ import annotations

from collections.abc import Iterable


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
    """``"0-2,5\\n"`` -> ``(0, 1, 2, 5)``; an empty text is an empty list. ValueError for anything else."""
    numbers: set[int] = set()
    for span in text.strip().split(","):
        if not span:
            continue
        first, dash, last = span.partition("-")
        numbers.update(range(int(first), int(last if dash else first) + 1))
    return tuple(sorted(numbers))
