"""Embedding the tuner in another tool: ask, run it your way, tell. The server here is a formula; put your own measurement there."""

import bayestuner as bt


def run_on_my_server(cores, memory_gib, batch_size):
    if memory_gib < 1 + batch_size / 8:
        raise MemoryError
    return 25 + 6 * cores + 0.3 * batch_size, 20 * cores**0.8 * batch_size / (batch_size + 2)


space = bt.Space(bt.Integer("cores", 1, 28), bt.Integer("memory_gib", 1, 8, more_is="safer"), bt.Integer("batch_size", 1, 32))
tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 120"]), seed=0)
for _ in range(20):
    trial = tuner.ask()
    try:
        power_w, throughput = run_on_my_server(**trial.config)
    except MemoryError:
        tuner.tell_failed(trial, "oom")
    else:
        tuner.tell(trial, power_w=power_w, throughput=throughput)

print(f"best of {len(space)} configurations after 20 runs: {tuner.best_feasible.config} {tuner.best_feasible.metrics}")
