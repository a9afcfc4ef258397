"""What `bayestuner doctor` found, as text for people."""

from __future__ import annotations

import textwrap

from bayestuner.measure.probe import Item, Report

_TITLES = {"meter": "power meters, in the order they are tried", "limit": "limits", "extension": "compiled part", "extra": "extras"}


def doctor_text(report: Report, *, width: int = 100) -> str:
    """Machine, what is usable, what is not with reason and remedy, and what follows from it."""
    m = report.machine
    virtual = ", a virtual machine" if m["virtual"] else ""
    parts = [f"{m['cpu']}: {m['packages']} package(s), {m['cores']} cores, {m['cpus']} usable CPUs{virtual}; Linux {m['kernel']}"]
    for group in dict.fromkeys(item.group for item in report.items):
        lines = [_TITLES.get(group, group)]
        for item in report.items:
            if item.group == group:
                lines += _item(item, width)
        parts.append("\n".join(lines))
    if report.outside_load is not None:
        quiet = "quiet" if report.outside_load < 0.05 else "busy: measure when nothing else runs"
        parts.append(f"load of other programs: {100 * report.outside_load:.0f} %, {quiet}")
    parts.append(textwrap.fill(f"verdict: {report.verdict}", width, subsequent_indent="  "))
    return "\n\n".join(parts)


def _item(item: Item, width: int) -> list[str]:
    lines = _wrapped(f"  {'yes' if item.usable else 'no '}  {item.what:<20}", item.detail if item.usable else item.reason, width)
    if not item.usable and item.remedy:
        lines += _wrapped(" " * 29 + "-> ", item.remedy, width)
    return lines


def _wrapped(head: str, text: str, width: int) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(head + text, max(width, len(head) + 30), subsequent_indent=indent, break_on_hyphens=False) or [head]
