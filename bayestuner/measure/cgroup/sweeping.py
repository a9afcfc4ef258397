"""Finding what a BayesTuner that was killed left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bayestuner.measure.cgroup.names import is_stale, owner_of


def find_stale(roots: Mapping[str, Path], proc: Path) -> dict[str, dict[str, Path]]:
    """Groups whose owner is dead: name -> hierarchy -> folder.

    The whole of each hierarchy is walked, because the tuner that died may have stood elsewhere in it (another session, another
    container start) than this one.
    """
    found: dict[str, dict[str, Path]] = {}
    for hierarchy, root in roots.items():
        for path, names, _ in os.walk(root):
            ours = [name for name in names if owner_of(name) is not None]
            for name in ours:
                names.remove(name)  # what a job made inside goes with the group
                if is_stale(name, proc):
                    found.setdefault(name, {})[hierarchy] = Path(path, name)
    return found
