"""BayesTuner: find the configuration that draws the least power and still meets its throughput, in about 20 test runs.

The public names below load on first use: importing the package compiles nothing, opens no device, and imports neither
numba nor scipy.
"""

from __future__ import annotations

from importlib import import_module

from bayestuner._version import __version__

TYPE_CHECKING = False  # as typing has it: `python -m bayestuner` may import nothing here that Python has not loaded by itself (__main__.py)
if TYPE_CHECKING:
    from typing import Any

    from bayestuner.errors import BayesTunerError, RunFailed, SpaceExhausted
    from bayestuner.goal import AtLeast, AtMost, Bound, Goal
    from bayestuner.report.export import StudyData, StudyRun, load_study
    from bayestuner.search.engine.stopping import ExpectedImprovement, RegretBound, WallClock
    from bayestuner.search.engine.tuner import Tuner
    from bayestuner.search.optimize import Result, optimize
    from bayestuner.space import Categorical, Integer, Ordinal, Space
    from bayestuner.study.history import History
    from bayestuner.trial import Failed, Measured, Reading, Trial

_HOME = {
    "AtLeast": "goal",
    "AtMost": "goal",
    "BayesTunerError": "errors",
    "Bound": "goal",
    "Categorical": "space",
    "ExpectedImprovement": "search.engine.stopping",
    "Failed": "trial",
    "Goal": "goal",
    "History": "study.history",
    "Integer": "space",
    "Measured": "trial",
    "Ordinal": "space",
    "Reading": "trial",
    "RegretBound": "search.engine.stopping",
    "Result": "search.optimize",
    "RunFailed": "errors",
    "Space": "space",
    "SpaceExhausted": "errors",
    "StudyData": "report.export",
    "StudyRun": "report.export",
    "Trial": "trial",
    "Tuner": "search.engine.tuner",
    "WallClock": "search.engine.stopping",
    "load_study": "report.export",
    "optimize": "search.optimize",
}

__all__ = [
    "AtLeast",
    "AtMost",
    "BayesTunerError",
    "Bound",
    "Categorical",
    "ExpectedImprovement",
    "Failed",
    "Goal",
    "History",
    "Integer",
    "Measured",
    "Ordinal",
    "Reading",
    "RegretBound",
    "Result",
    "RunFailed",
    "Space",
    "SpaceExhausted",
    "StudyData",
    "StudyRun",
    "Trial",
    "Tuner",
    "WallClock",
    "__version__",
    "load_study",
    "optimize",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'bayestuner' has no attribute {name!r}")
    value = getattr(import_module(f"bayestuner.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
