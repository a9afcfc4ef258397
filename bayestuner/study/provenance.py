"""What a study was made with: versions and machine, as far as they can be read without measuring anything."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from bayestuner._version import __version__

_PACKAGES = ("numpy", "numba", "scipy", "cffi", "onnxruntime")


def machine_facts() -> dict[str, Any]:
    """Versions, kernel and CPU; JSON-able."""
    return {
        "bayestuner": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "host": platform.node(),
        "cpu_model": _cpu_model(),
        "cpus": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() in ("model name", "Model")), None)
