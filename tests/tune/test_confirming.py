"""The final launches of a study: who is launched, what is stored, and that a race goes on where it was stopped."""

import pytest

from bayestuner.goal import Goal
from bayestuner.measure.run.record import RunRecord
from bayestuner.report.result import result_text
from bayestuner.report.verdict import explanation, next_steps, why_not_best_reading
from bayestuner.study.rounds import DETAIL, rounds_of
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise
from bayestuner.trial import Failed, Measured, Reading
from bayestuner.tune.confirming import Confirmation

DEFAULT = {"cores": 1, "batch": 60}
GOOD = {"cores": 1, "batch": 20}
OTHER = {"cores": 1, "batch": 30}


def record(cost, throughput=100.0):
    return RunRecord(Measured({"cpu_s_per_item": Reading(cost, 0.001 * cost), "throughput": Reading(throughput, 0.1)}), {"duration_s": 0.0})


class ByConfig:
    """A DOUBLE of the runner: what a launch gives depends on the configuration's batch and on how often it was launched."""

    meter = None

    def __init__(self, behaviour):
        self.behaviour, self.counts, self.fail_after = behaviour, {}, None

    def run(self, config, *, min_throughput=None):
        k = self.counts.get(config["batch"], 0)
        if self.fail_after is not None and sum(self.counts.values()) >= self.fail_after:
            raise KeyboardInterrupt
        self.counts[config["batch"]] = k + 1
        return self.behaviour(config["batch"], k)


@pytest.fixture
def race(make):
    """``race(behaviour, searched={batch: cost})``: a launcher over a study that has searched these, and the confirmation of it."""

    def begin(behaviour, searched, measure=""):
        launcher, told = make(record(1.0), measure=measure)
        study = launcher.study
        for batch, cost in {60: 1.0, **searched}.items():
            role = "baseline" if batch == 60 else "search"
            study.tell(study.adopt({"cores": 1, "batch": batch}, role), record(cost).outcome)
        study.set_budget(1 + len(searched))
        launcher.runner = ByConfig(behaviour)
        return launcher, told

    return begin


def finish(launcher, stored=None):
    found = Confirmation(launcher, stored).run()
    launcher.study.set_result(
        {"complete": True, "recommended": found.recommended, "verdict": found.verdict, "nearest": found.nearest, "rejected": found.rejected,
         "candidates": found.candidates, "searched": found.searched, "launched_before": found.launched_before, "rules": found.rules}
    )  # fmt: skip
    return found, summarise(launcher.study)


def roles(study):
    return [(r.trial.config["batch"], r.details[DETAIL]) for r in study.records() if r.role == "repeat"]


def test_what_was_lucky_in_the_search_is_not_recommended_and_the_sentence_says_so(race):
    """F1: the default is a candidate like the others."""
    launcher, told = race(lambda batch, k: record(1.0 if batch == 60 else 1.25), {20: 0.7, 30: 0.75})
    found, summary = finish(launcher)
    assert (found.verdict, found.recommended) == ("no_improvement", DEFAULT)
    assert summary.recommended.config == DEFAULT
    assert "the all-max default is kept" in explanation(summary)
    said = "batch=20: CPU time per item +25.0 % against the default (chance to be better 6.4 %), given up after 1 launch"
    assert said in explanation(summary)
    text = " ".join(result_text(summary, launcher.study.folder, launcher.study.records()).split())
    assert "no improvement over the all-max default was shown" in text
    assert all(news.role == "repeat" for news in told.finished)


def test_a_better_one_is_recommended_with_how_much_and_how_surely(race):
    launcher, _ = race(lambda batch, k: record({60: 1.0, 20: 0.7, 30: 0.8}[batch] * (1 + 0.01 * (k % 3))), {20: 0.75, 30: 0.7})
    found, summary = finish(launcher)
    assert (found.verdict, found.recommended) == ("better", GOOD)
    said = explanation(summary)
    assert "CPU time per item -30.0 ± 0.0 % against the default" in said
    assert "confidence of 95 %" in said
    assert why_not_best_reading(summary).startswith("cores=1  batch=30 had the best reading of the search")
    assert next_steps(summary, launcher.study.folder) == []
    form = summary.as_dict()
    assert form["verdict"] == "better"
    contenders = {c["config"]["batch"]: c for c in form["decision"]["contenders"]}
    assert contenders[20]["chance_better"] > 0.98
    assert contenders[20]["objective_change"]["mean"] == pytest.approx(-0.3)
    assert contenders[60]["is_default"]


def test_nothing_meets_the_goal_says_what_is_missed_and_what_to_do(race):
    launcher, _ = race(lambda batch, k: record(1.0, 45.0 if batch == 60 else 40.0), {20: 0.7, 30: 0.8})
    found, summary = finish(launcher)
    assert (found.verdict, found.recommended, found.nearest) == ("none_meets", None, DEFAULT)
    assert "misses throughput >= 50 by 10.0 %" in explanation(summary)
    steps = next_steps(summary, launcher.study.folder)
    assert f"bayestuner retarget {launcher.study.folder} 'throughput >= 44.1'" in steps[1]


def test_a_launch_killed_for_memory_counts(race):
    def behaviour(batch, k):
        if batch == 20 and k == 1:
            return RunRecord(Failed("oom", "killed for memory"), {})
        return record({60: 1.0, 20: 0.6, 30: 0.8}[batch])

    launcher, _ = race(behaviour, {20: 0.6, 30: 0.8})
    found, summary = finish(launcher)
    assert (found.verdict, found.recommended) == ("better", OTHER)
    assert found.rejected == [GOOD]
    assert "failed in 1 of 2 launches (oom: killed for memory)" in why_not_best_reading(summary)


def test_a_race_that_was_stopped_goes_on_in_its_round(race):
    behaviour = {60: 1.0, 20: 0.7, 30: 0.8}
    launcher, _ = race(lambda batch, k: record(behaviour[batch]), {20: 0.7, 30: 0.8})
    finish(launcher)
    whole = roles(launcher.study)
    for stop in range(1, len(whole)):
        launcher, _ = race(lambda batch, k: record(behaviour[batch]), {20: 0.7, 30: 0.8})
        launcher.runner.fail_after = stop
        with pytest.raises(KeyboardInterrupt):
            Confirmation(launcher).run()
        folder, stored = launcher.study.folder, launcher.study.info.result
        launcher.study.close()
        launcher.runner.fail_after = None
        with Study.open(folder) as study:
            launcher.study = study
            found, _ = finish(launcher, stored)
            assert found.recommended == GOOD
            assert roles(study) == whole


def test_a_transient_failure_is_made_again_and_three_end_it(race):
    launcher, _ = race(lambda batch, k: RunRecord(Failed("transient", "the meter broke"), {}) if k == 0 else record(1.0), {20: 0.7})
    found, _ = finish(launcher)
    assert found.verdict == "no_improvement"
    assert len(rounds_of(launcher.study.records())[1]) == 2
    launcher, _ = race(lambda batch, k: RunRecord(Failed("transient", "the meter broke"), {}), {20: 0.7})
    found, _ = finish(launcher)
    assert (found.verdict, found.recommended) == (None, None)
    assert sum(r.role == "repeat" for r in launcher.study.records()) == 3


def test_a_second_race_after_more_search_has_launches_of_its_own(race):
    launcher, _ = race(lambda batch, k: record({60: 1.0, 20: 0.7, 30: 0.5}[batch]), {20: 0.7}, "repeats = 3\nlaunches = 9\n")
    first, _ = finish(launcher)
    study = launcher.study
    made = len(roles(study))
    study.tell(study.adopt(OTHER, "search"), record(0.5).outcome)
    found, summary = finish(launcher, study.info.result)
    assert (first.recommended, found.recommended) == (GOOD, OTHER)
    assert len(roles(study)) > made
    assert summary.decision.contender(GOOD) is not None


def test_another_goal_is_raced_for_with_the_launches_that_there_are(race):
    launcher, told = race(lambda batch, k: record({60: 1.0, 20: 0.7, 30: 0.5}[batch], 80.0 if batch == 30 else 100.0), {20: 0.7, 30: 0.5})
    first, _ = finish(launcher)
    assert first.recommended == OTHER
    goal = Goal(minimize="cpu_s_per_item", subject_to=["throughput >= 90"])
    found = Confirmation(launcher, goal=goal).run()
    assert (found.verdict, found.recommended) == ("better", GOOD)
    again = Confirmation(launcher, goal=goal).run()
    assert again.recommended == GOOD
    assert told.notes[-1].startswith("nothing had to be launched")
    answer = {"complete": True, "verdict": again.verdict, "recommended": GOOD, "candidates": again.candidates}
    summary = summarise(launcher.study, goal, answer)
    assert (summary.goal, summary.recommended.config, summary.decision.verdict) == (goal, GOOD, "better")


def test_a_knob_that_is_the_same_is_not_said_to_differ(race):
    launcher, _ = race(lambda batch, k: record(1.0), {20: 0.7})
    goal = Goal(minimize="cores", subject_to=["throughput >= 90"])
    found = Confirmation(launcher, goal=goal).run()
    answer = {"complete": True, "verdict": found.verdict, "recommended": DEFAULT, "candidates": [GOOD]}
    said = explanation(summarise(launcher.study, goal, answer))
    assert "cores 1, as the default has it" in said
    assert "instead of" not in said


def test_without_repeats_the_reading_of_the_search_is_recommended_and_nothing_is_said_to_be_shown(race):
    launcher, _ = race(lambda batch, k: pytest.fail("launched"), {20: 0.7}, "repeats = 0\n")
    found, summary = finish(launcher)
    assert (found.verdict, found.recommended, summary.decision) == (None, GOOD, None)
    assert explanation(summary) is None
