"""Finding the groups that a killed BayesTuner left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bayestuner.measure.cgroup.names import is_stale, owner_of


def find_stale(mount_points: Mapping[str, Path], proc: Path) -> dict[str, dict[str, Path]]:
    """Groups whose owner is dead: name of the group -> name of the hierarchy -> folder.

    The whole of each hierarchy is walked, because the dead tuner may have been in another group than this process (another login session,
    another start of the same container) and have made its groups there.
    """
    found: dict[str, dict[str, Path]] = {}
    for hierarchy, mount_point in mount_points.items():
        for path, names, _ in os.walk(mount_point):
            ours = [name for name in names if owner_of(name) is not None]
            for name in ours:
                names.remove(name)  # not walked further: groups that a job made inside are removed with the group itself
                if is_stale(name, proc):
                    found.setdefault(name, {})[hierarchy] = Path(path, name)
    return found
