"""``python -m benchmarks.measuring.install``: the energy readers of other projects, in an environment of their own in the user's cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.roster import default_venvs

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def python() -> Path:
    """The interpreter of that environment, whether it is there or not."""
    return default_venvs() / "energy_readers" / "bin" / "python"


def main() -> None:
    folder = python().parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run([str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)], check=True)
    print(folder)


if __name__ == "__main__":
    main()
