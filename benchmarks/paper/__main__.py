"""``python -m benchmarks.paper``: the paper's figures and tables on the simulated server, and the report that sets them beside the paper's.

python -m benchmarks.paper                      # everything: docs/paper.md and docs/paper/
python -m benchmarks.paper fig5 --seeds 10      # one of them, printed
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.paper.exhibits import EXHIBITS
from benchmarks.paper.searches import end_workers

DOCS = Path(__file__).parents[2] / "docs"

INTRODUCTION = """# The paper's evaluation, made anew

**Everything on this page is SIMULATED.** The paper's server (two Xeon E5-2680 v4, 28 cores) and its eight jobs are models
(`bayestuner/simulate`): the server's from public facts, the jobs' from the counted work and measured memory of the real nets, their
speed assumed so that the constraints of the paper's Table 1 bind. The searches are real: the strategies are the ones the project
ships, each makes the same number of runs, is told the goal and the space and nothing else, and meets the same failures.
Nothing here says what a real server would save.

Made by `make paper` (`python -m benchmarks.paper`), {seeds} seeds, without noise unless said; ± is a 95 % interval over seeds by the
bootstrap. The data stand in `docs/paper/` as CSV."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__.split("\n")[0])
    parser.add_argument("exhibits", nargs="*", metavar="EXHIBIT", help=f"some of {', '.join(EXHIBITS)} (default: all, and the report)")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the report (default: docs)")
    args = parser.parse_args()
    unknown = [name for name in args.exhibits if name not in EXHIBITS]
    if unknown:
        parser.error(f"there is no exhibit {unknown[0]!r}; there are {', '.join(EXHIBITS)}")
    folder = args.docs / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    try:
        for name in args.exhibits or EXHIBITS:
            sections.append(EXHIBITS[name](folder, args.seeds))
            print(sections[-1], end="\n\n", flush=True)
    finally:
        end_workers()
    if not args.exhibits:
        report = "\n\n".join([INTRODUCTION.format(seeds=args.seeds), *sections]) + "\n"
        (args.docs / "paper.md").write_text(report)


if __name__ == "__main__":
    main()
