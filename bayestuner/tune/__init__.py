"""Running a job's configurations and keeping what comes of them: baseline, search, final launches, result.

It is the one room that knows both a study and a runner; it opens the machine, holds its lock and puts everything back.
"""

from bayestuner.tune.entry import TuneResult, tune
from bayestuner.tune.matching import StudyMismatch
from bayestuner.tune.progress import Progress, RunProgress
from bayestuner.tune.rules import DecidedRule, HopelessRule, rules_of

__all__ = ["DecidedRule", "HopelessRule", "Progress", "RunProgress", "StudyMismatch", "TuneResult", "rules_of", "tune"]
