"""Which folder `tune` works in: a finished study of something that has changed since makes room for a new one, which learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bayestuner.measure.job.job import Job
from bayestuner.study.provenance import machine_facts
from bayestuner.study.study import Study
from bayestuner.tune.matching import as_begun, differences
from bayestuner.tune.programs import changed, fingerprints, latest_of

_MACHINE = ("machine", "cpu_model", "cpus")
"""Facts of a start that tell one machine from another; a container's host name changes with every start."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call of `tune` works.

    Attributes
    ----------
    path : Path
        A folder with a study to go on with, or one for a new study.
    earlier : Path or None
        The finished study that the one at `path` takes the place of.
    note : str or None
        What a user should know of that.
    """

    path: Path
    earlier: Path | None = None
    note: str | None = None


def place_of(path: Path, job: Job) -> Place:
    """Where to work for a job whose study is asked for at `path`: there, or in ``NAME-2``, ``NAME-3``, ... beside finished studies.

    Only a finished study is left behind: whether one that is not can be gone on with is for the caller to find out.
    """
    place = Place(path)
    for number in count(2):
        if not Study.exists(place.path):
            return place
        with Study.open(place.path, read_only=True) as study:
            if not (study.info.result or {}).get("complete"):
                return place
            reasons = _changes(study, job)
        if not reasons:
            return place
        following = path.with_name(f"{path.stem}-{number}{path.suffix}")
        place = Place(following, place.path, _note(place.path, following, reasons))
    raise AssertionError("numbers do not end")


def _note(finished: Path, following: Path, reasons: list[str]) -> str:
    how = "goes on in" if Study.exists(following) else "begins anew in"
    return f"the study in {finished} is finished, and since then {'; '.join(reasons)}: the search {how} {following} and learns from it"


def _changes(study: Study, job: Job) -> list[str]:
    """What is another now than when the study was made, in words."""
    starts = study.provenance()
    reasons = differences(study, as_begun(study, job))
    reasons += [f"{path} has changed" for path in changed(latest_of(starts), fingerprints(job))]
    latest = starts[-1] if starts else {}
    now: Mapping[str, Any] = machine_facts()
    reasons += [
        f"the machine's {fact} was {latest[fact]} and is {now[fact]}" for fact in _MACHINE if latest.get(fact, now[fact]) != now[fact]
    ]
    return reasons
