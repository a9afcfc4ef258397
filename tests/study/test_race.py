"""The race: what is shown, what is not, who leaves it, and what a launch more would bring."""

import math

import numpy as np
import pytest

from bayestuner.goal import Goal
from bayestuner.study.nomination import MAX_CANDIDATES, nominate
from bayestuner.study.race import Contest, RaceRules, judge

DEFAULT = 0
LEAST = Goal(minimize="power_w")
BOUND = Goal(minimize="power_w", subject_to=["throughput >= 50"])


def contest(goal=LEAST, *, default=DEFAULT, knobs=lambda row: {}, frugality=lambda row: (), resolved=None, **rules):
    return Contest(goal, resolved or goal, default, knobs, frugality, RaceRules(**rules))


def watts(value, throughput=100.0):
    return {"power_w": value, "throughput": throughput}


def run(machine, candidates, about, limit=200):
    """Race to the end; `machine(row, launch number)` gives metrics or None."""
    rounds = []
    while True:
        now = judge(about, candidates, rounds)
        if not now.wanted:
            return now, rounds
        counts = {row: sum(row in r for r in rounds) for row in now.wanted}
        rounds.append({row: machine(row, counts[row]) for row in now.wanted})
        assert sum(map(len, rounds)) <= limit


def test_a_clear_winner_is_found_in_the_least_number_of_launches():
    now, rounds = run(lambda row, k: watts(70.0 if row else 100.0), [1], contest())
    assert (now.verdict, now.recommended) == ("better", 1)
    assert now.standings[1].p_better > 0.98
    assert [len(r) for r in rounds] == [2, 2, 2]


def test_what_was_lucky_in_the_search_alone_is_never_recommended():
    """F1: every candidate is worse than the default in every final launch."""
    now, rounds = run(lambda row, k: watts(125.0 if row else 100.0), [1, 2], contest())
    assert (now.verdict, now.recommended) == ("no_improvement", DEFAULT)
    assert sum(len(r) for r in rounds) <= 7
    assert sum(DEFAULT in r for r in rounds) == 3


def test_the_order_of_a_round_is_rotated():
    rounds, about = [], contest()
    for _ in range(3):
        wanted = judge(about, [1, 2], rounds).wanted
        assert sorted(wanted) == [0, 1, 2]
        rounds.append({row: watts(70.0 + row if row else 100.0) for row in wanted})
    assert len({next(iter(r)) for r in rounds}) == 3


def test_one_failed_launch_takes_an_arm_out():
    now, _ = run(lambda row, k: None if row == 1 and k == 1 else watts(70.0 if row else 100.0), [1], contest())
    assert (now.verdict, now.recommended) == ("no_improvement", DEFAULT)
    assert now.standings[1].failures == 1


def test_the_next_ones_are_launched_only_when_none_is_left():
    launched = []

    def machine(row, k):
        launched.append(row)
        return None if row in (1, 2, 3) else watts(70.0 if row else 100.0)

    now, _ = run(machine, [1, 2, 3, 4], contest())
    assert launched.index(4) > max(launched.index(row) for row in (1, 2, 3))
    assert (now.verdict, now.recommended) == ("better", 4)


def test_a_race_that_shows_one_to_be_better_does_not_go_on_for_a_runner_up_that_is_as_good():
    noise = np.random.default_rng(2).standard_normal((4, 50))
    now, rounds = run(lambda row, k: watts((70.0 if row else 100.0) * math.exp(0.02 * noise[row, k])), [1, 2, 3], contest())
    assert now.verdict == "better"
    assert [len(r) for r in rounds] == [4, 4, 4]


def test_what_can_not_be_shown_any_more_makes_room_for_the_next_as_the_readings_promise():
    """The readings of those launched were lucky by a factor of two; that much is taken off the others."""
    readings = {row: watts(49.0 + row) for row in (1, 2, 3)}
    readings |= {0: watts(100.0), 4: watts(53.0, 90.0), 5: watts(54.0, 120.0), 6: watts(30.0, 90.0)}
    about = Contest(BOUND, BOUND, DEFAULT, lambda row: {}, lambda row: (), RaceRules(), readings=readings)
    launched = []

    def machine(row, k):
        launched.append(row)
        return watts({0: 100.0, 5: 70.0}.get(row, 100.0), 100.0 if row in (0, 5) else 40.0)

    now, rounds = run(machine, [1, 2, 3], about)
    assert (now.verdict, now.recommended) == ("better", 5)
    assert set(launched) == {0, 1, 2, 3, 5}  # 4 and 6 would miss the bound as those launched do
    assert sum(map(len, rounds)) < RaceRules().launches


def test_what_takes_less_than_the_default_is_not_given_up_before_it_can_be_told_to_be_as_good():
    def equal(row, k):
        return watts(100.0 + 0.001 * k + (8.0 if row == 3 else 0.0))

    now, rounds = run(equal, [1, 2, 3], contest(frugality=lambda row: (-row,)))
    assert (now.verdict, now.recommended) == ("no_improvement", 2)
    assert sum(2 in r for r in rounds) >= RaceRules().repeats


def test_a_bound_that_is_surely_missed_takes_an_arm_out_and_one_that_is_close_needs_more_launches():
    now, rounds = run(lambda row, k: watts(70.0, 40.0) if row else watts(100.0), [1], contest(BOUND))
    assert (now.verdict, now.recommended) == ("no_improvement", DEFAULT)
    assert sum(1 in r for r in rounds) <= 2
    swing = [2.0, -2.0, 0.0] * 20
    now, rounds = run(lambda row, k: watts(70.0, 50.5 + swing[k]) if row else watts(100.0, 90.0 - swing[k]), [1], contest(BOUND))
    assert len(rounds) > 3


def test_no_configuration_meets_the_goal():
    now, _ = run(lambda row, k: watts(70.0, {0: 40.0, 1: 30.0, 2: 45.0}[row]), [1, 2], contest(BOUND))
    assert (now.verdict, now.recommended, now.nearest) == ("none_meets", None, 2)


def test_a_default_that_misses_the_goal_is_beaten_by_what_holds_it():
    now, _ = run(lambda row, k: watts(120.0, 60.0) if row else watts(100.0, 40.0), [1], contest(BOUND))
    assert (now.verdict, now.recommended) == ("better", 1)


def test_a_relative_bound_is_held_against_the_default_of_the_same_round():
    goal = Goal(minimize="power_w", subject_to=["throughput >= 60%"])
    about = contest(goal, resolved=goal.resolve(watts(0.0, 100.0)))
    slow = [1.0, 0.5, 0.7, 1.0, 0.4, 0.8] * 5
    now, _ = run(lambda row, k: watts(70.0, 65.0 * slow[k]) if row else watts(100.0, 100.0 * slow[k]), [1], about)
    assert (now.verdict, now.recommended) == ("better", 1)
    now, _ = run(lambda row, k: watts(70.0, 55.0 * slow[k]) if row else watts(100.0, 100.0 * slow[k]), [1], about)
    assert (now.verdict, now.recommended) == ("no_improvement", DEFAULT)


def test_a_knob_as_objective_is_known_and_only_the_bound_is_raced_for():
    """F2: a run with one core that meets the goal is not passed over for one with two."""
    goal = Goal(minimize="cores", subject_to=["throughput >= 50"])
    about = contest(goal, knobs=lambda row: {"cores": 2.0 - row})
    now, rounds = run(lambda row, k: {"throughput": 80.0}, [1], about)
    assert (now.verdict, now.recommended, len(rounds)) == ("better", 1, 3)
    equal = contest(goal, knobs=lambda row: {"cores": 1.0}, frugality=lambda row: (-row,))
    now, _ = run(lambda row, k: {"throughput": 80.0}, [1], equal)
    assert (now.verdict, now.recommended) == ("no_improvement", 1)  # the same cores, less of something else


@pytest.mark.parametrize("memory", [{0: 1024, 1: 1024, 2: 128}, {0: 1024, 1: 128, 2: 1024}])
def test_of_equals_the_one_that_takes_less_is_recommended(memory):
    about = contest(frugality=lambda row: (memory[row],))
    now, _ = run(lambda row, k: watts({0: 100.0, 1: 70.0, 2: 70.2}[row]), [1, 2], about)
    assert (now.verdict, memory[now.recommended]) == ("better", 128)
    clear, _ = run(lambda row, k: watts({0: 100.0, 1: 70.0, 2: 85.0}[row]), [1, 2], about)
    assert clear.recommended == 1  # frugality decides between equals alone


def test_without_a_default_the_best_that_holds_is_recommended():
    now, _ = run(lambda row, k: watts(70.0 + row), [1, 2], contest(BOUND, default=None))
    assert (now.verdict, now.recommended) == ("better", 1)


def test_a_default_that_fails_in_the_final_launches_is_beaten():
    now, _ = run(lambda row, k: watts(70.0) if row else None, [1], contest(BOUND))
    assert (now.verdict, now.recommended) == ("better", 1)


def test_launches_are_bounded():
    noise = np.random.default_rng(3).standard_normal(10_000)
    count = iter(range(10_000))
    _, rounds = run(lambda row, k: watts(100.0 * math.exp(0.3 * noise[next(count)])), [1, 2, 3], contest(launches=15))
    assert sum(map(len, rounds)) <= 15
    _, rounds = run(lambda row, k: watts(100.0), [], contest(launches=15))
    assert [list(r) for r in rounds] == [[DEFAULT]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.05, 0.2])
@pytest.mark.parametrize("arms", [1, 3])
def test_equals_are_called_better_in_less_than_5_of_100_races(noise, arms):
    """Over all candidates and all looks at a race."""
    rng = np.random.default_rng(7)

    def machine(row, k):
        return watts(100.0 * math.exp(noise * rng.standard_normal()))

    claims = sum(run(machine, list(range(1, arms + 1)), contest())[0].verdict == "better" for _ in range(100))
    assert claims <= 12  # three standard deviations of chance above 5 %


def test_a_race_that_was_interrupted_goes_on_from_its_launches():
    rng = np.random.default_rng(1)
    values = {(row, k): watts((70.0, 90.0, 100.0)[row - 1] if row else 95.0, 60.0) for row in range(4) for k in range(50)}
    for v in values.values():
        v["power_w"] *= math.exp(0.05 * rng.standard_normal())
    whole, rounds = run(lambda row, k: values[row, k], [1, 2, 3], contest(BOUND))
    for cut in range(len(rounds)):
        assert judge(contest(BOUND), [1, 2, 3], rounds[:cut]).wanted == tuple(rounds[cut])
    assert whole.recommended == 1


def test_a_maximised_metric_with_negative_values():
    goal = Goal(maximize="score")
    now, _ = run(lambda row, k: {"score": -1.0 + 0.5 * row + 0.01 * k}, [1], contest(goal))
    assert (now.verdict, now.recommended) == ("better", 1)


def test_nominations():
    readings = {0: watts(100.0), 1: watts(80.0), 2: watts(70.0, 10.0), 3: watts(90.0), 4: watts(110.0), 5: watts(60.0), 6: watts(61.0)}
    assert nominate(BOUND, readings, advice=3, default=0) == [3, 5, 6, 1]
    assert nominate(BOUND, readings, advice=None, default=0) == [5, 6, 1, 3]
    assert nominate(BOUND, readings, advice=0, default=0) == [0, 5, 6, 1, 3][1:]
    assert nominate(BOUND, readings, advice=3, default=0, twin={3: 7}.get, frugality=lambda row: (-row,)) == [3, 5, 6, 7, 1]
    assert nominate(BOUND, {0: watts(1.0)}, advice=None, default=0) == []
    assert nominate(BOUND, {0: watts(1.0)}, advice=0, default=0, twin={0: 8}.get) == [8]  # the default itself may take less memory
    many = {row: watts(100.0 - row) for row in range(30)}
    assert nominate(BOUND, many, advice=None, default=0) == list(range(29, 29 - MAX_CANDIDATES, -1))


def test_what_does_not_fit_is_not_recommended():
    about = Contest(LEAST, LEAST, DEFAULT, lambda row: {}, lambda row: (), RaceRules(), fits=lambda row: row != 1)
    now, _ = run(lambda row, k: watts({0: 100.0, 1: 60.0, 2: 70.0}[row]), [1, 2], about)
    assert (now.verdict, now.recommended) == ("better", 2)
