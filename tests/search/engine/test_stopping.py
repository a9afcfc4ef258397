"""Stopping rules: what they compute against brute force, when they fire and when they don't, and how often a regret bound is right."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

import bayestuner as bt
from bayestuner.errors import InvalidGoal
from bayestuner.search.engine import regret, remaining_gain
from bayestuner.search.engine.remaining_gain import ObjectiveUnits
from bayestuner.search.engine.stopping import MAX_ERROR, MAX_LOOKS, ExpectedImprovement, RegretBound, WallClock, surely_below
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.surrogate.transform import Transform

SPACE = bt.Space(bt.Integer("cores", 1, 20), bt.Integer("batch_size", 1, 10))  # 200 rows
GOAL = bt.Goal(minimize="power_w", subject_to=["throughput >= 90"])


def server(config, a=1.0, b=1.0):
    cores, batch = config["cores"], config["batch_size"]
    return {
        "power_w": 25 + 6 * a * cores + 0.4 * batch + 4 * b * math.sin(0.5 * cores * b) * batch**0.3,
        "throughput": 22 * cores**0.8 * batch / (batch + 2 * a) - 0.3 * b * (batch - 5) ** 2,
    }


def run(tuner, n, evaluate=server):
    for _ in range(n):
        trial = tuner.ask()
        try:
            metrics = evaluate(trial.config)
        except bt.RunFailed as failure:
            tuner.tell_failed(trial, failure.kind)
        else:
            tuner.tell(trial, metrics)
    return tuner


def regret_of(tuner, evaluate=server):
    """The true one, as a share of the best measured objective."""
    goal = tuner.goal
    values = [m for c in tuner.space if goal.feasible(m := evaluate(c))]
    best = min(goal.sign * m[goal.objective] for m in values)
    found = goal.sign * tuner.best_feasible.metrics[goal.objective]
    return (found - best) / abs(found)


# -- the figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("gain", "sd"), [(0.4, 0.3), (-0.5, 0.4), (-2.0, 0.5), (0.1, 1.5), (-0.2, 0.05), (3.0, 0.2)])
def test_the_expected_share_is_the_integral_over_the_gain(power, sign, gain, sd):
    units = ObjectiveUnits(Transform.of(np.array([60.0, 80.0, 110.0]), power), sign)
    base = -0.5
    w = base - gain + sd * np.linspace(-12, 12, 100_001)
    density = norm.pdf(w, base - gain, sd)
    integrand = units.share(np.array([base]), np.minimum(w, base)) * density
    expected = units.expected_share(base, np.array([base - gain]), np.array([sd]))
    assert expected[0] == pytest.approx(np.trapezoid(integrand, w), rel=1e-5, abs=1e-12)


def test_a_share_is_one_of_the_metric_at_the_base():
    down, up = (ObjectiveUnits(Transform(0.0, math.log(80.0), 0.35), sign) for sign in (1.0, -1.0))
    assert down.share(np.array([0.0]), np.array([-2.0]))[0] == pytest.approx(1 - 80 * math.exp(-0.7) / 80)
    assert up.share(np.array([0.0]), np.array([-2.0]))[0] == pytest.approx(80 * math.exp(0.7) / 80 - 1)
    assert ObjectiveUnits(Transform(1.0, -12.0, 3.0), 1.0).share(np.zeros(1), np.array([-2.0]))[0] == pytest.approx(6 / 12)
    assert down.expected_share(0.0, np.array([1.0, -2.0]), np.zeros(2)) == pytest.approx([0.0, 1 - math.exp(-0.7)], abs=1e-4)


def brute_force_improvement(tuner):
    """Over all rows not tried, by quadrature in the metric's own unit."""
    posterior, goal = tuner._posterior, tuner.goal
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    incumbent = posterior.incumbent(goal).value
    tried = {t.row for t in tuner.trials}
    objective = posterior.models[goal.objective]
    best = objective.transform.backward(goal.sign * incumbent)
    largest = 0.0
    for row in range(len(tuner.space)):
        if row in tried:
            continue
        code = tuner.space.codes([row])
        mean, variance = objective.gp.predict(code)
        z = mean[0] + math.sqrt(variance[0] + objective.gp.noise_variance) * nodes
        gains = [max(0.0, goal.sign * (best - objective.transform.backward(v))) / abs(best) for v in z]
        p = 1.0
        for metric, sign, limit in posterior.limits(goal):
            model = posterior.models[metric]
            m, v = model.gp.predict(code)
            p *= norm.cdf(sign * (m[0] - limit) / math.sqrt(v[0] + model.gp.noise_variance))
        largest = max(largest, p * posterior.p_viable(row) * float(weights @ gains) / math.sqrt(2 * math.pi))
    return largest


@pytest.mark.parametrize("goal", [GOAL, bt.Goal(maximize="throughput", subject_to=["power_w <= 90"])], ids=str)
@pytest.mark.parametrize("n", [5, 7])
def test_the_improvement_left_is_the_largest_over_the_grid(goal, n):
    tuner = run(Tuner(SPACE, goal, seed=2), n)
    left = tuner.remaining_gain().largest_improvement()
    assert left > 0.0
    assert left == pytest.approx(brute_force_improvement(tuner), rel=0.02)  # the quadrature is across a kink


def test_the_improvement_left_counts_failures():
    def evaluate(config):
        if config["batch_size"] >= 9:
            raise bt.RunFailed("oom")
        return server(config)

    tuner = run(Tuner(SPACE, GOAL, seed=1), 8, evaluate)
    assert tuner._posterior.viability is not None
    assert tuner.remaining_gain().largest_improvement() == pytest.approx(brute_force_improvement(tuner), rel=0.02)


def slow_regrets(tuner, count, rng):
    """As the module says, row by row and sample by sample."""
    posterior, goal = tuner._posterior, tuner.goal
    incumbent = posterior.incumbent(goal).row
    n_rows = len(tuner.space)
    failed = {t.row for t in tuner.trials if t.state == "failed"}
    values = {}
    for metric, model in posterior.models.items():
        own = model.gp.noise_variance
        smooth = regret.joint_samples(model.gp, tuner.space, count, rng)
        whole = smooth + math.sqrt(own) * rng.standard_normal(smooth.shape)
        for row, y, known in zip(model.rows, model.y, model.known_noise, strict=True):
            weight = own / (own + known)
            noise = math.sqrt(weight * known) * rng.standard_normal(count)
            whole[:, row] = smooth[:, row] + weight * (y - smooth[:, row]) + noise
        values[metric] = np.vectorize(model.transform.backward)(whole)
    out = []
    for s in range(count):
        found = values[goal.objective][s, incumbent]
        best = found
        for row in range(n_rows):
            if row not in failed and tuner.space.is_allowed(row) and goal.feasible({m: v[s, row] for m, v in values.items()}):
                best = goal.sign * min(goal.sign * best, goal.sign * values[goal.objective][s, row])
        out.append(abs(found - best) / abs(found))
    return np.array(out)


@pytest.mark.parametrize("goal", [GOAL, bt.Goal(maximize="throughput", subject_to=["power_w <= 90"])], ids=str)
@pytest.mark.parametrize("sd", [None, 0.5])
def test_regrets_are_those_of_the_slow_way(goal, sd):
    space = bt.Space(bt.Integer("cores", 1, 20), bt.Integer("batch_size", 1, 10), where=lambda c: c["cores"] + c["batch_size"] <= 28)
    rng = np.random.default_rng(0)

    def evaluate(config):
        return {k: bt.Reading(v + (sd or 0.0) * rng.standard_normal(), sd) for k, v in server(config).items()}

    tuner = run(Tuner(space, goal, seed=4), 7, evaluate)
    fast = np.concatenate([tuner.remaining_gain().regrets(250, batch) for batch in range(4)])
    slow = slow_regrets(tuner, 1000, np.random.default_rng(1))
    assert fast.min() >= 0.0
    assert slow.std() > 0.0
    for q in (0.25, 0.5, 0.75, 0.9):
        limit = np.quantile(slow, q)
        assert np.mean(fast <= limit + 1e-12) == pytest.approx(np.mean(slow <= limit + 1e-12), abs=0.08)


def test_rows_that_failed_or_are_ruled_out_do_not_count():
    """Only one row is cheaper than the best one measured, and it is out, in each of the ways there are."""
    space = bt.Space(bt.Integer("memory_gib", 1, 6, more_is="safer"), bt.Categorical("mode", ["a", "b"]))

    def tuner_with(goal, tell_failed):
        tuner = Tuner(space, goal, seed=0)
        for memory in (2, 3, 4, 6):
            tuner.tell(tuner.adopt({"memory_gib": memory, "mode": "a"}), power_w=10.0 * memory, t=50.0 + memory)
            tuner.tell(tuner.adopt({"memory_gib": memory, "mode": "b"}), power_w=11.0 * memory, t=50.0 + memory)
        if tell_failed is not None:
            tuner.tell_failed(tuner.adopt({"memory_gib": 1, "mode": "a"}), tell_failed)
            tuner.tell_failed(tuner.adopt({"memory_gib": 1, "mode": "b"}), tell_failed)
        return tuner

    goal = bt.Goal(minimize="power_w")
    assert np.mean(tuner_with(goal, None).remaining_gain().regrets(64) > 0.1) > 0.9
    assert tuner_with(goal, "error").remaining_gain().regrets(64).max() == 0.0
    assert tuner_with(bt.Goal(minimize="power_w", subject_to=["memory_gib >= 2"]), None).remaining_gain().regrets(64).max() == 0.0
    hinted = Tuner(space, goal, seed=0)
    for memory in (2, 4, 6):
        hinted.tell(hinted.adopt({"memory_gib": memory, "mode": "a"}), power_w=10.0 * memory)
    hinted.tell_failed(hinted.adopt({"memory_gib": 3, "mode": "b"}), "oom")  # rules out less memory in mode b, not in mode a
    assert np.mean(hinted.remaining_gain().regrets(64) > 0.1) > 0.5
    hinted.tell_failed(hinted.adopt({"memory_gib": 1, "mode": "a"}), "oom")
    assert np.mean(hinted.remaining_gain().regrets(64) > 0.1) < 0.2


def test_an_objective_that_is_a_knob_is_known():
    tuner = run(Tuner(SPACE, bt.Goal(minimize="cores", subject_to=["throughput >= 90"]), seed=0), 4)
    remaining_gain = tuner.remaining_gain()
    best = tuner.best_feasible.config["cores"]
    shares = remaining_gain.regrets(64) * best
    assert np.allclose(shares, np.round(shares))
    assert 0.0 <= remaining_gain.largest_improvement() < 1.0
    tuner = run(tuner, 12)
    assert RegretBound().reason(tuner) is not None
    assert f"at {tuner.best_feasible.config['cores']}," in RegretBound().reason(tuner)


@pytest.mark.parametrize("samples", [0, 3])
def test_samples_of_the_hyperparameters_share_the_draws(samples):
    tuner = run(Tuner(SPACE, GOAL, seed=0, samples=samples), 6)
    remaining_gain = tuner.remaining_gain()
    assert remaining_gain.regrets(16).shape == (16,)
    assert remaining_gain.regrets(2).shape == (2,)  # fewer than samples
    assert remaining_gain.largest_improvement() >= 0.0


# -- the rules -------------------------------------------------------------------------------------------------------


def test_expected_improvement_stops_late_and_not_early():
    tuner = run(Tuner(SPACE, GOAL, seed=0), 5)
    rule = ExpectedImprovement(0.10)
    assert ExpectedImprovement(0.99, after=5).reason(tuner) is not None
    assert ExpectedImprovement(0.99, after=6).reason(tuner) is None
    left = tuner.remaining_gain().largest_improvement()
    assert ExpectedImprovement(left * 0.99, after=1).reason(tuner) is None
    text = ExpectedImprovement(left * 1.01, after=1).reason(tuner)
    assert f"of {tuner.best_feasible.metrics['power_w']:.4g}, is below" in text
    run(tuner, 15)
    assert rule.reason(tuner) is not None
    assert tuner.remaining_gain().largest_improvement() < 0.01


def test_no_rule_of_a_model_stops_before_the_goal_is_met():
    impossible = bt.Goal(minimize="power_w", subject_to=["throughput >= 1e6"])
    tuner = run(Tuner(SPACE, impossible, seed=0), 12)
    assert tuner.remaining_gain() is None
    assert ExpectedImprovement(0.99).reason(tuner) is None
    assert RegretBound(0.99).reason(tuner) is None


def test_no_rule_of_a_model_stops_a_strategy_without_one():
    strategy = run(RandomSearch(SPACE, GOAL, seed=0), 150)
    assert strategy.best_feasible is not None
    assert ExpectedImprovement(0.99).reason(strategy) is None
    assert RegretBound(0.99).reason(strategy) is None


def test_a_tuner_with_no_model_yet_goes_on():
    tuner = Tuner(SPACE, bt.Goal(minimize="power_w"), seed=0)
    assert RegretBound(0.99).reason(tuner) is None
    run(tuner, 1)
    assert RegretBound(0.99).reason(tuner) is None


def test_the_wall_clock():
    assert WallClock(0.0).reason() == "the time limit of 0 s is reached"
    assert WallClock(3600.0).reason() is None


IMPOSSIBLE = [
    (ExpectedImprovement, {"share": 0.0}),
    (ExpectedImprovement, {"share": 1.0}),
    (ExpectedImprovement, {"after": 0}),
    (RegretBound, {"share": 10}),
    (RegretBound, {"confidence": 1.0}),
    (RegretBound, {"after": 0}),
    (RegretBound, {"draws": 0}),
    (WallClock, {"limit_s": -1.0}),
    (WallClock, {"limit_s": math.nan}),
]


@pytest.mark.parametrize(("rule", "wrong"), IMPOSSIBLE)
def test_impossible_rules_are_refused(rule, wrong):
    with pytest.raises(InvalidGoal, match=str(next(iter(wrong.values())))):
        rule(**wrong)


@pytest.mark.parametrize("n", [64, 256])
@pytest.mark.parametrize("p", [0.1, 0.9, 0.99])
def test_surely_below_is_the_binomial_test(n, p):
    for hits in range(n + 1):
        assert surely_below(hits, n, p) == (binom.cdf(hits, n, p) <= MAX_ERROR / MAX_LOOKS)


def test_a_regret_bound_draws_until_it_is_sure(monkeypatch):
    tuner = run(Tuner(SPACE, GOAL, seed=0), 8)
    counts = []

    def answers(hits):
        def regrets(self, count, batch=0, *, integrate=False):
            counts.append((integrate, batch))
            return np.where(np.arange(count) < hits, 0.0, 1.0)

        counts.clear()
        monkeypatch.setattr(remaining_gain.RemainingGain, "regrets", regrets)
        return RegretBound(0.01, confidence=0.9).reason(tuner)

    assert answers(64).startswith("in 64 of 64 joint samples")
    assert answers(20) is None
    assert counts == [(False, 0)]
    assert "232 of 256" in answers(58)  # 0.906 each time: never sure, decided by the share
    assert counts == [(False, 0), (False, 1), (False, 2), (False, 3), (True, 0), (True, 1), (True, 2), (True, 3)]
    assert answers(57) is None  # 0.891
    assert counts == [(False, 0)]


def test_samples_of_the_hyperparameters_have_the_last_word(monkeypatch):
    tuner = run(Tuner(SPACE, GOAL, seed=0), 8)
    monkeypatch.setattr(
        remaining_gain.RemainingGain, "regrets", lambda self, count, batch=0, *, integrate=False: np.full(count, 0.5 * integrate)
    )
    assert RegretBound(0.4).reason(tuner) is None
    assert RegretBound(0.6).reason(tuner) is not None


def test_integrated_regrets_are_those_of_a_tuner_with_as_many_samples():
    """Both average over the same posterior of the hyperparameters, so that they agree up to the spread over its samples."""
    plain, sampled = run(Tuner(SPACE, GOAL, seed=2), 6), Tuner(SPACE, GOAL, seed=2, samples=40)
    for trial in plain.trials:
        sampled.tell_outcome(sampled.adopt(trial.config), trial.outcome)
    a = plain.remaining_gain().regrets(800, integrate=True)
    b = sampled.remaining_gain().regrets(800)
    assert np.mean(a <= 0.05) == pytest.approx(np.mean(b <= 0.05), abs=0.2)
    assert np.mean(a) == pytest.approx(np.mean(b), rel=0.5)


def test_the_same_results_give_the_same_reason():
    texts = [RegretBound(0.2, confidence=0.3).reason(run(Tuner(SPACE, GOAL, seed=6), 8)) for _ in range(2)]
    assert texts[0] == texts[1] is not None
    other = RegretBound(0.2, confidence=0.3)
    again = run(Tuner(SPACE, GOAL, seed=6), 8)
    again.remaining_gain().largest_improvement()
    again.recommend()
    assert other.reason(again) == texts[0]


def test_a_space_too_large_is_sampled_and_says_so():
    space = bt.Space(bt.Integer("cores", 1, 200), bt.Integer("batch_size", 1, 100), bt.Integer("memory_gib", 1, 20))
    tuner = run(Tuner(space, GOAL, seed=0), 18)
    remaining_gain = tuner.remaining_gain()
    seen, rows = remaining_gain.sampled
    assert rows == 400_000
    assert 1024 < seen <= 1024 + 256 + 18
    text = RegretBound(0.9).reason(tuner)
    assert f"the best of a sample of {seen} of the 400000 configurations" in text


def test_outstanding_runs_are_still_to_come():
    tuner = run(Tuner(SPACE, GOAL, seed=2), 6)
    before = tuner.remaining_gain().largest_improvement()
    tuner.ask(3)
    assert tuner.remaining_gain().largest_improvement() == before


# -- in the loop -----------------------------------------------------------------------------------------------------


def test_optimize_ends_with_the_first_rule_that_holds():
    result = bt.optimize(server, SPACE, GOAL, budget=60, stop=[bt.WallClock(3600), bt.RegretBound(0.01), bt.ExpectedImprovement(1e-9)])
    assert 3 < len(result.trials) < 30
    assert "joint samples" in result.stop_reason
    tuner = run(Tuner(SPACE, GOAL, seed=0, budget=60), len(result.trials) - 1)
    assert RegretBound(0.01).reason(tuner) is None  # not a run too late
    assert bt.optimize(server, SPACE, GOAL, budget=60, stop=[bt.WallClock(0)]).trials == ()


def test_optimize_says_when_the_space_was_used_up_and_nothing_of_the_budget():
    assert bt.optimize(server, SPACE, GOAL, budget=5).stop_reason is None
    small = bt.Space(bt.Integer("cores", 10, 12), bt.Integer("batch_size", 5, 6))
    assert bt.optimize(server, small, GOAL, budget=50).stop_reason == "every configuration has been tried"


# -- calibration -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_regret_bound_is_right_as_often_as_it_says_and_saves_runs(long):
    """Smooth problems without noise: of the runs it stopped, at least 85 % (90 % asked) have a regret within the share."""
    share, budget, right, lengths = 0.01, 60, [], []
    problems = 30 if long else 10
    for seed in range(problems):
        rng = np.random.default_rng(seed)
        a, b = rng.uniform(0.6, 1.6), rng.uniform(0.2, 1.5)

        def evaluate(config, a=a, b=b):
            return server(config, a, b)

        tuner, rule = Tuner(SPACE, GOAL, seed=seed), RegretBound(share)
        for n in range(1, budget + 1):
            run(tuner, 1, evaluate)
            if rule.reason(tuner) is not None:
                right.append(regret_of(tuner, evaluate) <= share)
                lengths.append(n)
                break
    assert len(right) >= 0.9 * problems
    assert np.mean(right) >= 0.85
    assert np.mean(lengths) < budget / 3
