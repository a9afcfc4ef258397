"""Which earlier studies a new one learns from: those that are named, or else those beside it with the same knobs."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bayestuner.errors import BayesTunerError
from bayestuner.foreign_text import harmless
from bayestuner.measure.job.job import Job
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.search.engine.transfer import usable_studies
from bayestuner.study.history import History
from bayestuner.study.registry import LEARN_FROM_HISTORY
from bayestuner.study.study import Study
from bayestuner.tune.progress import Progress

MAX_SIBLINGS = 40  # of the folders beside a study, the ones changed last, that are looked into
MIN_CONFIGURATIONS = 3  # a study that measured fewer says nothing of how a metric changes with the knobs
TURN_OFF = "--learn-from without a path turns this off"


def earlier_studies(
    job: Job, study_path: Path, strategy: str, paths: Sequence[str | Path] | None, progress: Progress, *, first: Path | None = None
) -> list[EarlierStudy]:
    """The studies that a new study of `job` learns from, the most relevant last; what they are is reported in one line.

    Parameters
    ----------
    study_path : Path
        Of the new study.
    strategy : str
        A strategy that does not learn from history gets none.
    paths : sequence of path, optional
        Folders of studies. None takes those of the job file's `measure.learn_from`, and where it has none, the studies beside the new one.
    first : Path, optional
        A study to learn from in any case: the one that the new study takes the place of.

    Raises
    ------
    StoreError
        A study that was named can't be read.
    """
    if strategy not in LEARN_FROM_HISTORY:
        return []
    named = _in_job_file(job) if paths is None and job.measure.learn_from is not None else paths
    if named is None:
        found, where = _siblings(job, study_path), f"beside this one; {TURN_OFF}"
    else:
        found, where = (
            [_called(History.of(path), Path(path).name) for path in named if Path(path).resolve() != study_path.resolve()],
            "named",
        )
    if first is not None and (named is None or named):
        with suppress(BayesTunerError):
            latest = _called(History.of(first), first.name)
            found = [*(study for study in found if study.name != latest.name), latest]
    usable = usable_studies(job.space, found)
    if usable:
        names = ", ".join(harmless(study.name)[:80] for study in usable)
        progress.note(f"learning from earlier studies, as far as they predict this job: {names} ({where})")
    elif named:
        progress.note("none of the earlier studies named has measured anything with these knobs: nothing is learnt from them")
    return list(usable)


def _in_job_file(job: Job) -> list[str]:
    """The folders of studies that the job file's globs match."""
    patterns = [str(job.path.parent / Path(pattern).expanduser()) for pattern in job.measure.learn_from or ()]
    matched = [path for pattern in patterns for path in sorted(glob.glob(pattern))]  # noqa: PTH207 - patterns may be absolute
    return [path for path in dict.fromkeys(matched) if Study.exists(path)]


def _siblings(job: Job, study_path: Path) -> list[EarlierStudy]:
    """This user's studies in the same folder that have the same knobs and measured the goal's metrics, the latest last.

    What can't be read is passed over: nobody asked for it.
    """
    found = []
    for file in _own_files(study_path):
        with suppress(BayesTunerError, OSError):
            study = _called(History.of(file.parent), file.parent.name)
            configurations = {tuple(config.values()) for config, metrics in study.measured() if set(job.goal.metrics) & set(metrics)}
            if set(study.space.names) == set(job.space.names) and len(configurations) >= MIN_CONFIGURATIONS:
                found.append(study)
    return found


def _own_files(study_path: Path) -> list[Path]:
    """Files of studies in folders beside `study_path` that belong to this user, the one changed last at the end."""
    found = []
    with suppress(OSError):
        for folder in study_path.absolute().parent.iterdir():
            file = folder / "study.sqlite"
            with suppress(OSError):
                if folder == study_path.absolute() or folder.is_symlink() or file.is_symlink():
                    continue
                if {folder.stat().st_uid, file.stat().st_uid} == {os.geteuid()}:
                    found.append((file.stat().st_mtime_ns, file))
    return [file for _, file in sorted(found)[-MAX_SIBLINGS:]]


def _called(study: EarlierStudy, name: str) -> EarlierStudy:
    """The same study under its folder's name, by which its owner finds it."""
    return EarlierStudy(name.removesuffix(".study") or study.name, study.space, study.trials, study.goal)
