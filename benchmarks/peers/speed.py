"""``python -m benchmarks.peers.speed [--peers a,b] [--n 20]``: what a suggestion costs, beside the peers, as a markdown table.

A suggestion is everything from a result to the next configuration: tell, fit, ask. Every tuner is given the same n - 1 observations of the
same grid (28 x 8 x 32 = 7168 configurations, one constraint), makes one suggestion to warm up, and is then timed on the next `SAMPLES`,
with n, n + 1, ... observations. Tuners take turns, so that a disturbance of the machine meets all of them. One thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.peers import roster
from benchmarks.peers.session import PATIENCE_S, PeerFailed, Session, end_peers_too
from benchmarks.peers.table import Table

SAMPLES = 6  # of one session; Kernel Tuner fits once for three
MB = 1e6
TIMES_BOTORCH, TIMES_CONSTRAINED = 200, 15  # what we promise: so many times faster


@dataclass
class Cost:
    """What was measured of one tuner, a value a sample; seconds and bytes.

    `first_s` and `model_s` count from the start of the process to the first suggestion, without and with observations known before.
    """

    suggest_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    model_s: list[float] = field(default_factory=list)
    import_s: list[float] = field(default_factory=list)
    peak_rss_bytes: list[int] = field(default_factory=list)
    environment_bytes: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


def measure(name: str, cost: Cost, venvs: Path, n: int, seed: int, log: Path, patience_s: float) -> None:
    """Add one round of samples: a process that is asked once, and one that is given n - 1 observations."""
    table = Table.server()
    command, environment = roster.command(name, venvs), roster.environment(name)
    with Session(command, environment, log, patience_s) as session:
        cost.first_s += session.replay(table, seed, budget=1).arrived_s
        cost.import_s.append(session.import_s)
    given = np.random.default_rng(seed).choice(len(table.codes), n - 1, replace=False).tolist()
    with Session(command, environment, log, patience_s) as session:
        run = session.replay(table, seed, budget=SAMPLES + 1, given=given)
        cost.model_s.append(run.arrived_s[0])
        cost.suggest_s += run.suggest_s[1:]
        cost.peak_rss_bytes.append(session.peak_rss_bytes())
        cost.versions = session.versions


def size_of(name: str, venvs: Path) -> int | None:
    """Bytes on disk of a tuner's environment, if it has one of its own."""
    folder = venvs / (name if name == roster.OURS else roster.find(name).venv or "none")
    if not folder.is_dir():
        return None
    files = (p.lstat() for p in folder.rglob("*"))
    return sum(f.st_blocks * 512 for f in files)


def _digits(value: float) -> str:
    """Three digits, never an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-") if value < 100 else f"{value:.0f}"


def row(name: str, cost: Cost, ours: Cost | None) -> str:
    """One line of the table."""
    low, median, high = np.percentile(cost.suggest_s, [10, 50, 90]) * 1e3
    times = _digits(median / (float(np.median(ours.suggest_s)) * 1e3)) if ours else ""
    size = "" if cost.environment_bytes is None else f"{cost.environment_bytes / MB:.0f}"
    figures = [
        _digits(median),
        f"{_digits(low)} to {_digits(high)}",
        _digits(float(np.mean(cost.suggest_s)) * 1e3),
        times,
        *(f"{np.median(v):.2f}" for v in (cost.first_s, cost.model_s, cost.import_s)),
        size,
        f"{np.median(cost.peak_rss_bytes) / MB:.0f}",
    ]
    return f"| {name} | {' | '.join(figures)} |"


def table_of(costs: dict[str, Cost]) -> str:
    """The whole table, fastest suggestion first."""
    head = [
        "tuner",
        "suggestion ms, median",
        "10 to 90 %",
        "mean",
        "times ours",
        "start to first ask s",
        "to first by a model s",
        "import s",
        "environment MB",
        "peak RSS MB",
    ]
    ours = costs.get(roster.OURS)
    names = sorted(costs, key=lambda name: float(np.median(costs[name].suggest_s)))
    return "\n".join([f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(row(name, costs[name], ours) for name in names)])


def verdicts(costs: dict[str, Cost]) -> list[str]:
    """How what we promise stands, as far as this run shows it."""
    if roster.OURS not in costs:
        return []
    ours = float(np.median(costs[roster.OURS].suggest_s))
    times = {name: float(np.median(costs[name].suggest_s)) / ours for name in roster.CONSTRAINED_GP if name in costs}
    said = []
    if "botorch" in times:
        said.append(_verdict("BoTorch", times["botorch"], TIMES_BOTORCH))
    if times:
        fastest = min(times, key=lambda name: times[name])
        said.append(_verdict(f"the fastest other constrained GP, {fastest},", times[fastest], TIMES_CONSTRAINED))
    return said


def _verdict(who: str, times: float, wanted: int) -> str:
    return f"{who} takes {times:.1f} times as long as ours (wanted: {wanted}): {'met' if times >= wanted else 'missed'}"


def machine() -> str:
    """One line about where this ran."""
    cpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}).stdout
    model = next((text.split(":")[1].strip() for text in cpu.splitlines() if text.startswith("Model name")), platform.machine())
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end, {system}"


def measure_all(names: Sequence[str], args: argparse.Namespace) -> dict[str, Cost]:
    """Take turns for so many rounds; a tuner that fails is reported and left out from then on."""
    costs = {name: Cost(environment_bytes=size_of(name, args.venvs)) for name in names}
    with TemporaryDirectory() as folder:
        measure(roster.OURS, Cost(), args.venvs, args.n, 0, Path(folder) / "warm-up.log", args.patience)  # compiles, if need be
        for seed in range(args.rounds):
            for name in list(costs):
                try:
                    measure(name, costs[name], args.venvs, args.n, seed, Path(folder) / f"{name}.log", args.patience)
                except PeerFailed as error:
                    if name == roster.OURS:
                        raise
                    print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
                    del costs[name]
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default="", help=f"some of {','.join(roster.PEERS)} (default: all that are installed)")
    parser.add_argument("--n", type=int, default=20, help="observations at the first suggestion timed (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help=f"of {SAMPLES} suggestions each (default 3)")
    parser.add_argument("--venvs", type=Path, default=roster.default_venvs(), help="where install.py put the peers")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds for one suggestion")
    parser.add_argument("--out", type=Path, help="keep every sample in this JSON file")
    args = parser.parse_args()
    end_peers_too()
    names = [roster.OURS]
    for name in roster.chosen(args.peers):
        if roster.installed(name, args.venvs):
            names.append(name)
        else:
            print(f"{name} is not installed: python -m benchmarks.peers.install --peer {name}", file=sys.stderr)
    try:
        costs = measure_all(list(dict.fromkeys(names)), args)
    except PeerFailed as error:
        sys.exit(f"BayesTuner itself failed: {error}")
    print(f"{args.n} to {args.n + SAMPLES - 1} observations, 7168 configurations, {args.rounds} rounds\n{machine()}\n")
    print(table_of(costs))
    print("\n" + "\n".join(verdicts(costs)) + "\n")
    for name, cost in costs.items():
        print(f"{name}: {', '.join(f'{package} {version}' for package, version in cost.versions.items())}")
    if args.out:
        args.out.write_text(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
