"""What a study writes down must come back equal."""

import json

import numpy as np
import pytest

from bayestuner import codec
from bayestuner.goal import AtMost, Goal
from bayestuner.space import Categorical, Integer, Ordinal, Space
from bayestuner.trial import Failed, Measured, Reading

KNOBS = [Integer("cores", 2, 11, 3, more_is="safer"), Ordinal("mhz", [1.5, 2.0]), Categorical("precision", ["fp32", "int8", True])]


@pytest.mark.parametrize(
    "space",
    [
        Space(*KNOBS),
        Space(Integer("one", 5, 5)),
        Space(*KNOBS, where=lambda c: c["cores"] > 2 or c["precision"] == "int8"),
        Space.from_rows(KNOBS, [[5, 1.5, "int8"], [2, 2.0, True], [11, 2.0, "fp32"]]),
        Space(Ordinal("n", np.array([1, 2, 4]))),
    ],
)
def test_a_space_comes_back_equal(space):
    again = codec.space_from_json(json.loads(json.dumps(codec.space_to_json(space))))
    assert again == space
    assert list(again) == list(space)
    assert [k.more_is for k in again.knobs] == [k.more_is for k in space.knobs]


@pytest.mark.parametrize(
    "goal",
    [Goal(minimize="power_w", subject_to=["throughput >= 60%", AtMost("latency_p99_s", 0.1)]), Goal(maximize="throughput")],
)
def test_a_goal_comes_back_equal(goal):
    assert codec.goal_from_json(json.loads(json.dumps(codec.goal_to_json(goal)))) == goal


@pytest.mark.parametrize(
    "outcome", [Measured({"a": Reading(0.1 + 0.2, 1e-300), "b": Reading(np.float64(3.0))}, ("unsteady",)), Failed("oom", "killed: é")]
)
def test_an_outcome_comes_back_equal(outcome):
    assert codec.outcome_from_json(json.loads(json.dumps(codec.outcome_to_json(outcome)))) == outcome
