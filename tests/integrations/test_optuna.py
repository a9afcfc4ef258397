"""The Optuna sampler in real studies: constraints, failures, shared storage, spaces that change."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest

from bayestuner.integrations.optuna import BayesTunerSampler

FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)
SPACE = {
    "cores": optuna.distributions.IntDistribution(1, 8),
    "batch": optuna.distributions.CategoricalDistribution([1, 2, 4, 8]),
}


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def power(trial):
    """Least where throughput is 20 or more: 28 at cores=2, batch=8."""
    cores, batch = trial.suggest_int("cores", 1, 8), trial.suggest_categorical("batch", [1, 2, 4, 8])
    trial.set_constraint("throughput", 20.0 - 4.0 * cores * batch**0.5)
    return 10.0 + 5.0 * cores + batch


def shortfall(trial):
    return (20.0 - 4.0 * trial.params["cores"] * trial.params["batch"] ** 0.5,)


def plain_power(trial):
    return 10.0 + 5.0 * trial.suggest_int("cores", 1, 8) + trial.suggest_categorical("batch", [1, 2, 4, 8])


def asked(study):
    return [t.params for t in study.trials]


@pytest.mark.parametrize("seed", range(5))
def test_finds_the_constrained_optimum(seed):
    study = optuna.create_study(sampler=BayesTunerSampler(seed=seed, search_space=SPACE))
    study.optimize(power, n_trials=12)
    assert study.best_params == {"cores": 2, "batch": 8}
    assert len({tuple(p.values()) for p in asked(study)}) == 12  # nothing twice


def test_maximises_too():
    study = optuna.create_study(direction="maximize", sampler=BayesTunerSampler(seed=0))
    study.optimize(lambda t: -plain_power(t), n_trials=12)
    assert study.best_params == {"cores": 1, "batch": 1}


def test_constraints_func_says_the_same_as_set_constraint():
    one = optuna.create_study(sampler=BayesTunerSampler(seed=3))
    one.optimize(power, n_trials=10)
    other = optuna.create_study(sampler=BayesTunerSampler(seed=3, constraints_func=shortfall))
    other.optimize(plain_power, n_trials=10)
    assert asked(one) == asked(other)


def test_a_constraint_that_is_no_number_is_refused():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=3, constraints_func=lambda t: [float("nan")]))
    with pytest.raises(ValueError, match="a constraint is a number, not NaN"):
        study.optimize(plain_power, n_trials=1)


def test_a_new_or_pickled_sampler_goes_on_as_if_nothing_had_happened():
    whole = optuna.create_study(sampler=BayesTunerSampler(seed=1))
    whole.optimize(power, n_trials=12)
    parts = optuna.create_study(sampler=BayesTunerSampler(seed=1))
    parts.optimize(power, n_trials=5)
    parts.sampler = pickle.loads(pickle.dumps(parts.sampler))
    parts.optimize(power, n_trials=4)
    parts.sampler = BayesTunerSampler(seed=1)
    parts.optimize(power, n_trials=3)
    assert asked(parts) == asked(whole)


def test_several_asks_before_a_tell_differ_and_threads_share_them():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=0, search_space=SPACE))
    running = [study.ask() for _ in range(4)]
    assert len({(t.suggest_int("cores", 1, 8), t.suggest_categorical("batch", [1, 2, 4, 8])) for t in running}) == 4
    for trial in reversed(running):
        study.tell(trial, power(trial))
    study.optimize(power, n_trials=16, n_jobs=4)
    assert len({tuple(p.values()) for p in asked(study)}) == 20
    assert study.best_params == {"cores": 2, "batch": 8}


WORKER = """
import sys, optuna
from bayestuner.integrations.optuna import BayesTunerSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
def power(trial):
    cores, batch = trial.suggest_int("cores", 1, 8), trial.suggest_categorical("batch", [1, 2, 4, 8])
    trial.set_constraint("throughput", 20.0 - 4.0 * cores * batch**0.5)
    return 10.0 + 5.0 * cores + batch
optuna.load_study(study_name="shared", storage=sys.argv[1], sampler=BayesTunerSampler(seed=int(sys.argv[2]))).optimize(power, n_trials=8)
"""


@pytest.mark.slow
def test_processes_share_a_study_in_a_database(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="shared", storage=storage)

    def work(seed):
        return subprocess.run([sys.executable, "-c", WORKER, storage, str(seed)], check=False, capture_output=True, text=True, timeout=120)

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(work, (0, 1)):
            assert done.returncode == 0, done.stderr
    assert len(study.trials) == 16
    assert {t.state for t in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert study.best_params == {"cores": 2, "batch": 8}


def test_what_another_process_asked_is_not_asked_again():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=0, search_space=SPACE))
    here, there = study.ask(), None
    here.relative_params  # noqa: B018 - asked, and no parameter used yet
    study.sampler = BayesTunerSampler(seed=0, search_space=SPACE)  # as in another process: the same seed, and nothing but the storage
    there = study.ask()
    assert there.relative_params != here.relative_params


def test_failed_trials_are_learnt_from():
    def objective(trial):
        cores, batch = trial.suggest_int("cores", 1, 12), trial.suggest_int("batch", 1, 12)
        if cores * batch > 40:
            raise MemoryError
        return 100.0 / (cores * batch) + cores

    study = optuna.create_study(sampler=BayesTunerSampler(seed=1))
    study.optimize(objective, n_trials=16, catch=MemoryError)
    states = [t.state.name for t in study.trials]
    assert study.best_params == {"cores": 3, "batch": 12}  # beside points that fail
    assert 0 < states.count("FAIL") <= 5  # 42 % of the space do
    assert len({tuple(p.values()) for p in asked(study)}) == 16


def test_enqueued_trials_are_run_and_learnt_from():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=0, search_space=SPACE))
    study.enqueue_trial({"cores": 2, "batch": 8})
    study.enqueue_trial({"cores": 4})
    study.optimize(power, n_trials=10)
    assert asked(study)[0] == {"cores": 2, "batch": 8}
    assert asked(study)[1]["cores"] == 4
    assert len({tuple(p.values()) for p in asked(study)}) == 10


def test_pruned_trials_count_with_their_last_value():
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 10.0)
        value = (x - 3.0) ** 2
        trial.report(value, 1)
        if value > 9.0:
            raise optuna.TrialPruned
        return value

    study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    study.optimize(objective, n_trials=15)
    assert abs(study.best_params["x"] - 3.0) <= 0.2
    assert [t.state.name for t in study.trials].count("PRUNED") < 8


def test_infinite_values_are_failures_and_nothing_stops():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    study.optimize(lambda t: float("inf") if (x := t.suggest_float("x", 0, 1)) > 0.5 else x, n_trials=12)
    assert study.best_value < 0.1


def test_a_space_that_changes_between_trials():
    def objective(trial):
        value = trial.suggest_float("x", -1.0, 1.0) ** 2
        if trial.number % 2:
            value += trial.suggest_int("a strange name; with marks!", 0, 3)
        return value

    study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    study.optimize(objective, n_trials=14)
    assert study.best_value < 0.01


def test_a_range_that_moves_keeps_what_still_lies_within():
    study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    study.optimize(lambda t: (t.suggest_float("x", 0.0, 10.0) - 8.0) ** 2, n_trials=8)
    study.optimize(lambda t: (t.suggest_float("x", 6.0, 20.0) - 8.0) ** 2, n_trials=8)
    assert all(6.0 <= t.params["x"] <= 20.0 for t in study.trials[8:])
    assert study.best_value < 0.05


def test_several_objectives_are_refused_in_one_sentence():
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=BayesTunerSampler())
    with pytest.raises(ValueError, match="optimises one objective, and this study has 2; make the others constraints"):
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0), n_trials=1)


def test_choices_of_any_type_and_numbers_of_any_size():
    def objective(trial):
        trial.suggest_categorical("mixed", [None, True, 1, 1.5, "1"])
        big = trial.suggest_int("big", 1, 10**9, log=True)
        return abs(big - 10**6) / 10**6 + trial.suggest_float("small", 1e-12, 1e-3, log=True)

    study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    study.optimize(objective, n_trials=20)
    assert study.best_value < 0.5
    for trial in study.trials:
        assert any(trial.params["mixed"] is choice for choice in (None, True)) or trial.params["mixed"] in (1, 1.5, "1")


def test_needs_no_torch():
    code = "import sys; import bayestuner.integrations.optuna; assert not {'torch', 'numba'} & set(sys.modules), 'heavy'"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
