"""What earlier studies measured, as it is read from where they are kept, and stored in the study that learns from them."""

from __future__ import annotations

from pathlib import Path

from bayestuner.search.engine.history import EarlierStudy
from bayestuner.study.study import Study


class History(EarlierStudy):
    """An earlier study that a `Tuner` may learn from: ``bt.Tuner(space, goal, history=[bt.History.of("results/resnet")])``.

    Parameters as of `EarlierStudy`: a name, a space, trials and a goal.

    Examples
    --------
    >>> import bayestuner as bt
    >>> space = bt.Space(bt.Integer("cores", 1, 8), bt.Ordinal("batch_size", [1, 2, 4, 8]))
    >>> trials = [({"cores": 2, "batch_size": 1}, {"power_w": 30.0, "throughput": 11.0}), ({"cores": 8, "batch_size": 8}, "oom")]
    >>> earlier = bt.History("resnet", space, trials, bt.Goal(minimize="power_w", subject_to=["throughput >= 10"]))
    >>> tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 20"]), history=[earlier])
    """

    @classmethod
    def of(cls, path: str | Path) -> History:
        """Read the study in the folder `path`; nothing of it is changed. Raises `StoreError` where there is none or it can't be read."""
        with Study.open(path, read_only=True) as study:
            trials = [(r.trial.config, r.trial.outcome) for r in study.records() if r.trial.outcome is not None]
            return cls(study.info.name or study.folder.resolve().name, study.space, trials, study.resolved_goal or study.goal)
