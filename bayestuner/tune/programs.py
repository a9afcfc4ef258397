"""The files that a job's command runs, by their content: runs of a program before and after it was changed can't be compared."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.measure.job.command import resolve_program
from bayestuner.measure.job.job import Job

_LARGEST_BYTES = 64 * 2**20
"""Larger files, such as models, are told apart by their size alone: hashing them would delay the start."""


def fingerprints(job: Job) -> dict[str, str]:
    """Path -> fingerprint of the content, for the program and every argument of a job's command that is a file."""
    program, *arguments = job.argv(job.all_max_config())
    with contextlib.suppress(BayesTunerError):
        program = resolve_program(program, job.env)
    found = {}
    for word in (program, *arguments):
        path = Path(job.cwd) / word
        with contextlib.suppress(OSError, ValueError):
            if path.is_file():
                found[str(path)] = _fingerprint(path)
    return found


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    return f"{size} bytes" if size > _LARGEST_BYTES else hashlib.sha256(path.read_bytes()).hexdigest()


def latest_of(starts: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """The fingerprints that were recorded last, from the facts of each start (``programs``); empty where none has any."""
    return next((facts["programs"] for facts in reversed(starts) if "programs" in facts), {})


def changed(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The paths whose content is another one now."""
    return [path for path, fingerprint in now.items() if earlier.get(path, fingerprint) != fingerprint]


def changed_within(starts: Iterable[Mapping[str, Any]]) -> list[str]:
    """The paths whose content changed from one start of a study to another, from the facts recorded at each (``programs``)."""
    contents: dict[str, set[str]] = {}
    for facts in starts:
        for path, fingerprint in facts.get("programs", {}).items():
            contents.setdefault(path, set()).add(fingerprint)
    return [path for path, fingerprints_of_it in contents.items() if len(fingerprints_of_it) > 1]
