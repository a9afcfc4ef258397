"""``python -m benchmarks.peers.install [--peer NAME ...]``: each peer in an environment of its own, at the versions that were seen to work.

The versions are those of ``requirements/NAME.txt``, for Python 3.11. One that is installed is left alone unless --again is given.
BayesTuner gets one too, for its size only: it is run from the checkout.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers import roster

MARK = "requirements.txt"  # copied into an environment once all of it is there


def requirements_of(venv: str) -> Path:
    """The peer's pinned packages."""
    return roster.HERE / "requirements" / f"{venv}.txt"


def complete(folder: Path, requirements: Path) -> bool:
    """Whether the environment was finished, and with these very versions."""
    mark = folder / MARK
    return mark.exists() and mark.read_text() == requirements.read_text()


def install(venv: str, venvs: Path, python: str) -> bool:
    """Make one environment; report how it went in one line."""
    folder, log, started = venvs / venv, venvs / f"{venv}.log", time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    with log.open("w") as output:
        made = subprocess.run([python, "-m", "venv", str(folder)], stdout=output, stderr=output, check=False).returncode == 0
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-r", str(requirements_of(venv))]
        done = made and subprocess.run(pip, stdout=output, stderr=output, check=False).returncode == 0
        if done and venv == roster.OURS:
            ours = [*pip[:5], "--no-deps", str(roster.ROOT)]
            done = subprocess.run(ours, stdout=output, stderr=output, check=False).returncode == 0
    if done:
        shutil.copyfile(requirements_of(venv), folder / MARK)
    print(f"{venv}: {'installed' if done else f'FAILED, see {log}'} ({time.monotonic() - started:.0f} s)", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.install", description=__doc__.split("\n")[0])
    parser.add_argument("--peer", nargs="+", default=[*roster.PEERS, roster.OURS], help=f"some of {', '.join(roster.PEERS)}")
    parser.add_argument("--venvs", type=Path, default=roster.default_venvs(), help="folder for the environments (default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="a Python 3.11 (default: the one running this)")
    parser.add_argument("--again", action="store_true", help="install anew what is there")
    args = parser.parse_args()
    args.venvs.mkdir(parents=True, exist_ok=True)
    wanted = [roster.OURS if name == roster.OURS else roster.find(name).venv for name in roster.chosen(",".join(args.peer))]
    good = True
    for venv in filter(None, dict.fromkeys(wanted)):
        if complete(args.venvs / venv, requirements_of(venv)) and not args.again:
            print(f"{venv}: is there")
        else:
            good = install(venv, args.venvs, args.python) and good
    sys.exit(not good)


if __name__ == "__main__":
    main()
