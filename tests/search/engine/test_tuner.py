"""The Bayesian strategy: it finds optima, survives degenerate data, and its extras do what they say."""

import math
import pickle

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidGoal
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.random_search import RandomSearch

SPACE = bt.Space(bt.Integer("cores", 1, 14), bt.Integer("memory_gib", 1, 6, more_is="safer"), bt.Integer("batch_size", 1, 16))
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 90"])


def server(config):
    """A made-up server with the paper's shape: saturating throughput, rising power, a memory cliff."""
    cores, memory, batch = config["cores"], config["memory_gib"], config["batch_size"]
    if 512 * memory < 500 + 60 * batch:
        raise bt.RunFailed("oom", "killed")
    return {"power_w": 25 + 6 * cores + 0.4 * batch + 0.3 * memory, "throughput": 20 * cores**0.8 * batch / (batch + 2)}


def optimum(goal, space=SPACE):
    values = []
    for config in space:
        try:
            metrics = server(config)
        except bt.RunFailed:
            continue
        if goal.feasible(metrics):
            values.append(goal.sign * metrics[goal.objective])
    return goal.sign * min(values)


def run(strategy, budget=20, evaluate=server):
    return bt.optimize(evaluate, strategy.space, strategy.goal, budget=budget, strategy=strategy)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(5))
def test_twenty_runs_come_within_two_per_cent_of_the_optimum(seed):
    result = run(Tuner(SPACE, GOAL, seed=seed))
    assert result.best.metrics["power_w"] <= 1.02 * optimum(GOAL)


@pytest.mark.compiled
def test_it_beats_random_search_clearly():
    def mean_gap(make):
        gaps = []
        for seed in range(8):
            best = run(make(SPACE, GOAL, seed=seed), budget=12).best
            gaps.append(1.0 if best is None else best.metrics["power_w"] / optimum(GOAL) - 1)
        return np.mean(gaps)

    assert mean_gap(Tuner) < 0.3 * mean_gap(RandomSearch)


@pytest.mark.compiled  # whole searches, none of whose lines the others leave out
@pytest.mark.parametrize("goal", [bt.Goal(maximize="throughput", subject_to=["power_w <= 70"]), bt.Goal(maximize="throughput")])
def test_maximising_works_as_minimising(goal):
    result = run(Tuner(SPACE, goal, seed=1))
    assert result.best.metrics["throughput"] >= 0.98 * optimum(goal)


@pytest.mark.compiled  # whole searches, none of whose lines the others leave out
def test_several_bounds_in_both_directions_on_the_same_metric():
    goal = bt.Goal(minimize="power_w", subject_to=["throughput >= 90", "throughput <= 120", "power_w >= 40"])
    result = run(Tuner(SPACE, goal, seed=0))
    assert result.best.metrics["power_w"] <= 1.05 * optimum(goal)


def test_a_knob_may_be_the_objective_and_be_bounded():
    goal = bt.Goal(minimize="cores", subject_to=["throughput >= 90", "batch_size <= 8"])
    result = run(Tuner(SPACE, goal, seed=0))
    feasible = [
        c["cores"]
        for c in SPACE
        if c["batch_size"] <= 8 and 512 * c["memory_gib"] >= 500 + 60 * c["batch_size"] and server(c)["throughput"] >= 90
    ]
    assert result.best.config["cores"] == min(feasible)
    assert all(t.config["batch_size"] <= 8 for t in result.trials[1:])


def test_listed_rows_and_categories():
    rows = [{"gpu": g, "mhz": m} for g in ("a", "b", "c") for m in (100, 200, 400, 800) if (g, m) != ("a", 800)]
    space = bt.Space.from_rows([bt.Categorical("gpu", ["a", "b", "c"]), bt.Ordinal("mhz", [100, 200, 400, 800])], rows)
    factor = {"a": 1.0, "b": 1.5, "c": 0.7}
    result = bt.optimize(
        lambda c: {"power_w": factor[c["gpu"]] * c["mhz"] ** 0.5, "throughput": c["mhz"] * (2 if c["gpu"] == "b" else 1)},
        space, bt.Goal(minimize="power_w", subject_to=["throughput >= 400"]), budget=9, seed=0,
    )  # fmt: skip
    assert result.best.config == {"gpu": "c", "mhz": 400}


def relabelled(order):
    space = bt.Space(bt.Categorical("mode", order), bt.Integer("a", 1, 12))
    tuner = Tuner(space, bt.Goal(minimize="y"), seed=3)
    # the design may depend on the order of rows, so the first runs are the caller's own
    for mode, a in [("x", 2), ("y", 9), ("z", 5), ("x", 11)]:
        trial = tuner.adopt({"mode": mode, "a": a})
        tuner.tell(trial, y={"x": 3.0, "y": 1.0, "z": 2.0}[mode] + (a - 6) ** 2 / 10)
    return tuner.predict({"mode": "y", "a": 6})["y"]


def test_relabelling_categories_changes_nothing():
    one, other = relabelled(["x", "y", "z"]), relabelled(["z", "x", "y"])
    assert one.mean == pytest.approx(other.mean, rel=1e-6)
    assert one.high == pytest.approx(other.high, rel=1e-6)


def test_the_order_of_tells_does_not_change_the_model():
    def model(order):
        tuner = Tuner(SPACE, GOAL, seed=0)
        configs = [{"cores": c, "memory_gib": 6, "batch_size": b} for c, b in ((1, 1), (14, 16), (7, 8), (3, 12), (10, 2))]
        trials = [tuner.adopt(c) for c in configs]
        for i in order:
            tuner.tell(trials[i], server(configs[i]))
        return tuner.predict({"cores": 5, "memory_gib": 5, "batch_size": 5})["power_w"]

    one, other = model([0, 1, 2, 3, 4]), model([4, 2, 0, 3, 1])
    assert one.mean == pytest.approx(other.mean, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e12])
def test_constant_outputs_are_survived(value):
    tuner = Tuner(SPACE, GOAL, seed=0)
    for _ in range(8):
        tuner.tell(tuner.ask(), power_w=value, throughput=value)
    assert len({t.row for t in tuner.trials}) == 8
    assert math.isclose(tuner.recommend().expected["power_w"].mean, value, rel_tol=1e-3, abs_tol=1e-3)


def test_near_duplicates_and_huge_ranges_are_survived():
    tuner = Tuner(SPACE, GOAL, seed=0)
    for i in range(10):
        trial = tuner.ask()
        tuner.tell(trial, power_w=10.0 ** (6 * (-1) ** i), throughput=10.0 ** (i - 5))
    for prediction in tuner.predict(tuner.trials[0].config).values():
        assert prediction.low <= prediction.mean <= prediction.high


def test_repeats_of_one_configuration_are_averaged():
    tuner = Tuner(bt.Space(bt.Integer("a", 1, 30)), bt.Goal(minimize="y"), seed=0)
    for a in (1, 30, 15, 22):
        tuner.tell(tuner.adopt({"a": a}), y=float(a))
    for y in (6.0, 8.0, 7.5, 6.5, 7.0, 7.0):
        tuner.tell(tuner.adopt({"a": 7}), y=y)
    assert tuner.predict({"a": 7})["y"].mean == pytest.approx(7.0, abs=0.3)


def test_a_reading_said_to_be_noisy_pulls_less():
    def prediction(sd):
        tuner = Tuner(bt.Space(bt.Integer("a", 1, 30)), bt.Goal(minimize="y"), seed=0)
        for a in (1, 5, 10, 20, 25, 30):
            tuner.tell(tuner.adopt({"a": a}), y=bt.Reading(10.0 + a, sd=0.01))
        tuner.tell(tuner.adopt({"a": 15}), y=bt.Reading(40.0, sd=sd))
        model = tuner._posterior.models["y"]
        own = model.noise_free_estimates()[0][list(model.rows).index(14)]
        return tuner.predict({"a": 15})["y"].mean, model.transform.backward(float(own))

    (noisy, noisy_own), (exact, exact_own) = prediction(20.0), prediction(0.01)
    assert noisy < exact - 3  # the smooth function: an exact reading may still be the row's own deviation
    assert exact_own == pytest.approx(40.0, abs=0.1) and noisy_own < exact_own - 5


def ruled_out(tuner):
    rows = np.arange(SPACE.n_rows)
    exclusions = next(tuner._candidates.exclusions(()))
    return set(rows[exclusions.excludes(rows, SPACE.codes(rows), tuner._candidates.level_starts)])


def test_an_oom_rules_out_the_dominated_box_and_a_contradiction_drops_the_hint():
    tuner = Tuner(SPACE, GOAL, seed=0)
    tuner.tell_failed(tuner.adopt({"cores": 4, "memory_gib": 3, "batch_size": 9}), "oom")
    assert ruled_out(tuner) == {SPACE.row({"cores": 4, "memory_gib": m, "batch_size": 9}) for m in (1, 2, 3)}
    tuner.tell(tuner.adopt({"cores": 4, "memory_gib": 1, "batch_size": 9}), power_w=1, throughput=1)
    assert ruled_out(tuner) == set()
    assert tuner._candidates.hints.dropped == ["memory_gib"]


def test_an_optimum_beside_the_failing_half_is_found():
    space = bt.Space(bt.Integer("a", 1, 20), bt.Integer("b", 1, 20))

    def evaluate(c):
        if c["a"] > 10:
            raise bt.RunFailed("error", "bad half")
        return {"y": 40.0 - c["a"] - c["b"]}  # the failing half looks best

    result = bt.optimize(evaluate, space, bt.Goal(minimize="y"), budget=20, seed=0)
    # the optimum lies right at the edge of what runs; past it, failing configurations still look better
    assert result.best.metrics["y"] == 10
    assert min(t.metrics["y"] for t in result.trials[:12] if t.state == "measured") == 10


def test_retarget_costs_no_run_and_no_fit():
    tuner = Tuner(SPACE, GOAL, seed=0)
    run(tuner)
    before = {name: model.gp.theta.copy() for name, model in tuner._posterior.models.items()}
    harder = bt.Goal(minimize="power_w", subject_to=["throughput >= 120"])
    tuner.retarget(harder)
    tuner.ask()
    assert all((tuner._posterior.models[name].gp.theta == theta).all() for name, theta in before.items())
    assert tuner.recommend().expected["throughput"].mean >= 110
    with pytest.raises(InvalidGoal, match="did not measure latency"):
        tuner.retarget(bt.Goal(minimize="latency"))


@pytest.mark.compiled  # whole searches, none of whose lines the others leave out
def test_explain_says_why():
    tuner = Tuner(SPACE, GOAL, seed=0)
    result = run(tuner)
    reasons = [tuner.explain(t).reason for t in result.trials]
    assert reasons[:3] == ["design"] * 3
    assert set(reasons[3:]) == {"expected improvement"}
    last = tuner.explain(next(t for t in reversed(result.trials) if tuner.explain(t).reason == "expected improvement"))
    assert 0 <= last.p_feasible <= 1 and 0 <= last.p_viable <= 1 and math.isfinite(last.log_expected_improvement)
    assert set(last.predicted) == {"power_w", "throughput"}
    assert tuner.explain(tuner.adopt(SPACE.config(0))).reason == "own choice"


@pytest.mark.compiled  # whole searches, none of whose lines the others leave out
def test_recommend_gives_intervals_that_hold_the_truth():
    tuner = Tuner(SPACE, GOAL, seed=0)
    run(tuner)
    r = tuner.recommend()
    truth = server(r.config)
    assert r.p_feasible >= 0.9
    for name, value in truth.items():
        assert r.expected[name].low * 0.98 <= value <= r.expected[name].high * 1.02


def test_parallel_asks_spread_out():
    tuner = Tuner(SPACE, GOAL, seed=0)
    run(tuner, budget=8)
    rows = [tuner.ask().row for _ in range(6)]
    assert len(set(rows)) == 6


@pytest.mark.compiled  # whole searches, none of whose lines the others leave out
def test_tiny_budgets_keep_the_design_below_a_third():
    for budget, first in ((3, 1), (6, 2), (20, 3)):
        tuner = Tuner(SPACE, GOAL, seed=0, budget=budget)
        run(tuner, budget=max(budget, 5))
        designs = [tuner.explain(t).reason for t in tuner.trials].count("design")
        assert designs == max(first, 2)  # a model needs two


def test_spaces_and_goals_can_be_pickled():
    tuner = Tuner(bt.Space(bt.Integer("a", 1, 30)), bt.Goal(minimize="y"), seed=0)
    assert pickle.loads(pickle.dumps(tuner.space)) == tuner.space
    assert pickle.loads(pickle.dumps(tuner.goal)) == tuner.goal


def test_one_configuration_is_enough():
    result = bt.optimize(lambda c: {"y": 1.0}, bt.Space(bt.Integer("a", 2, 2)), bt.Goal(minimize="y"), budget=5)
    assert result.best.config == {"a": 2} and len(result.trials) == 1


@pytest.mark.compiled
def test_readings_that_are_alike_and_far_from_the_limit_do_not_drive_the_search_into_failures():
    space = bt.Space(bt.Integer("cores", 1, 28), bt.Integer("memory_gib", 1, 8), bt.Integer("batch_size", 1, 32))
    tuner = Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 5.06"]), seed=1)
    measured = {(11, 5, 2): (87.5, 3.28), (7, 7, 27): (86.3, 3.47)}
    for knobs in [(11, 5, 2), (21, 1, 20), (7, 7, 27)]:
        trial = tuner.adopt(dict(zip(space.names, knobs, strict=True)))
        if knobs in measured:
            power, throughput = measured[knobs]
            tuner.tell(trial, power_w=power, throughput=throughput)
        else:
            tuner.tell_failed(trial, "error")
    failures = 0
    for _ in range(6):
        trial = tuner.ask()
        failures += trial.config["memory_gib"] == 1
        if trial.config["memory_gib"] == 1:
            tuner.tell_failed(trial, "error")
        else:
            tuner.tell(trial, power_w=87.0 + 0.1 * trial.config["cores"], throughput=3.3 + 0.01 * trial.config["cores"])
    assert failures <= 3


@pytest.mark.compiled
def test_the_explanation_of_a_choice_towards_a_far_limit_is_about_the_acquisition_that_was_scored():
    tuner = Tuner(SPACE, bt.Goal(minimize="power_w", subject_to=["throughput >= 1e6"]), seed=0)
    for cores in (7, 8):
        tuner.tell(tuner.adopt({"cores": cores, "memory_gib": 6, "batch_size": 8}), power_w=70.0 + cores, throughput=90.0 + 0.1 * cores)
    tuner.tell(tuner.ask(), power_w=76.0, throughput=90.4)
    why = tuner.explain(tuner.ask())
    assert why.reason == "expected improvement"
    assert why.p_feasible < 1e-6  # the true limit's
    assert -20.0 < why.log_expected_improvement < 3.0  # in standard deviations of the objective
