"""Settings that are files below /sys: reading and writing them, and the check that a file is one of those that BayesTuner sets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.energy.kernel_files import KernelRoots

_SETTABLE = re.compile(r"scaling_max_freq|constraint_\d+_power_limit_uw|enabled")


class SysfsSettings:
    """The part of an actuator that reads and writes targets, for actuators whose targets are files below /sys."""

    def __init__(self, roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> None:
        self.roots = roots or KernelRoots()
        self.files = files or CgroupFiles()  # sysfs wants what cgroup files want: one write(2) to an existing file

    def read(self, target: str) -> str:
        """What a file holds."""
        return self.files.read(self._checked(target)).strip()

    def write(self, target: str, text: str) -> None:
        """Write a file."""
        self.files.write(self._checked(target), text)

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Whether the two texts are the same; actuators whose hardware rounds override this."""
        return asked == got

    def _checked(self, target: str) -> Path:
        """The path of a target, which must be a file that BayesTuner itself sets: root reads journals and writes where they say."""
        path = Path(target)
        root = os.path.realpath(self.roots.sysfs)
        if not _SETTABLE.fullmatch(path.name) or not os.path.realpath(path).startswith(root + os.sep):
            raise OSError(None, f"no setting of BayesTuner's below {root}", target)
        return path


def first_unwritable(paths: Iterable[Path]) -> Path | None:
    """The first of these files that this process may not write, its capabilities considered, or None; nothing is written."""
    effective = os.access in os.supports_effective_ids
    return next((path for path in paths if not os.access(path, os.W_OK, effective_ids=effective)), None)
