"""BatchSizer halves the batch sizes, AIMD climbs and backs off; both leave every other knob at its most."""

import pytest

from bayestuner.errors import InvalidSpace, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.strategies.aimd import AIMD
from bayestuner.search.strategies.batch_sizer import BatchSizer
from bayestuner.space import Categorical, Integer, Ordinal, Space

SPACE = Space(Integer("cores", 1, 28), Integer("memory_gib", 1, 8), Integer("batch_size", 1, 32))
GOAL = Goal(minimize="power_w", subject_to=["throughput >= 50"])
LATENCY = Goal(maximize="throughput", subject_to=["latency_s <= 0.2"])


def metrics(config):
    batch = config["batch_size"]
    return {"power_w": 60.0 + 2.0 * batch, "throughput": 100.0 * batch / (batch + 10.0), "latency_s": 0.01 * batch}


def batches(strategy, runs=40, evaluate=metrics):
    out = []
    for _ in range(runs):
        try:
            trial = strategy.ask()
        except SpaceExhausted:
            break
        out.append(trial.config["batch_size"])
        told = evaluate(trial.config)
        if isinstance(told, str):
            strategy.tell_failed(trial, told)
        else:
            strategy.tell(trial, told)
    return out


def test_batch_sizer_finds_the_smallest_batch_that_meets_the_goal_by_halving():
    strategy = BatchSizer(SPACE, GOAL)
    assert batches(strategy) == [16, 8, 12, 10, 9]  # throughput is 50 at 10
    assert strategy.best_feasible.config == {"cores": 28, "memory_gib": 8, "batch_size": 10}


def test_batch_sizer_ends_after_as_many_runs_as_halvings():
    strategy = BatchSizer(SPACE, GOAL)
    batches(strategy)
    with pytest.raises(SpaceExhausted, match="batch_sizer has ended: 5 of 32 batch sizes were run"):
        strategy.ask()


def test_batch_sizer_takes_a_failed_run_and_an_exceeded_bound_for_too_large_a_batch():
    assert batches(BatchSizer(SPACE, GOAL), evaluate=lambda c: "oom" if c["batch_size"] > 12 else metrics(c)) == [16, 8, 12, 10, 9]
    capped = Goal(minimize="power_w", subject_to=["throughput >= 50", "latency_s <= 0.11"])
    assert batches(BatchSizer(SPACE, capped))[-1] == 9


def test_aimd_grows_by_a_fixed_amount_and_backs_off_by_a_tenth():
    strategy = AIMD(SPACE, LATENCY, increase=4)
    assert batches(strategy, 8) == [1, 5, 9, 13, 17, 21, 18, 22]  # 21 exceeds 0.2 s; nine tenths of it are 18.9
    assert strategy.best_feasible.config["batch_size"] == 18


def test_aimd_backs_off_after_a_failed_run():
    ran = batches(AIMD(SPACE, GOAL, increase=10), 4, lambda c: "oom" if c["batch_size"] > 15 else metrics(c))
    assert ran == [1, 11, 21, 18]


def test_aimd_runs_no_batch_size_twice_and_ends():
    ran = batches(AIMD(SPACE, LATENCY), 100)
    assert len(ran) == len(set(ran)) <= 32


@pytest.mark.parametrize("make", [BatchSizer, AIMD])
def test_the_other_knobs_stay_at_their_most(make):
    space = Space(Integer("cores", 1, 4), Ordinal("batch_size", [1, 2, 8]), Categorical("mode", ["fp32", "int8"]))
    strategy = make(space, GOAL)
    assert [space.config(row) for row in strategy.ladder] == [{"cores": 4, "batch_size": b, "mode": "fp32"} for b in (1, 2, 8)]


@pytest.mark.parametrize("make", [BatchSizer, AIMD])
def test_listed_and_forbidden_rows_are_respected(make):
    allowed = Space(Integer("cores", 1, 4), Ordinal("batch_size", [1, 2, 8]), where=lambda c: c["cores"] < 4)
    assert {allowed.config(row)["cores"] for row in make(allowed, GOAL).ladder} == {3}
    listed = Space.from_rows([Integer("cores", 1, 4), Ordinal("batch_size", [1, 2, 8])], [(1, 8), (3, 8), (3, 1), (2, 2)])
    assert [listed.config(row)["batch_size"] for row in make(listed, GOAL).ladder] == [1, 8]  # of the group with 3 cores


@pytest.mark.parametrize("make", [BatchSizer, AIMD])
def test_a_space_without_a_batch_size_is_refused(make):
    with pytest.raises(InvalidSpace, match="sets the numeric knob 'batch_size', but the space has cores"):
        make(Space(Integer("cores", 1, 4)), GOAL)


@pytest.mark.parametrize("make", [BatchSizer, AIMD])
def test_the_same_tells_give_the_same_asks(make):
    assert batches(make(SPACE, GOAL)) == batches(make(SPACE, GOAL))
