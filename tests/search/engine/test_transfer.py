"""Learning from earlier studies: faster where they are alike, never lost where they mislead, and nothing changed where there are none."""

import math

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidGoal, InvalidSpace, InvalidTell
from bayestuner.search.engine.explanation import Explanation
from bayestuner.search.engine.history import MAX_TRIALS, EarlierStudy
from bayestuner.search.engine.transfer import MAX_CONFIGURATIONS, MAX_STUDIES

SPACE = bt.Space(bt.Integer("cores", 1, 14), bt.Integer("batch_size", 1, 16))
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 90"])


def server(config, factor=1.0):
    cores, batch = config["cores"], config["batch_size"]
    return {"power_w": factor * (25 + 6 * cores + 0.4 * batch), "throughput": factor * 20 * cores**0.8 * batch / (batch + 2)}


def upside_down(config):
    return {metric: 1e4 / value for metric, value in server(config).items()}


def search(n=10, history=(), evaluate=server, space=SPACE, goal=GOAL, **options):
    tuner = bt.Tuner(space, goal, history=history, **options)
    for _ in range(n):
        trial = tuner.ask()
        tuner.tell(trial, evaluate(trial.config))
    return tuner


def study(name="resnet", factor=0.8, seed=5, n=16, evaluate=None, **options):
    tuner = search(n, evaluate=evaluate or (lambda config: server(config, factor)), seed=seed, **options)
    return EarlierStudy(name, tuner.space, [(t.config, t.metrics) for t in tuner.trials], tuner.goal)


def rows(tuner):
    return [t.row for t in tuner.trials]


@pytest.fixture(scope="module")
def earlier():
    return [study("resnet", 0.8, 5), study("bert", 1.3, 6)]


def test_the_optimum_is_found_sooner(earlier):
    optimum = min(server(c)["power_w"] for c in SPACE if GOAL.feasible(server(c)))

    def runs(history, seed):
        tuner = search(12, history, seed=seed)
        return next((t.number for t in tuner.trials if GOAL.feasible(t.metrics) and t.metrics["power_w"] <= 1.02 * optimum), 12)

    with_history, without = ([runs(h, seed) for seed in range(4)] for h in (earlier, []))
    assert sum(with_history) < sum(without) - 4, (with_history, without)


def test_the_same_history_gives_the_same_choices(earlier):
    assert rows(search(8, earlier)) == rows(search(8, earlier))


def test_history_with_nothing_in_common_changes_no_choice():
    strange = bt.Space(bt.Integer("streams", 1, 4))
    unlike = [
        EarlierStudy("other knobs", strange, [({"streams": 2}, {"power_w": 3.0, "throughput": 1.0})], GOAL),
        EarlierStudy("other metrics", SPACE, [({"cores": 2, "batch_size": 2}, {"latency_s": 3.0})]),
        EarlierStudy("nothing measured", SPACE, [({"cores": 2, "batch_size": 2}, "oom")]),
        EarlierStudy("not positive", SPACE, [({"cores": 2, "batch_size": 2}, {"power_w": -1.0, "throughput": 0.0})]),
    ]
    assert rows(search(9, unlike)) == rows(search(9))


def test_a_study_that_misleads_loses_its_weight():
    wrong = [study("upside down", evaluate=upside_down, goal=bt.Goal(minimize="power_w", subject_to=["throughput >= 100"]))]
    tuner = search(14, wrong)
    weights = [tuner.explain(t).history_weight for t in tuner.trials if tuner.explain(t).history]
    assert max(weights) > weights[-1]
    assert weights[-1] < 0.5
    assert tuner.best_feasible.metrics["power_w"] <= 1.05 * search(14).best_feasible.metrics["power_w"]


def test_explain_names_the_studies_and_their_weight(earlier):
    tuner = search(8, earlier)
    explained = [tuner.explain(t) for t in tuner.trials]
    assert [e.learnt for e in explained[:3]] == ["the most promising of evenly spread ones, as in resnet and bert", "", ""]
    last = explained[-1]
    assert last.history == ("resnet", "bert")
    assert last.history_weight > 0.8
    assert last.learnt == f"as in resnet and bert, weight {last.history_weight:.2g}"
    assert math.isfinite(last.log_expected_improvement)
    assert Explanation("design").learnt == ""


def test_history_chooses_the_first_row_after_one_that_was_adopted(earlier):
    tuner = bt.Tuner(SPACE, GOAL, history=earlier)
    trial = tuner.adopt({"cores": 14, "batch_size": 16})
    tuner.tell(trial, server(trial.config))
    first = tuner.ask()
    assert tuner.explain(first).history == ("resnet", "bert")
    tuner.tell(first, server(first.config))
    assert tuner.explain(tuner.ask()).history == ()


def test_limits_of_earlier_studies_are_not_those_of_the_new_one(earlier):
    def best(limit):
        goal = bt.Goal(minimize="power_w", subject_to=[f"throughput >= {limit}"])
        found = search(10, earlier, goal=goal).best_feasible
        assert found.metrics["throughput"] >= limit
        return found.metrics["power_w"]

    assert best(130) > best(60)


def test_levels_knobs_and_metrics_may_differ():
    other = bt.Space(bt.Ordinal("cores", [2, 6, 10, 20]), bt.Integer("batch_size", 2, 32, 2), bt.Categorical("precision", ["fp32", "int8"]))

    def measured(config):
        return {**server(config, 0.7), "latency_s": 1.0}

    history = [study("other grid", evaluate=measured, space=other)]
    history.append(EarlierStudy("no limit", SPACE, [(t, m) for t, m in history[0].trials[:0]]))
    tuner = search(8, history)
    assert tuner.explain(tuner.trials[-1]).history == ("other grid",)
    assert tuner.explain(tuner.trials[-1]).history_weight > 0.5


def test_a_study_without_a_goal_is_learnt_from(earlier):
    without = [EarlierStudy(s.name, s.space, s.trials) for s in earlier]
    assert search(7, without).explain(search(7, without).trials[-1]).history == ("resnet", "bert")


def test_no_more_is_used_than_helps():
    configs = list(SPACE)[: MAX_TRIALS + 5]
    trials = [(c, server(c)) for c in [*configs, configs[-1], configs[-1]]]
    for count, each in ((1, MAX_TRIALS), (MAX_STUDIES + 2, MAX_CONFIGURATIONS // MAX_STUDIES)):
        tuner = bt.Tuner(SPACE, GOAL, history=[EarlierStudy(f"s{i}", SPACE, trials, GOAL) for i in range(count)])
        used = min(count, MAX_STUDIES)
        assert [s.name for s in tuner._transfer.studies] == [f"s{i + count - used}" for i in range(used)]
        assert all(codes.shape[0] == each + 2 for codes in tuner._transfer._codes)  # the last configuration was run three times
        assert {len(np.unique(codes, axis=0)) for codes in tuner._transfer._codes} == {each}


@pytest.mark.parametrize(
    "goal",
    [
        bt.Goal(maximize="throughput", subject_to=["power_w <= 80"]),
        bt.Goal(minimize="cores", subject_to=["throughput >= 90"]),
        bt.Goal(minimize="power_w", subject_to=["throughput >= 90", "batch_size <= 8"]),
        bt.Goal(minimize="power_w"),
    ],
    ids=str,
)
def test_every_kind_of_goal(earlier, goal):
    tuner = search(9, earlier, goal=goal)
    assert tuner.best_feasible is not None
    assert len(set(rows(tuner))) == 9


def test_a_listed_grid_gives_the_choices_of_the_product_grid(earlier):
    listed = bt.Space.from_rows(SPACE.knobs, list(SPACE))
    first = rows(search(3, earlier))

    def told(space):
        tuner = bt.Tuner(space, GOAL, history=earlier)
        for row in [*first, 7, 100, 150]:
            trial = tuner.adopt(SPACE.config(row))
            tuner.tell(trial, server(trial.config))
        return tuner.ask().row

    assert told(listed) == told(SPACE)


def test_options_that_change_the_search_work_with_history(earlier):
    for options in ({"min_p_feasible": 0.8}, {"samples": 3}, {"form": "ard", "family": "matern32"}):
        assert len(set(rows(search(6, earlier, **options)))) == 6
    forbidding = bt.Space(*SPACE.knobs, where=lambda c: c["cores"] * c["batch_size"] <= 60)
    tuner = search(8, earlier, space=forbidding)
    assert all(t.config["cores"] * t.config["batch_size"] <= 60 for t in tuner.trials)


def test_several_at_once_and_failures(earlier):
    tuner = search(5, earlier)
    batch = tuner.ask(4)
    assert len({t.row for t in batch}) == 4
    for trial in batch[:2]:
        tuner.tell_failed(trial, "error")
    for trial in batch[2:]:
        tuner.tell(trial, server(trial.config))
    assert tuner.explain(tuner.ask()).history


def test_a_grid_too_large_to_score_whole(earlier):
    wide = bt.Space(bt.Integer("cores", 1, 14), bt.Integer("batch_size", 1, 16), *(bt.Integer(f"k{i}", 1, 100) for i in range(3)))
    tuner = search(5, earlier, space=wide)
    assert tuner.explain(tuner.trials[-1]).approximate


def test_a_new_goal_for_the_same_search(earlier):
    tuner = search(6, earlier)
    tuner.retarget(bt.Goal(minimize="power_w", subject_to=["throughput >= 130"]))
    for _ in range(8):
        trial = tuner.ask()
        tuner.tell(trial, server(trial.config))
    assert tuner.explain(tuner.trials[-1]).history
    assert tuner.best_feasible.metrics["throughput"] >= 130


def test_noisy_readings_of_both(earlier):
    rng = np.random.default_rng(0)

    def noisy(config):
        return {m: bt.Reading(v * (1 + 0.02 * rng.standard_normal()), 0.02 * v) for m, v in server(config).items()}

    told = [EarlierStudy("noisy", SPACE, [(c, noisy(c)) for c, _ in [*earlier[0].trials, *earlier[0].trials[:3]]], GOAL)]
    tuner = search(8, told, evaluate=noisy)
    assert tuner.best_feasible is not None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: EarlierStudy("", SPACE, []), InvalidTell, "name"),
        (lambda: EarlierStudy("a", 3, []), InvalidSpace, "Space"),
        (lambda: EarlierStudy("a", SPACE, [], "power"), InvalidTell, "Goal"),
        (lambda: EarlierStudy("a", SPACE, {"cores": 1}), InvalidTell, "list"),
        (lambda: EarlierStudy("a", SPACE, [({"cores": 1}, "oom")]), InvalidSpace, "knobs cores, batch_size"),
        (lambda: EarlierStudy("a", SPACE, [({"cores": 99, "batch_size": 1}, "oom")]), InvalidSpace, "can't be 99"),
        (lambda: EarlierStudy("a", SPACE, [({"cores": 1, "batch_size": 1}, "fire")]), InvalidTell, "fire"),
        (
            lambda: EarlierStudy("a", SPACE, [({"cores": 1, "batch_size": 1}, {"power_w": float("nan")})]),
            InvalidTell,
            "trial 0 of the earlier",
        ),
        (lambda: EarlierStudy("a", SPACE, [({"cores": 1, "batch_size": 1}, 3.0)]), InvalidTell, "metrics or the kind"),
        (lambda: EarlierStudy("a", SPACE, [3]), InvalidTell, "configuration and its result"),
        (lambda: bt.Tuner(SPACE, GOAL, history=[3]), InvalidGoal, "History"),
        (lambda: bt.Tuner(SPACE, GOAL, history=EarlierStudy("a", SPACE, [])), InvalidGoal, "list of earlier studies"),
    ],
)
def test_what_is_no_history_is_refused_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words):
        make()
