"""Two jobs on one machine: how much memory and which batch sizes let one have all the throughput it can while the other stays quick.

Needs root (or delegated cgroups) and two CPUs. Real runs: about a minute for 16.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import bayestuner as bt
from bayestuner.measure.job.parser import load_job
from bayestuner.tune.colocation import open_colocation

JOBS = Path(__file__).parent / "jobs"
VALUES = {  # of the job files' knobs, a coarse part
    "mobilenet_v2_cores": [1],
    "mobilenet_v2_memory_mib": [128, 256, 384],
    "mobilenet_v2_batch_size": [1, 4, 8, 16, 32],
    "text_cnn_cores": [1],
    "text_cnn_memory_mib": [64, 96, 128, 256],
    "text_cnn_batch_size": [1, 4, 16, 64, 256],
}
GOAL = bt.Goal(maximize="mobilenet_v2_throughput", subject_to=["text_cnn_throughput >= 1500", "text_cnn_latency_p99_s <= 0.02"])

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--runs", type=int, default=16)
parser.add_argument("--seconds", type=float, default=3.0, help="that each run measures, at most")
args = parser.parse_args()

jobs = [load_job(JOBS / f"{name}.toml") for name in ("mobilenet_v2", "text_cnn")]
jobs = [replace(job, measure=replace(job.measure, min_seconds=args.seconds / 2, max_seconds=args.seconds)) for job in jobs]
with open_colocation(jobs, GOAL, values=VALUES, memory_bytes=512 * 2**20) as machine:
    tuner = bt.Tuner(machine.space, machine.goal, budget=args.runs)
    print(f"{len(machine.space)} divisions of 2 cores and 512 MiB; {machine.goal}")
    for n in range(1, args.runs + 1):
        trial = tuner.tell_outcome(asked := tuner.ask(), machine.run(asked.config))
        words = ", ".join(f"{name} {value:.4g}" for name, value in trial.metrics.items() if name in machine.goal.metrics)
        print(f"{n:3} {' '.join(map(str, trial.config.values()))}: {words or trial.outcome.message}", flush=True)

best = tuner.best_feasible
print(f"best: {best.config} with {best.metrics['mobilenet_v2_throughput']:.1f} images/s" if best else "nothing met the goal")
