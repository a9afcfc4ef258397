"""Goal and Bound: signs, text, relative bounds."""

import pytest

from bayestuner.errors import InvalidGoal
from bayestuner.goal import AtLeast, AtMost, Bound, Goal


def test_violation_is_positive_exactly_on_the_wrong_side():
    assert AtLeast("t", 50).violation(49) == 1 and AtLeast("t", 50).violation(51) == -1
    assert AtMost("t", 50).violation(51) == 1 and AtMost("t", 50).violation(49) == -1


def test_the_limit_itself_is_feasible():
    goal = Goal(minimize="p", subject_to=["t >= 50", AtMost("l", 2)])
    assert goal.feasible({"p": 1, "t": 50, "l": 2})
    assert goal.violation({"t": 50, "l": 2}) == 0


@pytest.mark.parametrize("name", ["p99-ms", "größe", "a.b", "_x", "rate/s"])
def test_a_bound_in_text_may_name_any_metric(name):
    bound = Bound.parse(f" {name}>= 2.5")
    assert (bound.metric, bound.limit) == (name, 2.5)


@pytest.mark.parametrize("text", ["throughput >= 50", "latency_p99_s <= 0.2", "throughput >= 60%", "a.b >= -1e-3"])
def test_text_reads_back(text):
    assert Bound.parse(str(Bound.parse(text))) == Bound.parse(text)


def test_relative_bounds_resolve_against_a_reference():
    goal = Goal(minimize="p", subject_to=["t >= 60%", "l <= 2"])
    assert goal.relative
    assert goal.resolve({"t": 200.0}).bounds == (AtLeast("t", 120.0), AtMost("l", 2.0))
    with pytest.raises(InvalidGoal, match="relative"):
        goal.feasible({"p": 1, "t": 1, "l": 1})
    with pytest.raises(InvalidGoal, match="measured only p"):
        goal.resolve({"p": 1.0})


def test_better_follows_the_direction():
    assert Goal(minimize="p").better({"p": 1}, {"p": 2})
    assert Goal(maximize="p").better({"p": 2}, {"p": 1})
    assert not Goal(maximize="p").better({"p": 1}, {"p": 1})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Goal, "exactly one"),
        (lambda: Goal(minimize="a", maximize="b"), "exactly one"),
        (lambda: Goal(minimize=""), "is a name"),
        (lambda: Goal(minimize="a", subject_to=["b > 3"]), "can't read the bound 'b > 3'"),
        (lambda: Goal(minimize="a", subject_to=["b >= e"]), "where a number belongs"),
        (lambda: Goal(minimize="a", subject_to=[3]), "not 3"),
        (lambda: AtLeast("a", float("inf")), "finite"),
        (lambda: Bound("a", ">", 1.0), "'>='"),
    ],
)
def test_each_mistake_is_named(make, says):
    with pytest.raises(InvalidGoal) as caught:
        make()
    assert says in str(caught.value)


def test_one_bound_may_stand_without_a_list_and_metrics_are_listed_once():
    goal = Goal(minimize="p", subject_to="t >= 1")
    assert goal == Goal(minimize="p", subject_to=[AtLeast("t", 1)])
    assert Goal(minimize="p", subject_to=["t >= 1", "t <= 9", "p <= 3"]).metrics == ("p", "t")
    assert str(goal) == "minimize p subject to t >= 1"


def test_bounds_that_no_configuration_can_meet_are_known():
    def impossible(*bounds, **levels):
        return Goal(minimize="p", subject_to=bounds).impossible(levels)

    assert impossible("t >= 3", "t <= 3", "u >= 5") is None
    assert impossible("t >= 3", "u <= 1", "t <= 2") == "no number meets 't >= 3' and 't <= 2'"
    assert impossible("t >= 80%", "t <= 60%") is None  # right where the reference is below 0
    both = Goal(minimize="p", subject_to=["t >= 80%", "t <= 60%"])
    assert both.impossible(positive=True) == "no number meets 't >= 80%' and 't <= 60%'"
    assert both.resolve({"t": 10.0}).impossible() == "no number meets 't >= 8' and 't <= 6'"
    assert both.resolve({"t": -10.0}).impossible() is None
    assert impossible("n >= 3", "n <= 4", n=(1, 3, 5)) is None
    assert impossible("n >= 4", "n <= 4.5", n=(1, 3, 5)) == "no value of the knob 'n' meets 'n >= 4' and 'n <= 4.5'; it takes 1 to 5"
    assert impossible("n >= 6", n=(1, 3, 5)) == "no value of the knob 'n' meets 'n >= 6'; it takes 1 to 5"
