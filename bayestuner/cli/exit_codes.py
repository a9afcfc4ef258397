"""The exit codes of the command line; `HELP` is what ``--help`` says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayestuner.study.summary import Summary

OK = 0
NO_CONFIGURATION = 1
BAD_INPUT = 2
MACHINE_LACKS = 3
STUDY_TROUBLE = 4
MACHINE_BUSY = 5
NO_IMPROVEMENT = 6
INTERNAL = 70
SYSTEM_REFUSED = 74
STOPPED = 128
"""Plus the signal's number."""

HELP = """\
exit codes:
  0    done; of tune: a configuration that was shown to be better than the default
  1    no configuration was shown to meet the goal, or every run failed
  2    bad input: the command line or the job file
  3    the machine lacks something: a meter, cgroups, an optional package
  4    the study can't be read, written or continued
  5    the machine is busy: another BayesTuner measures on it, or other programs leave too little of it
  6    of tune: a configuration that meets the goal is recommended, but no improvement over the default was shown
  70   an error in BayesTuner itself
  74   the operating system refused something: a full disk, an output that can't be written, a file that may not be read
  129, 130, 143   stopped by SIGHUP, Ctrl-C, SIGTERM; everything finished is kept

BAYESTUNER_DEBUG=1 in the environment shows the traceback of an error."""


def of_summary(summary: Summary) -> int:
    """What a study came to, as an exit code; without final launches nothing was shown."""
    if summary.recommended is None:
        return NO_CONFIGURATION
    return OK if summary.decision is not None and summary.decision.verdict == "better" else NO_IMPROVEMENT
