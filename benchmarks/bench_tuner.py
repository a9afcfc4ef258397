"""A suggestion: `ask` and `tell` of the Tuner on the paper's 7168 configurations, two metrics, one thread, at several numbers of runs."""

import numpy as np
import pytest

import bayestuner as bt

SPACE = bt.Space(bt.Integer("cores", 1, 28), bt.Integer("memory_gib", 1, 8), bt.Integer("batch_size", 1, 32))
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 90"])
ROUNDS = 15


def server(config):
    """A made-up server: rising power, saturating throughput, a memory cliff."""
    cores, memory, batch = config.values()
    cliff = min(1.0, memory * 512 / (500 + 60 * batch))
    return {"power_w": 25 + 6 * cores + 0.4 * batch + 0.3 * memory, "throughput": 20 * cores**0.8 * batch / (batch + 2) * cliff}


def after(n):
    """A tuner that has been told n results at random configurations."""
    tuner = bt.Tuner(SPACE, GOAL, seed=0, budget=n + ROUNDS)
    tuner.warm_up()
    for row in np.random.default_rng(0).choice(SPACE.n_rows, n, replace=False):
        trial = tuner.adopt(SPACE.config(int(row)))
        tuner.tell(trial, server(trial.config))
    return tuner


@pytest.mark.parametrize("n", [20, 50, 200])
def test_tell(benchmark, n):
    tuner = after(n)

    def one(trial):
        tuner.tell(trial, server(trial.config))

    benchmark.pedantic(one, setup=lambda: ((tuner.ask(),), {}), rounds=ROUNDS)


def test_ask(benchmark):
    tuner = after(20)

    def told():
        if tuner.outstanding:
            trial = tuner.outstanding[0]
            tuner.tell(trial, server(trial.config))

    benchmark.pedantic(tuner.ask, setup=told, rounds=ROUNDS)


def test_ask_for_a_batch_of_eight(benchmark):
    tuner = after(20)

    def told():
        for trial in tuner.outstanding:
            tuner.tell(trial, server(trial.config))

    benchmark.pedantic(lambda: tuner.ask(8), setup=told, rounds=3)


def test_retarget_and_ask(benchmark):
    """A new threshold: no fit, one scoring."""
    tuner = after(20)

    def again():
        tuner.retarget(bt.Goal(minimize="power_w", subject_to=["throughput >= 60"]))
        tuner._make_plan()

    benchmark.pedantic(again, rounds=ROUNDS)
