"""The simulated jobs do what the paper reports of the real ones, and repeat themselves exactly."""

import time

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidSpace
from bayestuner.simulate.platform import METRICS, SimulatedJob, behaviour, large_space, small_space
from bayestuner.simulate.profiles import PROFILES, profile
from bayestuner.trial import Failed
from bayestuner.zoo import registry

JOBS = tuple(PROFILES)


@pytest.fixture(scope="module", params=JOBS)
def job(request):
    return SimulatedJob(request.param)


def at(job, name, **config):
    return float(job.table.metrics[name][job.space.row({"memory_gib": 8, **config})])


# -- what the paper reports ------------------------------------------------------------------------------------------


def test_the_spaces_are_the_paper_s():
    """Section 3.1: 28 x 8 x 32 configurations, and 7 x 4 x 8 for the comparison with exhaustive search."""
    assert (len(large_space()), len(small_space())) == (7168, 224)


def test_the_constraint_of_table_1_is_feasible_yet_binding(job):
    assert 0.1 < job.feasible.mean() < 0.7
    power_w = job.table.metrics["power_w"]
    assert np.nanmin(power_w) < 0.8 * power_w[job.optimum]  # without the constraint one could save much more


def test_constraints_are_table_1_s():
    table_1 = {spec.name: spec.paper_throughput for spec in map(registry.spec, registry.names())}
    for name in JOBS:
        assert profile(name).constraint == table_1[name]


def test_the_optimum_lies_close_to_the_constraint(job):
    """Fig. 6: the samples that the paper's search ends with."""
    assert 1.0 <= job.table.metrics["throughput"][job.optimum] / job.profile.constraint < 1.07


def test_two_batch_sizes_with_nearly_the_same_throughput_differ_by_a_quarter_in_power():
    """Fig. 1 (c) and (d): batch 4 and 20 on 14 cores, 13.8 and 14.2 items/s, 86 and 115 W."""
    job = SimulatedJob("inception_v3")
    small, large = ({m: at(job, m, cores=14, batch_size=b) for m in ("power_w", "throughput")} for b in (4, 20))
    assert small["power_w"] == pytest.approx(86.0, rel=0.1)
    assert large["power_w"] == pytest.approx(115.0, rel=0.1)
    assert small["throughput"] == pytest.approx(13.8, rel=0.1)
    assert large["throughput"] == pytest.approx(14.2, rel=0.2)
    assert large["power_w"] / large["throughput"] > 1.05 * small["power_w"] / small["throughput"]


def test_power_saturates_where_the_package_reaches_its_limit():
    job = SimulatedJob("pnasnet5_large")
    powers = [at(job, "power_w", cores=c, batch_size=16) for c in range(1, 15)]
    assert powers[4] - powers[3] > 3 * (powers[13] - powers[12])


def test_exhaustive_search_of_the_small_space_takes_as_long_as_in_table_2():
    """Table 2; less what runs that are killed for memory save."""
    for name in JOBS:
        job = SimulatedJob(name, small_space())
        assert float(job.duration_s.sum()) == pytest.approx(job.profile.exhaustive_s, rel=1e-6)


def test_batch_size_alone_costs_power(job):
    """Section 3.2: all cores and memory, the best batch size (BatchSizer), against the optimum."""
    all_max = [job.space.row({"cores": 28, "memory_gib": 8, "batch_size": b}) for b in range(1, 33)]
    power_w = job.table.metrics["power_w"]
    best = min(power_w[row] for row in all_max if job.feasible[row])
    assert best > 1.03 * power_w[job.optimum]


# -- the model -------------------------------------------------------------------------------------------------------


def test_more_memory_never_fails_where_less_does_not(job):
    oom = job.table.oom.reshape(28, 8, 32)
    assert (oom[:, :-1] >= oom[:, 1:]).all()


def test_no_job_needs_more_than_eight_gib(job):
    """Section 3.1."""
    assert not job.table.oom.reshape(28, 8, 32)[:, 7].any()


def test_memory_needs_are_those_measured_of_the_zoo():
    for name in JOBS:
        for batch, mib in registry.spec(name).memory_mib.items():
            a, b = profile(name).memory_mib
            assert a + b * batch == pytest.approx(mib, rel=0.02, abs=2.0)


def test_work_per_item_is_the_zoo_s():
    pytest.importorskip("onnx")
    for name in JOBS:
        told = registry.describe(name)
        assert profile(name).gmac == pytest.approx(told["gmac_per_item"], rel=0.05)


def test_energy_is_power_over_throughput(job):
    m = job.table.metrics
    ran = ~job.table.oom
    np.testing.assert_allclose(m["energy_j_per_item"][ran], (m["power_w"] / m["throughput"])[ran])
    np.testing.assert_allclose(m["latency_p50_s"][ran], (job.space.codes(np.arange(7168))[:, 2] + 1)[ran] / m["throughput"][ran])


def test_power_and_frequency_have_settled():
    """Another ten rounds of the fixed point change nothing that could be seen."""
    c, b = np.array([1.0, 7.0, 14.0, 15.0, 28.0]), np.array([1.0, 32.0, 8.0, 20.0, 32.0])
    first = behaviour(profile("resnet_v2"), c, np.full(5, 8.0), b)
    again = behaviour(profile("resnet_v2"), c, np.full(5, 8.0), b)
    np.testing.assert_array_equal(first.metrics["power_w"], again.metrics["power_w"])
    assert (first.ghz >= 1.2).all()
    assert (first.ghz <= 3.3).all()


# -- test runs -------------------------------------------------------------------------------------------------------


def outcomes(**options):
    job = SimulatedJob("mobilenet_v2", **options)
    rows = np.random.default_rng(0).choice(job.space.n_rows, 60)
    return [job.run(job.space.config(int(row))) for row in rows]


def test_the_same_seed_gives_the_same_outcomes():
    noisy = {"noise": 0.02, "transient": 0.1, "drift": 0.03}
    assert outcomes(seed=3, **noisy) == outcomes(seed=3, **noisy)
    assert outcomes(seed=3, **noisy) != outcomes(seed=4, **noisy)


def test_noise_has_the_deviation_that_readings_tell():
    job = SimulatedJob("mobilenet_v2", noise=0.02)
    config = {"cores": 8, "memory_gib": 4, "batch_size": 8}
    readings = [job.run(config).metrics["power_w"] for _ in range(2000)]
    values = np.array([r.value for r in readings])
    assert values.std() / values.mean() == pytest.approx(0.02, rel=0.1)
    assert readings[0].sd / readings[0].value == pytest.approx(0.02)


def test_without_noise_readings_are_the_table_and_carry_no_deviation():
    job = SimulatedJob("mobilenet_v2")
    config = {"cores": 8, "memory_gib": 4, "batch_size": 8}
    outcome = job.run(config)
    assert set(outcome.metrics) == set(METRICS)
    assert outcome.metrics["power_w"] == bt.Reading(at(job, "power_w", cores=8, batch_size=8))


def test_every_outcome_says_that_it_is_simulated():
    job = SimulatedJob("nasnet_large", transient=0.5, seed=1)  # it runs, is killed for memory, or fails for no reason
    for batch in (1, 32) * 10:
        outcome = job.run({"cores": 8, "memory_gib": 1, "batch_size": batch})
        said = outcome.message if isinstance(outcome, Failed) else outcome.flags
        assert "simulated" in said


def test_transient_failures_come_as_often_as_asked():
    job = SimulatedJob("text_cnn", transient=0.3)
    outcomes = [job.run({"cores": 1, "memory_gib": 1, "batch_size": 1}) for _ in range(300)]
    kinds = [o.kind for o in outcomes if isinstance(o, Failed)]
    assert set(kinds) == {"transient"}
    assert 60 < len(kinds) < 120


def test_a_drifting_machine_draws_more_as_time_goes_by():
    job = SimulatedJob("deepspeech2", drift=0.05)
    config = {"cores": 14, "memory_gib": 8, "batch_size": 8}
    first = job.run(config).metrics["power_w"].value
    while job.elapsed_s < 3600.0:
        last = job.run(config).metrics["power_w"].value
    assert last / first == pytest.approx(1.05, rel=0.01)


def test_a_job_is_an_evaluate_for_optimize():
    job = SimulatedJob("resnet_v2", small_space())
    result = bt.optimize(job, job.space, job.goal, budget=20, seed=0)
    assert result.best.metrics["power_w"] <= 1.02 * job.table.metrics["power_w"][job.optimum]


def test_a_hundred_thousand_rows_a_second_are_worked_out():
    job = profile("resnet_v2")
    rng = np.random.default_rng(0)
    columns = (
        rng.integers(1, 29, 50_000).astype(float),
        rng.integers(1, 9, 50_000).astype(float),
        rng.integers(1, 33, 50_000).astype(float),
    )
    seconds = []
    for _ in range(3):
        started = time.process_time()
        behaviour(job, *columns)
        seconds.append(time.process_time() - started)
    assert 50_000 / min(seconds) > 1e5


def test_an_unknown_job_and_other_knobs_are_refused():
    with pytest.raises(InvalidSpace, match="did you mean 'mobilenet_v2'"):
        SimulatedJob("mobilnet")
    with pytest.raises(InvalidSpace, match="has the knobs cores, memory_gib, batch_size; the space has cores"):
        SimulatedJob("mobilenet_v2", bt.Space(bt.Integer("cores", 1, 28)))
