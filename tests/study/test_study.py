"""A study goes on after a stop as if there had been none: the same asks, every outcome once, a run in flight run again."""

import json
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.errors import InvalidGoal, InvalidSpace, InvalidTell, StoreError
from bayestuner.goal import Goal
from bayestuner.search.engine.stopping import WallClock
from bayestuner.space import Integer, Ordinal, Space
from bayestuner.study.registry import UnknownStrategy, strategy_names
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading


def create(path, strategy="random", budget=12, **more):
    return Study.create(path, small_space(), small_goal(), strategy, seed=3, budget=budget, **more)


def finish(study, runs=None):
    """Run to the end of the budget, or `runs` more trials."""
    told = 0
    while runs is None or told < runs:
        trial = study.ask()
        if trial is None:
            break
        study.tell(trial, pretend_run(trial.config), {"n": trial.number})
        told += 1
    return [(r.trial.number, r.trial.row) for r in study.records()]


@pytest.mark.parametrize("strategy", strategy_names())
@pytest.mark.parametrize("stops", [1, 4, 9])
def test_stopping_and_opening_again_changes_no_ask(tmp_path, strategy, stops):
    with create(tmp_path / "whole", strategy) as study:
        whole = finish(study)
    with create(tmp_path / "parts", strategy) as study:
        finish(study, stops)
    with Study.open(tmp_path / "parts") as study:
        assert finish(study) == whole
        assert study.notices == []
    assert len(whole) == 12 or strategy in ("batch_sizer", "aimd", "cherry_pick")  # which come to an end of their own


def test_interleaved_asks_and_tells_are_replayed_in_their_order(tmp_path):
    def begin(path):
        study = create(path, "bayes", budget=14)
        finish(study, 6)
        a, b = study.ask(), study.ask()
        study.tell(b, pretend_run(b.config))
        c = study.ask()
        study.tell(a, pretend_run(a.config))
        return study, c

    study, c = begin(tmp_path / "whole")
    study.tell(c, pretend_run(c.config))
    whole = finish(study)
    study.close()
    study, c = begin(tmp_path / "parts")
    study.close()
    with Study.open(tmp_path / "parts") as again:
        first = again.ask()
        assert (first.number, first.row) == (c.number, c.row)
        again.tell(first, pretend_run(first.config))
        assert finish(again) == whole
        assert again.notices == []


def test_a_run_in_flight_of_a_dead_process_is_run_again_under_its_number(tmp_path):
    create(tmp_path / "s", "bayes").close()
    code = textwrap.dedent(
        f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from bayestuner.study.study import Study
        from study_doubles import pretend_run
        study = Study.open({str(tmp_path / "s")!r})
        for _ in range(4):
            trial = study.ask(); study.tell(trial, pretend_run(trial.config))
        trial = study.ask()
        print(trial.number, trial.row, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -9, done.stderr
    number, row = map(int, done.stdout.split())
    with Study.open(tmp_path / "s") as study:
        assert [r.orphaned for r in study.records()] == [False] * 4 + [True]
        trial = study.ask()
        assert (trial.number, trial.row) == (number, row) == (4, row)
        study.tell(trial, pretend_run(trial.config))
        assert len(finish(study)) == 12
        assert all(r.trial.outcome is not None for r in study.records())


def test_two_processes_share_a_study(tmp_path):
    """Two live owners never get the same trial, know of each other's results, and keep to the one budget."""
    a = create(tmp_path / "s", "bayes", budget=10)
    b = Study.open(tmp_path / "s")
    seen = []
    while True:
        trials = [(study, study.ask()) for study in (a, b)]
        for study, trial in trials:
            if trial is not None:
                seen.append((trial.row, trial.number if trial.repeat else None))
                study.tell(trial, pretend_run(trial.config))
        if any(trial is None for _, trial in trials):
            break
    assert len(seen) == len(set(seen)) == 10
    assert [t.row for t in a.strategy().trials] == [t.row for t in b.strategy().trials]
    assert all(t.outcome is not None for t in a.strategy().trials)
    assert a.notices == b.notices == []
    a.close()
    b.close()


@pytest.mark.slow
def test_real_processes_share_a_study(tmp_path):
    """Three processes at once: every trial is run by one of them, and all keep to the one budget."""
    create(tmp_path / "s", "bayes", budget=15).close()
    code = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from bayestuner.study.study import Study
        from study_doubles import pretend_run
        with Study.open({str(tmp_path / "s")!r}) as study:
            while (trial := study.ask()) is not None:
                study.tell(trial, pretend_run(trial.config))
                print(trial.number)
            assert not study.notices, study.notices
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate(timeout=300) for process in processes]
    assert [p.returncode for p in processes] == [0] * 3, printed
    assert sorted(int(n) for out, _ in printed for n in out.split()) == list(range(15))
    with Study.open(tmp_path / "s") as study:
        rows = [r.trial.row for r in study.records() if not r.trial.repeat]
        assert len(set(rows)) == len(rows)
        assert len(study.strategy().trials) == 15
        assert study.notices == []


def test_a_live_owners_run_is_left_alone(tmp_path):
    with create(tmp_path / "s") as mine:
        running = mine.ask()
        with Study.open(tmp_path / "s") as other:
            assert other.ask().number == running.number + 1
            assert [r.running for r in other.records()] == [True, True]


def test_a_replay_that_differs_is_said_once_and_gone_on_from(tmp_path):
    with create(tmp_path / "s") as study:
        finish(study, 5)
        rows = {r.trial.row for r in study.records()}
        free = next(row for row in range(study.space.n_rows) if row not in rows)
        config = json.dumps(study.space.config(free))
        study._store._db.execute("UPDATE trials SET row = ?, config = ? WHERE number = 2", (free, config))
    with Study.open(tmp_path / "s") as study:
        assert len(finish(study)) == 12
        assert len(study.notices) == 1
        assert "run 3" in study.notices[0]
        assert study.records()[2].trial.row == free
        assert len({r.trial.row for r in study.records()}) == 12


def test_a_relative_goal_waits_for_the_baseline(tmp_path):
    goal = Goal(minimize="power_w", subject_to=["throughput >= 50%"])
    biggest = {"cores": 4, "memory_mib": 512, "batch_size": 8}
    with Study.create(tmp_path / "s", small_space(), goal, "random", 1, 6) as study:
        with pytest.raises(StoreError, match="baseline"):
            study.ask()
        trial = study.adopt(biggest, "baseline")
        assert (trial.number, study.resolved_goal) == (0, None)
    with Study.open(tmp_path / "s") as study:
        again = study.adopt(biggest, "baseline")
        assert again.number == 0
        told = study.tell(again, pretend_run(biggest))
        assert study.resolved_goal.bounds[0].limit == 0.5 * told.metrics["throughput"]
        assert study.strategy().trials[0].metrics == told.metrics
        assert len(finish(study)) == 6
        assert study.baseline().trial.row == study.space.row(biggest)


def test_bounds_that_contradict_each_other_after_the_baseline_leave_no_goal(tmp_path):
    goal = Goal(minimize="power_w", subject_to=["throughput >= 50%", "throughput <= 0.001"])
    biggest = {"cores": 4, "memory_mib": 512, "batch_size": 8}
    with Study.create(tmp_path / "s", small_space(), goal, "random", 1, 6) as study:
        study.tell(study.adopt(biggest, "baseline"), pretend_run(biggest))
        assert study.resolved_goal is None
        assert study.baseline().trial.outcome == pretend_run(biggest)


def test_transient_failures_cost_no_budget_but_are_bounded(tmp_path):
    with create(tmp_path / "s", budget=5) as study:
        trial = study.ask()
        study.tell(trial, Failed("transient", "the machine's fault"))
        finish(study)
        assert [r.trial.state for r in study.records()].count("measured") + [
            r.trial.outcome.kind for r in study.records() if r.trial.state == "failed"
        ].count("oom") == 5
    with create(tmp_path / "t", budget=5) as study:
        for _ in range(3):
            study.tell(study.ask(), Failed("transient"))
        assert study.ask() is None
        assert "machine" in study.stop_reason()


def test_a_missing_metric_stores_nothing(tmp_path):
    with create(tmp_path / "s") as study:
        trial = study.ask()
        with pytest.raises(InvalidTell, match="throughput"):
            study.tell(trial, Measured({"power_w": Reading(3.0)}))
        assert study.records()[0].trial.state == "running"
        study.tell(trial, pretend_run(trial.config))
        with pytest.raises(StoreError, match="told once"):
            study.tell(trial, pretend_run(trial.config))
        assert len(finish(study)) == 12


def test_a_used_up_space_and_a_time_limit_end_it(tmp_path):
    with Study.create(tmp_path / "s", Space(Integer("cores", 1, 3)), Goal(minimize="cores"), "random", 0, 50) as study:
        for _ in range(3):
            study.tell(study.ask(), Measured({}))
        assert study.ask() is None
        assert study.stop_reason() == "every configuration has been tried"
    with create(tmp_path / "t") as study:
        assert study.ask([WallClock(0.0)]) is None
        assert "time limit" in study.stop_reason([WallClock(0.0)])


def test_a_study_is_private(tmp_path):
    with create(tmp_path / "deep" / "s") as study:
        finish(study, 2)
        assert stat.S_IMODE((tmp_path / "deep" / "s").stat().st_mode) == 0o700
        assert {stat.S_IMODE(f.stat().st_mode) for f in (tmp_path / "deep" / "s").iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"seed": -1}, StoreError, "seed is a whole number from 0"),
        ({"seed": 2**63}, StoreError, "seed is a whole number from 0"),
        ({"seed": 0.5}, StoreError, "not 0.5"),
        ({"budget": 0}, StoreError, "budget is a whole number from 1"),
        ({"strategy_name": "trade_off", "goal": Goal(minimize="power_w")}, InvalidGoal, "a trade-off needs a bound"),
        ({"strategy_name": "batch_sizer", "space": Space(Integer("cores", 1, 4))}, InvalidSpace, "the knobs are cores; rename one of them"),
    ],
)
def test_what_could_not_be_searched_leaves_no_study(tmp_path, how, error, said):
    given = {"space": small_space(), "goal": small_goal(), "strategy_name": "random", "seed": 0, "budget": 5} | how
    with pytest.raises(error, match=said):
        Study.create(tmp_path / "s", **given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["batch", "bs", "batch_size", "Batch"])
@pytest.mark.parametrize("strategy", ["batch_sizer", "aimd"])
def test_the_batch_knob_is_found_by_its_usual_names(tmp_path, strategy, name):
    space = Space(Integer("cores", 1, 4), Ordinal(name, [1, 2, 4]))
    with Study.create(tmp_path / "s", space, Goal(minimize="power_w", subject_to=["throughput >= 50%"]), strategy) as study:
        assert study.info.strategy == strategy
    with Study.create(tmp_path / "t", space, Goal(minimize="power_w", subject_to=["throughput >= 5"]), strategy) as study:
        assert study.ask().config["cores"] == 4


def test_an_unknown_strategy_makes_no_folder(tmp_path):
    with pytest.raises(UnknownStrategy, match="one of bayes, random"):
        create(tmp_path / "s", "magic")
    assert not (tmp_path / "s").exists()


def test_details_that_are_no_json_numbers_are_kept_as_none(tmp_path):
    with create(tmp_path / "s") as study:
        study.tell(study.ask(), Failed("error", "x"), {"a": float("nan"), "b": [float("inf"), 1.0]})
        assert study.records()[0].details == {"a": None, "b": [None, 1.0]}
