"""All ways of reading side by side: a process each, over one made-up /sys, in turns.

Most readers have /sys/class/powercap written into them, so each process gets a mount namespace of its own (``unshare -m``) with the
made-up tree bound over /sys: nobody needs an option, and nobody has another path.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import tree
from benchmarks.measuring.install import python
from benchmarks.peers.roster import ROOT

NAMES = {
    "ours": "BayesTuner",
    "ours_plain": "BayesTuner without the extension",
    "files": "open, read, float, close in Python",
    "pyrapl": "pyRAPL",
    "pyjoules": "pyJoules",
    "codecarbon": "CodeCarbon",
    "zeus": "Zeus",
}
PEERS = ("pyrapl", "pyjoules", "codecarbon", "zeus")
ROUNDS = 101
BATCH_NS = 2_000_000
IN_NAMESPACE = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys && exec "$@"']


@dataclass(frozen=True, slots=True)
class Timing:
    """Nanoseconds of CPU time a reading in each round, and how many domains a reading holds."""

    name: str
    domains: int
    rounds_ns: tuple[float, ...]

    @property
    def median_ns(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds_ns)


class _Process:
    def __init__(self, name: str, folder: Path) -> None:
        interpreter = str(python()) if name in PEERS else sys.executable
        script = Path(__file__).with_name("contender.py")
        command = [*IN_NAMESPACE, str(folder / "sys"), interpreter, "-P", str(script), name, str(folder)]
        environment = {**os.environ, "PYTHONPATH": "" if name in PEERS else str(ROOT)}
        with (folder / f"{name}.log").open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=folder
            )
        answer = self._line()
        if not answer.startswith("ready "):
            self.close()
            raise OSError(f"{name} could not be started: {(folder / f'{name}.log').read_text()[-500:]}")
        self.domains = int(answer.split()[1])

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def time_ns(self, calls: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


def why_no_namespace() -> str | None:
    """Why no mount namespace can be had here, or None."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def compare(names: tuple[str, ...], rounds: int = ROUNDS) -> tuple[Timing, ...]:
    """Time each way in turns, round after round, so that whatever else the machine does falls on all of them."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-bench-") as name:
        folder = Path(name)
        energies = tree.make(folder)
        processes: dict[str, _Process] = {}
        try:
            with tree.moving(energies):  # while they prove their counters
                for contender in names:
                    processes[contender] = _Process(contender, folder)
            calls = {n: max(10, int(BATCH_NS / p.time_ns(100))) for n, p in processes.items()}
            taken: dict[str, list[float]] = {n: [] for n in names}
            for _ in range(rounds):
                for n, process in processes.items():
                    taken[n].append(process.time_ns(calls[n]))
        finally:
            for process in processes.values():
                process.close()
        return tuple(Timing(n, processes[n].domains, tuple(taken[n])) for n in names)


def versions() -> dict[str, str]:
    """Versions of the peers that are installed."""
    if not python().exists():
        return {}
    code = (
        "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in ('pyRAPL', 'pyJoules', 'codecarbon', 'zeus')}))"
    )
    found: dict[str, str] = json.loads(subprocess.run([str(python()), "-c", code], capture_output=True, text=True, check=True).stdout)
    return found
