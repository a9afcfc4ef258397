"""Settings that are files below /sys: reading, writing, and which of them a journal may name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.energy.kernel_files import KernelRoots

_OURS = re.compile(r"scaling_max_freq|constraint_\d+_power_limit_uw|enabled")


class SysfsSettings:
    """The read and write half of an actuator whose targets are paths."""

    def __init__(self, roots: KernelRoots | None = None, files: CgroupFiles | None = None) -> None:
        self.roots = roots or KernelRoots()
        self.files = files or CgroupFiles()  # one write(2) to an existing file, errors with path and value: what sysfs wants too

    def read(self, target: str) -> str:
        """What a file holds."""
        return self.files.read(self._checked(target)).strip()

    def write(self, target: str, text: str) -> None:
        """Write a file."""
        self.files.write(self._checked(target), text)

    def agrees(self, target: str, asked: str, got: str) -> bool:
        """Exactly; actuators that know how their hardware rounds say more."""
        return asked == got

    def _checked(self, target: str) -> Path:
        """A path that we would have written ourselves: a journal is read by root, and says where to write."""
        path = Path(target)
        root = os.path.realpath(self.roots.sysfs)
        if not _OURS.fullmatch(path.name) or not os.path.realpath(path).startswith(root + os.sep):
            raise OSError(None, f"no setting of BayesTuner's below {root}", target)
        return path


def first_unwritable(paths: Iterable[Path]) -> Path | None:
    """The first of these files that can't be written, or None; judged with this process's capabilities, nothing is written."""
    effective = os.access in os.supports_effective_ids
    return next((path for path in paths if not os.access(path, os.W_OK, effective_ids=effective)), None)
