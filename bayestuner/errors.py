"""The exceptions BayesTuner raises; each message says what was given, what was expected and what to do."""


class BayesTunerError(Exception):
    """Base of every error BayesTuner raises on purpose."""


class InvalidSpace(BayesTunerError, ValueError):
    """A knob or a space was described in a way that has no meaning."""


class InvalidGoal(BayesTunerError, ValueError):
    """A goal, a bound or an option of a strategy was described in a way that has no meaning."""


class InvalidTell(BayesTunerError, ValueError):
    """A result was told that can't be used; the strategy's state is unchanged."""


class SpaceExhausted(BayesTunerError):
    """Every allowed configuration has been tried or is being tried."""


class NoRecommendation(BayesTunerError):
    """Nothing has been measured yet that a recommendation could rest on."""


class InvalidJob(BayesTunerError, ValueError):
    """A job file holds a mistake; the message names its key."""


class MeterUnavailable(BayesTunerError):
    """No energy meter that the job file accepts works on this machine."""


class IsolationUnavailable(BayesTunerError):
    """The limits a run needs can't be set on this machine."""


class KnobUnavailable(BayesTunerError):
    """A knob of the job file can't be set on this machine."""


class MachineBusy(BayesTunerError):
    """Another BayesTuner is measuring on this machine."""


class RuntimeFolderUnusable(BayesTunerError):
    """There is no folder of this user's own for what lives as long as this boot."""


class StoreError(BayesTunerError):
    """A study's file can't be read, written or continued."""


class MissingExtra(BayesTunerError, ImportError):
    """An optional dependency is needed for what was asked and isn't installed."""


class WorkerLost(BayesTunerError):
    """A process that does a part of the work was ended from outside."""


class RunFailed(BayesTunerError):
    """Raised by an ``evaluate`` function to say that a test run failed.

    Parameters
    ----------
    kind : {"oom", "timeout", "error", "transient"}
        See `bayestuner.trial.FailureKind`.
    message : str
        What happened, for people.
    """

    def __init__(self, kind: str = "error", message: str = "") -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        self.message = message
