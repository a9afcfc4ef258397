"""Simulated jobs that share the paper's server: alone they are the single job, together they contend."""

import dataclasses
import pickle

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidGoal, InvalidSpace
from bayestuner.simulate.colocation import METRICS, Share, SimulatedColocation, behaviour_together, prefixes, shared_space
from bayestuner.simulate.platform import SimulatedJob, behaviour, column, large_space
from bayestuner.simulate.profiles import PROFILES, profile
from bayestuner.simulate.select import simulation
from bayestuner.simulate.server import E5_2680_V4
from bayestuner.trial import Failed

PAIR = ("text_cnn", "mobilenet_v2")
CONFIG = {
    "text_cnn_cores": 8,
    "text_cnn_memory_gib": 1,
    "text_cnn_batch_size": 32,
    "mobilenet_v2_cores": 14,
    "mobilenet_v2_memory_gib": 2,
    "mobilenet_v2_batch_size": 8,
}


@pytest.fixture(scope="module")
def pair():
    return SimulatedColocation(PAIR)


def constant(values, like):
    return np.full(like.shape, float(values))


# -- alone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_a_job_whose_neighbour_has_no_cores_behaves_exactly_as_alone(name, first):
    cores, memory_gib, batch = (column(large_space(), knob)[::5] for knob in ("cores", "memory_gib", "batch_size"))
    alone = behaviour(profile(name), cores, memory_gib, batch)
    own, none = Share(cores, memory_gib, batch), Share(constant(0, cores), constant(1, cores), constant(4, cores))
    other = next(n for n in PROFILES if n != name)
    jobs, shares = ([name, other], [own, none]) if first else ([other, name], [none, own])
    together, killed = behaviour_together([profile(n) for n in jobs], shares)
    for metric in ("power_w", *METRICS):
        key = metric if metric == "power_w" else f"{name}_{metric}"
        np.testing.assert_array_equal(together.metrics[key], alone.metrics[metric], err_msg=metric)
    np.testing.assert_array_equal(together.oom, alone.oom)
    np.testing.assert_array_equal(together.ghz, alone.ghz)
    assert not killed[1 if first else 0].any()
    np.testing.assert_array_equal(np.nan_to_num(together.metrics[f"{other}_throughput"]), 0.0)


# -- together --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("names", [PAIR, ("mobilenet_v2", "resnet_v2"), ("inception_v3", "text_cnn")], ids="+".join)
def test_no_job_is_faster_with_a_neighbour_than_alone(names):
    """Compared where it has the same kind of cores alone: the first job always, the second unless it is on both packages."""
    both = SimulatedColocation(names)
    rows = np.flatnonzero(both.space.allowed & ~both.table.oom)
    starts = np.zeros(rows.size)
    slower = False
    for name in names:
        cores, memory, batch = (column(both.space, f"{name}_{knob}")[rows] for knob in ("cores", "memory_gib", "batch_size"))
        alone = behaviour(profile(name), cores, memory, batch).metrics["throughput"]
        beside = both.table.metrics[f"{name}_throughput"][rows]
        same = (starts == 0) | (starts + cores <= 14) | (starts >= 14)
        assert (beside[same] <= alone[same] * (1 + 1e-9)).all()
        slower = slower or (beside[same] < 0.97 * alone[same]).any()
        starts = starts + cores
    assert slower


def test_one_machine_draws_less_than_two_that_run_the_jobs_apart(pair):
    rows = np.flatnonzero(pair.space.allowed & ~pair.table.oom)
    apart = np.zeros(rows.size)
    for name in PAIR:
        apart += behaviour(
            profile(name), *(column(pair.space, f"{name}_{knob}")[rows] for knob in ("cores", "memory_gib", "batch_size"))
        ).metrics["power_w"]
    assert (pair.table.metrics["power_w"][rows] < apart).all()


def test_jobs_that_want_more_bandwidth_than_there_is_wait_for_it():
    server = dataclasses.replace(E5_2680_V4, dram_gb_per_s=2.0)
    names = ("resnet_v2", "mobilenet_v2")
    cores = np.array([4.0])
    shares = [Share(cores, np.array([4.0]), np.array([32.0]))] * 2
    together, _ = behaviour_together([profile(n) for n in names], shares, server)
    roomy, _ = behaviour_together([profile(n) for n in names], shares)
    shared = sum(together.metrics[f"{n}_throughput"] / roomy.metrics[f"{n}_throughput"] for n in names)
    assert shared < 1.5
    share = np.array([35.0 / 2])  # a job alone with the cache that it has here: slowed by bandwidth, but by its own wants only
    for name in names:
        alone = behaviour(profile(name), cores, np.array([4.0]), np.array([32.0]), dataclasses.replace(server, l3_mib=float(share[0])))
        assert together.metrics[f"{name}_throughput"] < 0.9 * alone.metrics["throughput"]


def test_a_package_has_one_frequency_that_falls_with_a_neighbour():
    heavy, light = Share(*map(np.array, ([7.0], [4.0], [32.0]))), Share(*map(np.array, ([7.0], [4.0], [32.0])))
    nobody = dataclasses.replace(light, cores=np.array([0.0]))
    jobs = [profile("pnasnet5_large"), profile("deepvs")]
    assert behaviour_together(jobs, [heavy, light])[0].ghz[0] < behaviour_together(jobs, [heavy, nobody])[0].ghz[0]


def test_frequency_and_waiting_have_settled(pair, monkeypatch):
    """As many rounds again change nothing that could be seen."""
    monkeypatch.setattr("bayestuner.simulate.colocation.ROUNDS", 80)
    config = bt.Space(*(bt.Ordinal(name, [value]) for name, value in CONFIG.items()))
    again = SimulatedColocation(PAIR, config)
    for name, values in pair.table.metrics.items():
        assert again.table.metrics[name][0] == pytest.approx(values[pair.space.row(CONFIG)], rel=1e-6)


# -- the space and the goal ------------------------------------------------------------------------------------------


def test_the_space_is_what_fits_the_server_in_some_ten_thousand_rows(pair):
    space = pair.space
    assert 10_000 < len(space) < 100_000
    for row in np.flatnonzero(space.allowed)[::997]:
        config = space.config(int(row))
        assert sum(config[f"{n}_cores"] for n in PAIR) <= 28
        assert sum(config[f"{n}_memory_gib"] for n in PAIR) <= 8
    assert not pair.feasible[~space.allowed].any()


def test_the_goal_bounds_every_job_by_a_share_of_table_1(pair):
    assert str(pair.goal) == "minimize power_w subject to text_cnn_throughput >= 3750, mobilenet_v2_throughput >= 37.5"


@pytest.mark.slow
def test_both_bounds_bind(pair):
    power_w = pair.table.metrics["power_w"]
    assert 0.01 < pair.feasible.sum() / len(pair.space) < 0.7
    assert np.nanmin(power_w) < 0.9 * power_w[pair.optimum]


def test_a_job_that_runs_twice_is_numbered():
    assert prefixes(("text_cnn", "text_cnn")) == ("text_cnn_1", "text_cnn_2")
    assert "text_cnn_2_throughput" in SimulatedColocation(("text_cnn", "text_cnn")).table.metrics


def test_three_jobs_share_the_server():
    three = SimulatedColocation(("text_cnn", "mobilenet_v2", "resnet_v2"))
    assert 10_000 < len(three.space) < 100_000
    assert three.feasible.any()


def test_what_cannot_share_is_refused():
    with pytest.raises(InvalidSpace, match="2 or 3 jobs that share the server, not for 4; give a space"):
        shared_space(("text_cnn",) * 4)
    with pytest.raises(InvalidSpace, match="did you mean 'mobilenet_v2'"):
        simulation("text_cnn+mobilnet")
    with pytest.raises(InvalidSpace, match="has one size; leave 'small' out"):
        simulation("text_cnn+mobilenet_v2", "small")
    with pytest.raises(InvalidSpace, match="these jobs have the knobs text_cnn_cores"):
        SimulatedColocation(PAIR, large_space())
    knobs = [bt.Ordinal(name, [value]) for name, value in CONFIG.items() if name != "text_cnn_cores"]
    with pytest.raises(InvalidSpace, match="allows 1 to 28 cores in all; give it a where"):
        SimulatedColocation(PAIR, bt.Space(bt.Ordinal("text_cnn_cores", [8, 16]), *knobs))


def test_jobs_that_no_split_satisfies_have_no_optimum():
    tight = bt.Space(*(bt.Ordinal(name, [value]) for name, value in (CONFIG | {"text_cnn_cores": 1}).items()))
    with pytest.raises(InvalidGoal, match=r"meets 'minimize power_w .*simulated"):
        _ = SimulatedColocation(PAIR, tight).optimum


# -- test runs -------------------------------------------------------------------------------------------------------


def test_the_job_that_is_killed_for_memory_is_named():
    both = SimulatedColocation(("text_cnn", "pnasnet5_large"))
    config = {name.replace("mobilenet_v2", "pnasnet5_large"): value for name, value in CONFIG.items()}
    outcome = both.run(config | {"pnasnet5_large_batch_size": 32})
    assert outcome == Failed("oom", "simulated: pnasnet5_large killed for memory")
    assert both.elapsed_s == pytest.approx(6.0)  # the longer start-up


@pytest.mark.slow
def test_readings_are_noisy_where_they_say_so_and_repeat_with_the_seed(pair):
    options = {"noise": 0.02, "drift": 0.01, "transient": 0.2}
    runs = [[SimulatedColocation(PAIR, pair.space, seed=seed, **options).run(CONFIG) for _ in range(2)] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    outcome = SimulatedColocation(PAIR, pair.space, noise=0.02).run(CONFIG)
    assert outcome.flags == ("simulated",)
    assert {name for name, reading in outcome.metrics.items() if reading.sd} == {
        "power_w",
        "text_cnn_throughput",
        "mobilenet_v2_throughput",
    }


def test_a_run_takes_as_long_as_the_slower_job(pair):
    row = pair.space.row(CONFIG)
    singles = []
    for name in PAIR:
        items = SimulatedJob(name).duration_s, SimulatedJob(name).table.metrics["throughput"]
        singles.append((items[0][-1] - profile(name).startup_s) * items[1][-1] / pair.table.metrics[f"{name}_throughput"][row])
    assert pair.duration_s[row] == pytest.approx(3.0 + max(singles))


def test_it_can_be_sent_to_another_process():
    make, space = simulation("text_cnn+mobilenet_v2")
    make, space = pickle.loads(pickle.dumps((make, space)))
    assert make(space, seed=3).run(CONFIG).values["power_w"] > 50


@pytest.mark.slow
def test_one_search_divides_the_server_within_a_few_percent_of_the_best_split(pair):
    """CLITE (Patel and Tiwari, HPCA 2020): all jobs' shares are one space for one search."""
    gaps = []
    for seed in range(3):
        result = bt.optimize(SimulatedColocation(PAIR, pair.space, seed=seed), pair.space, pair.goal, budget=40, seed=seed)
        for trial in result.trials:
            assert sum(trial.config[f"{n}_cores"] for n in PAIR) <= 28
            assert sum(trial.config[f"{n}_memory_gib"] for n in PAIR) <= 8
        gaps.append(result.best.metrics["power_w"] / pair.table.metrics["power_w"][pair.optimum] - 1)
    assert np.mean(gaps) < 0.03
