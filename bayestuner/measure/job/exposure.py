"""Whether users of the machine other than the one who measures could change what a job runs: as root that would make them root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bayestuner.measure.job.command import resolve_program
from bayestuner.measure.job.job import Job

_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def exposure(job: Job) -> str | None:
    """A warning where root is about to run, as root, what another user may change; None where there is nothing to warn of.

    Looked at are the job file, the program and every argument that is a file, with all folders on the way to them.
    """
    if os.geteuid() != 0 or job.user is not None:
        return None
    program, *arguments = job.argv(job.all_max_config())
    for path in (job.path, Path(job.cwd, resolve_program(program, job.env)), *(Path(job.cwd, word) for word in arguments)):
        if not _is_file(path):
            continue
        for step in _steps(path):
            if _others_may_change(step.lstat()):
                return (
                    f"the job runs as root, and others than root may change {step}, and so what it does: give [job] user an unprivileged "
                    f"user, or take the right away (chown root {step}; chmod go-w {step})"
                )
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # an argument that can be no path
        return False


def _steps(path: Path) -> Iterator[Path]:
    """A file and every folder on the way to it, and the same of what symbolic links on that way lead to."""
    seen = set()
    for end in (path.absolute(), Path(os.path.realpath(path))):
        for step in (*reversed(end.parents), end):
            if step not in seen:
                seen.add(step)
                yield step


def _others_may_change(found: os.stat_result) -> bool:
    if found.st_uid != 0:
        return True
    if stat.S_ISLNK(found.st_mode):  # its mode says nothing; the folder that holds it is a step of its own
        return False
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:  # as /tmp: what lies in it can't be replaced by others
        return False
    wrong = _FOR_OTHERS if found.st_gid != 0 else stat.S_IWOTH
    return bool(found.st_mode & wrong)
