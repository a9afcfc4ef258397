"""Ray Tune's door, in an environment that has Ray: ``make test-ray``."""

import math

import pytest
import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher

import bayestuner as bt
from bayestuner.integrations.ray import BayesTunerSearch

SPACE = {"cores": tune.randint(1, 9), "model": {"batch": tune.choice([1, 2, 4, 8])}}
BEST = {"cores": 2, "model": {"batch": 8}}


def result(config):
    cores, batch = config["cores"], config["model"]["batch"]
    return {"power": 10.0 + 5.0 * cores + batch, "throughput": 4.0 * cores * batch**0.5}


def search(**more):
    return BayesTunerSearch(more.pop("space", SPACE), metric="power", mode="min", subject_to=["throughput >= 20"], **more)


def run(searcher, count, first=0):
    asked = []
    for i in range(first, first + count):
        config = searcher.suggest(str(i))
        searcher.on_trial_complete(str(i), result(config))
        asked.append(config)
    return asked


@pytest.mark.parametrize("seed", range(3))
def test_finds_the_constrained_optimum_and_repeats_nothing(seed):
    asked = run(search(seed=seed), 12)
    feasible = [c for c in asked if result(c)["throughput"] >= 20]
    assert min(feasible, key=lambda c: result(c)["power"]) == BEST
    assert len({(c["cores"], c["model"]["batch"]) for c in asked}) == 12


def test_restored_it_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = run(search(seed=4), 12)
    first = search(seed=4)
    asked = run(first, 6)
    pending = first.suggest("6")
    first.save(str(tmp_path / "state"))
    second = search(seed=4)
    second.restore(str(tmp_path / "state"))
    second.on_trial_complete("6", result(pending))
    assert [*asked, pending, *run(second, 5, first=7)] == whole


def test_failures_missing_metrics_and_strangers_are_taken():
    searcher = search()
    searcher.suggest("a"), searcher.suggest("b"), searcher.suggest("c")
    searcher.on_trial_complete("a", None, error=True)
    searcher.on_trial_complete("b", {"power": 1.0})
    searcher.on_trial_complete("c", {"power": math.nan, "throughput": 3.0})
    searcher.on_trial_complete("a stranger's", {"power": 1.0, "throughput": 30.0})
    assert run(searcher, 10)


def test_the_search_ends_when_everything_was_tried():
    searcher = BayesTunerSearch({"x": tune.randint(0, 3)}, metric="y", mode="max")
    for i in range(3):
        searcher.on_trial_complete(str(i), {"y": float(searcher.suggest(str(i))["x"])})
    assert searcher.suggest("3") == Searcher.FINISHED


def test_points_come_first_and_evaluated_points_are_learnt_from():
    searcher = search(points_to_evaluate=[BEST])
    assert searcher.suggest("0") == BEST
    with pytest.raises(ValueError, match="this search has bounds on others"):
        searcher.add_evaluated_point(BEST, 28.0)
    free = BayesTunerSearch(SPACE, metric="power", mode="min")
    free.add_evaluated_point(BEST, 28.0)
    assert run(free, 6)
    with pytest.raises(ValueError, match="lies outside the search space"):
        free.add_evaluated_point({"cores": 99, "model": {"batch": 8}}, 1.0)


def test_every_kind_of_range():
    space = {
        "a": tune.uniform(0.0, 1.0),
        "b": tune.loguniform(1e-4, 1.0),
        "c": tune.quniform(0.0, 1.0, 0.25),
        "d": tune.lograndint(1, 1000),
        "e": tune.qrandint(2, 10, 2),
        "f": tune.choice(["x", None, 3]),
        "fixed": 7,
    }
    searcher = BayesTunerSearch(space, metric="y", mode="min")
    for i in range(12):
        config = searcher.suggest(str(i))
        assert set(config) == set("abcdef")
        assert 0.0 <= config["a"] <= 1.0
        assert 1e-4 <= config["b"] <= 1.0
        assert config["c"] in (0.0, 0.25, 0.5, 0.75, 1.0)
        assert 1 <= config["d"] <= 999
        assert config["e"] in (2, 4, 6, 8, 10)
        assert config["f"] in ("x", None, 3)
        searcher.on_trial_complete(str(i), {"y": config["a"] + config["d"]})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"x": tune.randn(0, 1)}, "sampled by Normal, which no finite grid stands for"),
        ({"x": tune.grid_search([1, 2])}, "grid_search tries every value itself"),
        ({"x": 3}, "holds no range to search"),
    ],
)
def test_what_no_grid_stands_for_is_refused(space, words):
    with pytest.raises(ValueError, match=words):
        BayesTunerSearch(space, metric="y", mode="min").suggest("0")


def test_what_is_not_known_yet_is_said():
    with pytest.raises(RuntimeError, match="space"):
        BayesTunerSearch().suggest("0")
    with pytest.raises(RuntimeError, match="metric"):
        BayesTunerSearch(SPACE).suggest("0")


def test_bounds_may_be_objects():
    assert BayesTunerSearch(SPACE, metric="power", mode="min", subject_to=[bt.AtLeast("a/b", 1.0)]).suggest("0")


@pytest.mark.filterwarnings("ignore")
def test_a_real_tuner_with_several_trials_at_once(tmp_path):
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        searcher = BayesTunerSearch(subject_to=["throughput >= 20"])
        tuner = tune.Tuner(
            lambda config: result(config),  # noqa: PLW0108 - goes to workers by value, which a function of this file can't
            param_space={**SPACE, "fixed": "kept"},
            tune_config=tune.TuneConfig(metric="power", mode="min", num_samples=12, search_alg=ConcurrencyLimiter(searcher, 2)),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        )
        found = tuner.fit()
        feasible = [r for r in found if r.metrics["throughput"] >= 20]
        best = min(feasible, key=lambda r: r.metrics["power"])
        assert (best.config["cores"], best.config["model"]["batch"], best.config["fixed"]) == (2, 8, "kept")
        assert len(found) == 12
    finally:
        ray.shutdown()
