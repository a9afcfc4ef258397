"""Whether the machine stays the same while a study lasts: by its idle power, and by measuring the default configuration again."""

from __future__ import annotations

from bayestuner.measure.energy.meter import EnergyMeter, MeterFault
from bayestuner.measure.job.job import Job
from bayestuner.measure.run.idle import idle_drift, measure_idle
from bayestuner.study.drift import drift_since_first
from bayestuner.study.stopping import costs_budget
from bayestuner.study.study import Study
from bayestuner.tune.progress import Progress


class DriftMonitor:
    """Watches one call of `tune` for drift.

    Parameters
    ----------
    job : Job
    study : Study
    meter : EnergyMeter or None
    progress : Progress
    """

    def __init__(self, job: Job, study: Study, meter: EnergyMeter | None, progress: Progress) -> None:
        self.job = job
        self.study = study
        self.meter = meter
        self.progress = progress

    def measure_idle(self) -> None:
        """Measure and store the power of the idle machine, where there is a real meter; report where it has moved since the first time."""
        seconds = self.job.measure.idle_seconds
        if self.meter is None or self.meter.estimated or seconds <= 0:
            return
        self.progress.note(f"measuring the idle machine for {seconds:g} s")
        try:
            idle = measure_idle(self.meter, seconds)
        except MeterFault as error:  # the next run finds out whether the meter is gone for good
            self.progress.note(f"the idle machine could not be measured: {error}")
            return
        earlier = next((f["idle"]["power_w"] for f in self.study.provenance() if "idle" in f), None)
        self.study.add_provenance({"idle": idle.as_dict(), "after_runs": len(self.study.records())})
        drift = None if earlier is None else idle_drift(earlier, idle.power_w)
        if drift:
            self.progress.note(drift)

    def reference_is_due(self) -> bool:
        """Whether the default configuration is to be measured again before the next run of the search.

        It is due after every `reference_every` runs, unless fewer than that would follow it: the repeats at the end of the search launch
        the same configuration anyway. An exhaustive search makes none, since its budget is just its number of configurations.
        """
        every = 0 if self.study.info.strategy == "exhaustive" else self.job.measure.reference_every
        runs = [r for r in self.study.records() if costs_budget(r) and not r.orphaned]
        default_runs = [i for i, r in enumerate(runs) if r.role in ("baseline", "reference")]
        if not every or not default_runs:
            return False
        return len(runs) - default_runs[-1] >= every and self.study.info.budget - len(runs) - 1 >= every

    def report(self, role: str) -> list[str]:
        """Report how far the figures of the default configuration have moved since its first run.

        Parameters
        ----------
        role : str
            Of the later runs to compare with, ``reference`` or ``repeat``.

        Returns
        -------
        list of str
            A sentence for each metric that has moved by more than noise.
        """
        metrics = dict.fromkeys([*self.study.goal.metrics, "throughput", "power_w"])
        found = drift_since_first(self.study.records(), role, list(metrics))
        if found and role == "reference":
            said = ", ".join(f"{d.metric} {100 * d.change:+.1f} %" for d in found)
            within = "" if any(d.beyond_noise for d in found) else "; within noise"
            self.progress.note(f"the all-max configuration again, against its first run: {said}{within}")
        beyond = [
            f"{d.metric} of the all-max configuration has moved by {100 * d.change:+.1f} % since the first run, more than noise "
            f"({100 * d.noise:.1f} %): the machine has drifted, and early and late runs are not quite comparable"
            for d in found
            if d.beyond_noise
        ]
        for text in beyond:
            self.progress.note(text)
        return beyond
