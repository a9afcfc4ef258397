"""What the guests' tests came to: each guest's own pytest output, then one line over all."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

CONSOLE_TAIL = 60


@dataclass(frozen=True)
class Counts:
    """Numbers of tests; an error is a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def counts(junit: str) -> Counts:
    """What a junit report says."""
    total = Counts()
    for case in ET.fromstring(junit).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            total += Counts(failed=1)
        elif "skipped" in kinds:
            total += Counts(skipped=1)
        else:
            total += Counts(passed=1)
    return total


@dataclass(frozen=True)
class Verdict:
    """One guest's result: `ok` only where it reported, its pytest ended with 0, and it had tests."""

    ok: bool
    counts: Counts
    text: str


def verdict(name: str, share: Path) -> Verdict:
    """Read what a guest left. One that never reported is a failure, shown with the end of its console."""
    console, errors = (_text(share / name) for name in ("console", "qemu"))
    try:
        status = (share / "status").read_text().strip()
        found = counts((share / "junit.xml").read_text())
    except (OSError, ET.ParseError) as error:
        tail = "\n".join([*errors.splitlines()[-CONSOLE_TAIL:], *console.splitlines()[-CONSOLE_TAIL:]])
        return Verdict(False, Counts(failed=1), f"guest {name} never reported ({error}); what it said last:\n{tail}\n")
    ok = status == "0" and found.passed > 0 and found.failed == 0
    return Verdict(ok, found, f"guest {name} (pytest ended with {status}):\n{console}")


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""
