"""``python -m benchmarks.peers.quality TABLES --peers a,b --seeds 0:5 --out RUNS``: peers on the search-quality problems, beside ours.

Prints the table of all runs in the folder when done. Appends one JSON line for each problem and seed to ``RUNS/PEER.jsonl``, which the
search-quality report reads, and goes on where an earlier call stopped. Seeds are outermost, so that a peer cut short has been on every
problem.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from benchmarks.peers import roster
from benchmarks.peers.session import PATIENCE_S, PeerFailed, Replay, Session, end_peers_too
from benchmarks.peers.table import Table
from benchmarks.search_quality import report, store
from benchmarks.search_quality.problems import Problem, load
from benchmarks.search_quality.replay import replay
from benchmarks.search_quality.tuners import TUNERS


def seeds_of(text: str) -> range:
    """``5`` is 0 .. 4; ``5:10`` is 5 .. 9."""
    first, _, last = text.rpartition(":")
    return range(int(first or 0), int(last))


def finished(path: Path) -> set[tuple[str, int]]:
    """(problem, seed) of the runs in a file."""
    if not path.exists():
        return set()
    runs = map(json.loads, path.read_text().splitlines())
    return {(r["problem"], r["seed"]) for r in runs}


def line(peer: str, problem: str, seed: int, run: Replay, versions: dict[str, str]) -> str:
    """One run as it is kept."""
    entry = {
        "tuner": peer,
        "problem": problem,
        "seed": seed,
        "rows": run.rows,
        "suggest_s": [round(s, 6) for s in run.suggest_s],
        "snapped": run.snapped,
        "versions": versions,
    }
    return json.dumps(entry) + "\n"


def run_peer(peer: str, tables: dict[str, Table], args: argparse.Namespace) -> None:
    """Run one peer on all that is left to do. A run that fails is reported and left for the next call."""
    path, started = args.out / f"{peer}.jsonl", time.monotonic()
    done = finished(path)
    todo = [(seed, name) for seed in args.seeds for name in tables if (name, seed) not in done]
    session, count, snapped, asked, seconds = None, 0, 0, 0, []
    try:
        for seed, name in todo:
            if args.limit and time.monotonic() - started > args.limit:
                break
            try:
                session = session or Session(
                    roster.command(peer, args.venvs), roster.environment(peer), path.with_suffix(".log"), args.patience
                )
                run = session.replay(tables[name], seed, args.budget)
            except PeerFailed as error:
                print(f"{peer} on {name}, seed {seed}: {error}", file=sys.stderr, flush=True)
                session = None
                continue
            with path.open("a") as stream:
                stream.write(line(peer, name, seed, run, session.versions))
            count, snapped, asked = count + 1, snapped + run.snapped, asked + len(run.rows)
            seconds.append(run.suggest_s[-1])
    finally:
        if session is not None:
            session.close()
    if todo:
        last = f", {statistics.median(seconds):.3g} s for the last suggestion, {snapped / asked:.0%} snapped" if count else ""
        print(f"{peer}: {count} of {len(todo)} runs in {time.monotonic() - started:.0f} s{last}", file=sys.stderr, flush=True)


def run_ours(problems: list[Problem], args: argparse.Namespace) -> None:
    """Run this project's tuner on what is left of the same work."""
    done = finished(args.out / "bayes.jsonl")
    for problem in problems:
        for seed in args.seeds:
            if (problem.name, seed) not in done:
                store.append(args.out, replay("bayes", TUNERS["bayes"], problem, seed, args.budget))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.quality", description=__doc__.split("\n")[0])
    parser.add_argument("tables", type=Path, help="folder with problems.json and its tables, or simulated, or simulated-small")
    parser.add_argument("--peers", default="", help=f"some of {','.join(roster.PEERS)} (default: all that are installed)")
    parser.add_argument("--seeds", type=seeds_of, default=range(5), help="FIRST:END (default 0:5)")
    parser.add_argument("--budget", type=int, default=20)
    parser.add_argument("--only", default="", help="problems with this in their name")
    parser.add_argument("--out", type=Path, default=Path("search-quality-runs"))
    parser.add_argument("--venvs", type=Path, default=roster.default_venvs(), help="where install.py put the peers")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds after which a peer starts no further run (default: no limit)")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds for one suggestion")
    args = parser.parse_args()
    end_peers_too()
    problems = load(args.tables, args.only)
    tables = {p.name: Table.of(p) for p in problems}
    args.out.mkdir(parents=True, exist_ok=True)
    run_ours(problems, args)
    for peer in roster.chosen(args.peers):
        if not roster.installed(peer, args.venvs):
            print(f"{peer} is not installed: python -m benchmarks.peers.install --peer {peer}", file=sys.stderr)
            continue
        run_peer(peer, tables, args)
    runs = store.read_all(args.out)
    print(report.table(problems, runs), report.family_table(problems, runs), sep="\n\n")


if __name__ == "__main__":
    main()
