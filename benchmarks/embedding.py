"""A program that embeds the Tuner: 20 asks and tells on the paper's grid of 7168 configurations, on a made-up job that takes no time.

Prints as JSON the seconds from its start (given as an argument, of the monotonic clock) to each step, its peak memory and its threads.
With "compile" it asks once and then waits until everything is compiled.
"""

import json
import resource
import sys
import time
from pathlib import Path


def evaluate(config):
    """Power rises with all knobs, throughput with cores and batch size."""
    cores, batch = config["cores"], config["batch_size"]
    return {"power_w": 40.0 + 2.0 * cores + 0.5 * batch, "throughput": 3.0 * cores * batch**0.5}


def main(start, compile_all):
    seconds = {}

    def reached(step):
        seconds.setdefault(step, time.monotonic() - start)

    import bayestuner as bt

    bt.Tuner  # noqa: B018 - public names load on first use
    reached("import")
    space = bt.Space(bt.Integer("cores", 1, 28), bt.Integer("memory_gib", 1, 8), bt.Integer("batch_size", 1, 32))
    tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 50"]), seed=0)
    trial = tuner.ask()
    reached("first ask")
    if compile_all:
        tuner.warm_up()
        reached("compiled")
    for _ in range(19):
        tuner.tell(trial, **evaluate(trial.config))
        trial = tuner.ask()
        if tuner.explain(trial).reason != "design":
            reached("first model-based ask")
    reached("20 asks")
    used = resource.getrusage(resource.RUSAGE_SELF)
    threads = len(list(Path("/proc/self/task").iterdir()))
    print(json.dumps({"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024, "threads": threads}))


if __name__ == "__main__":
    main(float(sys.argv[1]), "compile" in sys.argv[2:])
