"""Running a job's configurations and keeping what comes of them; the one room that knows both a study and a runner."""

from bayestuner.tune.entry import TuneResult, tune
from bayestuner.tune.matching import StudyMismatch
from bayestuner.tune.news import Progress, RunNews
from bayestuner.tune.rules import DecidedRule, HopelessRule, rules_of

__all__ = ["DecidedRule", "HopelessRule", "Progress", "RunNews", "StudyMismatch", "TuneResult", "rules_of", "tune"]
