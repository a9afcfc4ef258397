"""Laws that hold for every strategy: asking and telling, no repeats, errors that change nothing."""

from contextlib import suppress
from functools import partial

import pytest

from bayestuner.errors import InvalidGoal, InvalidTell, NoRecommendation, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.aimd import AIMD
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.search.strategies.batch_sizer import BatchSizer
from bayestuner.search.strategies.cherry_pick import CherryPick
from bayestuner.search.strategies.exhaustive import ExhaustiveSearch
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategies.spearmint import Spearmint
from bayestuner.search.strategies.trade_off import TradeOff
from bayestuner.space import Categorical, Integer, Ordinal, Space
from bayestuner.study.registry import make_strategy, strategy_names
from bayestuner.trial import Measured, Reading

STRATEGIES = [
    Tuner, RandomSearch, ExhaustiveSearch, Annealing, partial(CherryPick, share=None), TradeOff,
    pytest.param(Spearmint, marks=pytest.mark.compiled),  # slice sampling in plain Python takes minutes
]  # fmt: skip
BATCH_ONLY = [partial(BatchSizer, knob="batch_size"), partial(AIMD, knob="batch_size")]  # they never ask for most of the space
ALL = [*STRATEGIES, *BATCH_ONLY]
GOAL = Goal(minimize="power_w", subject_to=["throughput >= 20"])


def test_no_strategy_escapes_the_laws():
    made = {type(make(space(), GOAL)) for make in (getattr(m, "values", (m,))[0] for m in ALL)}
    assert made == {type(make_strategy(name, space(), GOAL, seed=0, budget=20)) for name in strategy_names()}


def space():
    return Space(
        Integer("cores", 1, 5), Ordinal("batch_size", [1, 4, 16]), Categorical("mode", ["a", "b"]), where=lambda c: c["cores"] != 2
    )


def evaluate(config):
    factor = 1.1 if config["mode"] == "b" else 1.0
    return {
        "power_w": 10 + 5 * config["cores"] * factor,
        "throughput": 8 * factor * config["cores"] * config["batch_size"] / (config["batch_size"] + 2),
    }


def fails(config):
    return config["batch_size"] == 16 and config["mode"] == "b"


def step(strategy):
    trial = strategy.ask()
    if fails(trial.config):
        return strategy.tell_failed(trial, "oom", "killed")
    return strategy.tell(trial, evaluate(trial.config))


@pytest.mark.parametrize("make", STRATEGIES)
def test_the_whole_space_is_asked_once_then_it_is_exhausted(make):
    strategy = make(space(), GOAL, seed=3)
    for _ in range(len(space())):
        step(strategy)
    assert {t.row for t in strategy.trials} == {space().row(c) for c in space()}
    with pytest.raises(SpaceExhausted, match="all 24 configurations"):
        strategy.ask()


@pytest.mark.parametrize("make", STRATEGIES)
def test_outstanding_trials_are_never_asked_again(make):
    strategy = make(space(), GOAL, seed=1)
    for _ in range(4):
        step(strategy)
    rows = [strategy.ask().row for _ in range(10)]
    assert len({*rows, *(t.row for t in strategy.trials)}) == 14
    assert len(strategy.outstanding) == 10


@pytest.mark.parametrize("make", STRATEGIES)
def test_same_seed_same_tells_same_asks_bit_for_bit(make):
    def run():
        strategy = make(space(), GOAL, seed=7)
        return [step(strategy).row for _ in range(12)]

    assert run() == run()


@pytest.mark.parametrize("make", STRATEGIES)
def test_reading_between_asks_changes_nothing(make):
    quiet, curious = make(space(), GOAL, seed=5), make(space(), GOAL, seed=5)
    for _ in range(10):
        assert step(quiet) == step(curious)
        _ = curious.best_feasible, curious.trials, curious.outstanding
        with suppress(NoRecommendation):  # where all so far have failed
            curious.recommend()


@pytest.mark.parametrize("make", STRATEGIES)
def test_best_feasible_is_the_lowest_that_meets_the_goal(make):
    strategy = make(space(), GOAL, seed=2)
    assert strategy.best_feasible is None
    for _ in range(24):
        step(strategy)
    lowest = min(evaluate(c)["power_w"] for c in space() if not fails(c) and evaluate(c)["throughput"] >= 20)
    assert strategy.best_feasible.metrics["power_w"] == lowest
    assert strategy.recommend().trial is not None


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    ("tell", "says"),
    [
        (lambda s, t: s.tell(t, power_w=float("nan"), throughput=1), "power_w' of trial 0"),
        (lambda s, t: s.tell(t, power_w=float("inf"), throughput=1), "finite"),
        (lambda s, t: s.tell(t, power_w=1), "also needs throughput"),
        (lambda s, t: s.tell(t, power_w="fast", throughput=1), "not 'fast'"),
        (lambda s, t: s.tell(t, power_w=Reading(1.0, sd=-1), throughput=1), "sd"),
        (lambda s, t: s.tell("trial", power_w=1, throughput=1), "not 'trial'"),
        (lambda s, t: s.tell_failed(t, "explosion"), "not 'explosion'"),
        (lambda s, t: s.tell(type(t)(9, t.row, t.config), power_w=1, throughput=1), "was not asked here"),
        (lambda s, t: s.tell(type(t)(0, t.row + 1, t.config), power_w=1, throughput=1), "was not asked here"),
    ],
)
def test_a_bad_tell_is_named_and_changes_nothing(make, tell, says):
    strategy = make(space(), GOAL)
    trial = strategy.ask()
    with pytest.raises(InvalidTell) as caught:
        tell(strategy, trial)
    assert says in str(caught.value)
    assert strategy.outstanding == (trial,)
    strategy.tell(trial, evaluate(trial.config))
    with pytest.raises(InvalidTell, match="told once"):
        strategy.tell(trial, evaluate(trial.config))


@pytest.mark.parametrize("make", STRATEGIES)
def test_a_transient_failure_frees_the_configuration(make):
    only = Space(Integer("cores", 4, 4))
    strategy = make(only, GOAL)
    strategy.tell_failed(strategy.ask(), "transient", "node lost")
    again = strategy.ask()
    assert again.row == 0 and again.number == 1
    strategy.tell(again, power_w=1.0, throughput=30.0)
    assert strategy.best_feasible.number == 1
    with pytest.raises(SpaceExhausted):
        strategy.ask()


@pytest.mark.parametrize("make", STRATEGIES)
def test_own_configurations_are_adopted_and_count_as_tried(make):
    strategy = make(space(), GOAL)
    config = {"cores": 5, "batch_size": 4, "mode": "a"}
    trial = strategy.adopt(config)
    strategy.tell(trial, evaluate(config))
    assert trial.config == config and not trial.repeat
    assert strategy.adopt(config).repeat
    rows = [strategy.ask().row for _ in range(23)]
    assert trial.row not in rows


@pytest.mark.parametrize("make", STRATEGIES)
def test_nothing_feasible_gives_no_best_but_the_least_violating_recommendation(make):
    strategy = make(space(), Goal(minimize="power_w", subject_to=["throughput >= 1000"]))
    with pytest.raises(NoRecommendation):
        strategy.recommend()
    for _ in range(8):
        step(strategy)
    assert strategy.best_feasible is None
    assert strategy.recommend().p_feasible < 0.5


@pytest.mark.parametrize("make", STRATEGIES)
def test_everything_failed_goes_on_to_the_end(make):
    strategy = make(space(), GOAL, seed=4)
    for _ in range(24):
        strategy.tell_failed(strategy.ask(), "error", "exit 1")
    assert strategy.best_feasible is None
    assert len({t.row for t in strategy.trials}) == 24


@pytest.mark.parametrize("make", ALL)
def test_a_relative_goal_is_refused_until_resolved(make):
    with pytest.raises(InvalidGoal, match="resolve"):
        make(space(), Goal(minimize="power_w", subject_to=["throughput >= 60%"]))


@pytest.mark.parametrize("make", ALL)
def test_a_goal_that_no_configuration_can_meet_is_refused(make):
    for bounds, problem in ((["t >= 3", "t <= 2"], "no number meets"), (["t >= 3", "cores >= 5000"], "no value of the knob 'cores'")):
        with pytest.raises(InvalidGoal, match=problem):
            make(space(), Goal(minimize="power_w", subject_to=bounds))


@pytest.mark.parametrize("make", ALL)
def test_readings_keep_their_standard_deviation(make):
    strategy = make(space(), GOAL)
    told = strategy.tell(strategy.ask(), power_w=Reading(3.0, sd=0.1), throughput=50)
    assert isinstance(told.outcome, Measured)
    assert told.outcome.metrics["power_w"] == Reading(3.0, sd=0.1)
