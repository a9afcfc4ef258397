"""The folders whose content BayesTuner believes, each with what `bayestuner.files` says of it. Looking makes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bayestuner.errors import NotPrivate
from bayestuner.files.places import CACHE_VARIABLE, cache_folder
from bayestuner.files.private import why_unusable
from bayestuner.measure.doctor.items import Item
from bayestuner.measure.machine.runtime import VARIABLE, runtime_folder

GROUP = "folder"


def place_items() -> list[Item]:
    """The lines of the caches, of the folder of lock and journal, and of a study that would be made in the current folder."""
    own_cache = f"set {CACHE_VARIABLE} to a folder of your own"
    return [
        _place("compiled-code cache", lambda: cache_folder("compiled"), "the engine is compiled anew in every process", own_cache),
        _place("zoo models", lambda: cache_folder("zoo"), "the zoo's models can't be built", own_cache),
        _place("lock and journal", runtime_folder, "nothing can be measured", f"set {VARIABLE} to a folder of your own"),
        _place("studies made here", Path.cwd, "no study can be made here", "name a folder of your own with --study", by_sudo=True),
    ]


def _place(what: str, find: Callable[[], Path], consequence: str, remedy: str, *, by_sudo: bool = False) -> Item:
    try:
        folder = find()
        reason = _why_unusable(folder, trust_sudo_caller=by_sudo)
    except NotPrivate as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if reason is None:
            return Item(GROUP, what, True, str(folder))
    reason, colon, advice = reason.partition(": run ")
    return Item(GROUP, what, False, reason=f"{reason}: {consequence}", remedy=f"{advice}, or {remedy}" if colon else remedy)


def _why_unusable(folder: Path, *, trust_sudo_caller: bool) -> str | None:
    """The verdict on a folder and, in a cache, on the folders in it: one for each version."""
    reason = why_unusable(folder, trust_sudo_caller=trust_sudo_caller)
    if reason is not None or folder.name != "compiled":
        return reason
    try:
        versions = [path for path in folder.iterdir() if path.is_dir()]
    except OSError:  # not made yet
        return None
    return next(filter(None, map(why_unusable, versions)), None)
