"""What `bayestuner doctor` found, as text for people."""

from __future__ import annotations

import re
import textwrap

from bayestuner.measure.doctor.items import Item
from bayestuner.measure.doctor.probe import DoctorReport
from bayestuner.measure.machine.noise import Noise

_TITLES = {
    "meter": "power meters, in the order they are tried",
    "limit": "limits",
    "knob": "other knobs",
    "platform": "platforms",
    "extension": "compiled part",
    "extra": "extras",
    "folder": "folders whose content is believed",
}
_COMMAND = re.compile(r"\b(sudo|systemd-run|docker run|pip install|taskset)\b")
"""A remedy with one of these commands is made to be copied into a shell: it is not wrapped, however long it is."""
_BOUNDARY = {"model": "estimate", "": "none"}


def doctor_text(report: DoctorReport, *, width: int = 100) -> str:
    """The machine, what of it is usable, what is not and why and how to change that, and what follows for measuring."""
    m = report.machine
    virtual = ", a virtual machine" if m["virtual"] else ""
    parts = [f"{m['cpu']}: {m['packages']} package(s), {m['cores']} cores, {m['cpus']} usable CPUs{virtual}; Linux {m['kernel']}"]
    for group in dict.fromkeys(item.group for item in report.items):
        lines = [_TITLES.get(group, group)]
        for item in report.items:
            if item.group == group:
                lines += _item(item, width)
        parts.append("\n".join(lines))
    parts.append(
        textwrap.fill(
            f"boundary of power: {_BOUNDARY.get(report.boundary, report.boundary)}: {report.covers}", width, subsequent_indent="  "
        )
    )
    if report.noise is not None:
        parts.append(textwrap.fill(_noise(report.noise), width, subsequent_indent="  "))
    parts += [textwrap.fill(f"note: {text}", width, subsequent_indent="  ", break_on_hyphens=False) for text in report.notices]
    parts.append(textwrap.fill(f"verdict: {report.verdict}", width, subsequent_indent="  "))
    return "\n\n".join(parts)


def _noise(noise: Noise) -> str:
    words = [
        f"noise in {noise.duration_s:.0f} s: {noise.level}, {noise.words}",
        f"load of other programs {100 * noise.outside_load:.1f} % (at most {100 * noise.outside_load_max:.1f} %)",
        f"stolen by the hypervisor {100 * noise.steal:.1f} %",
    ]
    if noise.idle_power_w is not None:
        spread = "" if noise.idle_power_sd_w is None else f" ± {noise.idle_power_sd_w:.2f}"
        words.append(f"idle power {noise.idle_power_w:.2f}{spread} W")
    return "; ".join(words)


def _item(item: Item, width: int) -> list[str]:
    lines = _wrapped(f"  {'yes' if item.usable else 'no '}  {item.what:<20}", item.detail if item.usable else item.reason, width)
    if not item.usable and item.remedy:
        lines += [" " * 29 + "-> " + item.remedy] if _COMMAND.search(item.remedy) else _wrapped(" " * 29 + "-> ", item.remedy, width)
    return lines


def _wrapped(head: str, text: str, width: int) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(head + text, max(width, len(head) + 30), subsequent_indent=indent, break_on_hyphens=False) or [head]
