"""``python -m benchmarks.tables.measure``: a coarse table of each of the paper's eight jobs, on this machine.

408 runs on a machine with two cores, an hour and a half or so (an estimate: windows end as soon as figures are tight, the largest nets take
half a minute each). Nothing else should run meanwhile. Stopped and started again it goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bayestuner.cli.main import main as bayestuner

JOBS = Path(__file__).resolve().parents[2] / "examples" / "jobs"
_BATCHES = "1,2,4,8,16,32"
PARTS = {
    "mobilenet_v2": {"memory_mib": "128,192,256,448,1024", "batch_size": _BATCHES},
    "text_cnn": {"memory_mib": "64,96,128,256", "batch_size": "1,4,16,64,256"},
    "resnet_v2": {"memory_mib": "256,320,448,640,1024", "batch_size": _BATCHES},
    "inception_v3": {"memory_mib": "256,384,512,768,1280", "batch_size": _BATCHES},
    "deepspeech2": {"memory_mib": "256,288,384,512,768", "batch_size": _BATCHES},
    "deepvs": {"memory_mib": "768,1280,2048,3328", "batch_size": _BATCHES},
    "nasnet_large": {"memory_mib": "1024,1536,2048,3072"},
    "pnasnet5_large": {"memory_mib": "1024,1536,2048,3072"},
}
"""Job -> the values of its knobs that are measured; of every other knob all are."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.measure", description=__doc__.split("\n")[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the tables (default: benchmarks/tables)")
    parser.add_argument("--budget-seconds", help="of each job")
    args = parser.parse_args()
    for name in args.jobs or PARTS:
        if name not in PARTS:
            parser.error(f"there is no job {name!r}; choose some of {', '.join(PARTS)}")
        words = ["measure-grid", str(JOBS / f"{name}.toml"), "--out", str(args.out / f"{name}.csv")]
        words += [word for knob, values in PARTS[name].items() for word in ("--only", f"{knob}={values}")]
        code = bayestuner([*words, *(["--budget-seconds", args.budget_seconds] if args.budget_seconds else [])])
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
