"""The Bayesian strategy: Gaussian processes and log constrained expected improvement over the whole grid (paper, section 2.2)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal, InvalidTell, NoRecommendation
from bayestuner.goal import Goal
from bayestuner.search import warmup
from bayestuner.search.acquisition import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, ModelBound, Packed, Scorer, log_ndtr
from bayestuner.search.design import choose_first, design_size
from bayestuner.search.hints import Hints
from bayestuner.search.strategy import Prediction, Recommendation, Strategy
from bayestuner.space import Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import MetricModel, merge
from bayestuner.surrogate.viability import EXTRA, PRIOR, viability_model
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

GREEDY_EVERY = 3
CONFIDENCE = 0.9
LIKELY = math.log(0.5)
TWO_SIDED_95 = 1.959963984540054
MIN_MEASURED = 2  # a model of fewer readings knows no more than the design


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a configuration was asked, as the model saw it then.

    Attributes
    ----------
    reason : str
        ``design``, ``own choice``, ``expected improvement``, ``lowest mean`` or ``most feasible``.
    log_expected_improvement : float or None
        Natural logarithm, in the objective's standardised units; None before there is a model.
    p_feasible, p_viable : float or None
        The chances that every bound holds and that the run does not fail.
    predicted : dict
        Metric name -> `Prediction` of a noise-free run.
    """

    reason: str
    log_expected_improvement: float | None = None
    p_feasible: float | None = None
    p_viable: float | None = None
    predicted: dict[str, Prediction] | None = None


class Tuner(Strategy):
    """Bayesian optimisation with constraints over a finite grid.

    Parameters
    ----------
    space : Space
    goal : Goal
    seed : int
    budget : int
        How many runs are planned; only the size of the initial design depends on it.
    threads : int
        For scoring grids of more than 10^5 rows.
    confidence : float
        P(feasible) that `recommend` asks for.

    Notes
    -----
    The work is done in `tell`; `ask` reads what `tell` found. The first asks need no model, so compiling (or loading what was compiled
    before) happens in the background from the first `ask` on.

    Examples
    --------
    >>> import bayestuner as bt
    >>> space = bt.Space(bt.Integer("cores", 1, 8), bt.Ordinal("batch_size", [1, 2, 4, 8]))
    >>> tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 20"]), seed=0)
    >>> trial = tuner.ask()
    >>> told = tuner.tell(trial, power_w=40.0, throughput=25.0)
    >>> tuner.best_feasible.config == trial.config
    True
    """

    name = "bayes"

    def __init__(
        self, space: Space, goal: Goal, *, seed: int = 0, budget: int = 20, threads: int = 1, confidence: float = CONFIDENCE
    ) -> None:
        super().__init__(space, goal, seed=seed)
        self.budget = int(budget)
        self.confidence = float(confidence)
        self._geometry = Geometry.of(space)
        self._scorer = Scorer(space, self._geometry.starts, self._geometry.kinds, threads=threads)
        self._models: dict[str, MetricModel] = {}
        self._fresh: set[str] = set()  # metrics whose model has seen every reading
        self._viability: GaussianProcess | None = None
        self._hints = Hints(space)
        self._excluded = np.zeros(space.n_rows, dtype=np.bool_)
        self._forbidden_by_goal = self._rows_outside_known_bounds()
        self._plan: tuple[int, Explanation] | None = None
        self._why: dict[int, Explanation] = {}

    # -- the public face beyond Strategy ------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Compile everything now, instead of in the background."""
        warmup.wait()

    def retarget(self, goal: Goal) -> None:
        """Set a new threshold or objective over metrics already observed; no run and no fit is repeated."""
        with self._lock:
            if goal.relative:
                raise InvalidGoal(f"the goal '{goal}' has a relative bound; give it a reference with goal.resolve({{metric: value}}) first")
            for trial in self._measured():
                have = {*trial.metrics, *(k.name for k in self.space.knobs if k.numeric)}
                missing = [m for m in goal.metrics if m not in have]
                if missing:
                    raise InvalidGoal(
                        f"trial {trial.number} did not measure {', '.join(missing)}; a new goal can use {', '.join(sorted(have))}"
                    )
            self.goal = goal
            self._forbidden_by_goal = self._rows_outside_known_bounds()
            self._plan = None

    def explain(self, trial: Trial) -> Explanation:
        """Why this trial was asked."""
        if trial.number not in self._why:
            raise InvalidTell(f"trial {trial.number} was not asked here; explain takes a trial that ask or adopt returned")
        return self._why[trial.number]

    def recommend(self) -> Recommendation:
        """The configuration measured that has the lowest predicted objective among those feasible with `confidence`.

        Where none is that sure, the one most likely to be feasible. Expected metrics are the model's, with 95 % intervals of a
        noise-free run.
        """
        with self._lock:
            if len({t.row for t in self._measured()}) < MIN_MEASURED:
                return super().recommend()
            self._refresh()
            trials = {t.row: t for t in self._measured()}
            rows = np.array(list(trials), dtype=np.int64)
            log_p = self._log_feasible(rows)
            objective, _ = self._objective_at(rows)
            sure = log_p >= math.log(self.confidence)
            pick = int(np.argmin(np.where(sure, objective, np.inf))) if sure.any() else int(np.argmax(log_p))
            row = int(rows[pick])
            return Recommendation(row, trials[row].config, self._predictions(row), math.exp(float(log_p[pick])), trials[row])

    def predict(self, config: Config) -> dict[str, Prediction]:
        """What the model expects of a configuration, for each metric of the goal that is modelled."""
        with self._lock:
            if len({t.row for t in self._measured()}) < MIN_MEASURED:
                raise NoRecommendation(f"a prediction needs {MIN_MEASURED} different configurations measured first")
            self._refresh()
            return self._predictions(self.space.row(config))

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """Return the next configuration to run; the first call starts compiling in the background."""
        trial = super().ask()
        warmup.start()
        return trial

    def _choose(self) -> int:
        if self._plan is None or self._taken[self._plan[0]]:
            self._plan = self._make_plan()
        return self._plan[0]

    def _issue(self, row: int, repeat: bool) -> Trial:
        trial = super()._issue(row, repeat)
        planned = self._plan if self._plan is not None and self._plan[0] == trial.row else None
        self._why[trial.number] = planned[1] if planned is not None else Explanation("own choice")
        self._plan = None
        return trial

    def _designing(self) -> bool:
        asked = sum(1 for t in self._trials if not _is_transient(t.outcome))
        return asked < design_size(self.budget) or len({t.row for t in self._measured()}) < MIN_MEASURED

    def _make_plan(self) -> tuple[int, Explanation]:
        if self._designing():
            tried = [t.row for t in self._trials if not _is_transient(t.outcome)]
            return choose_first(self.space, self._skip(), tried, self.seed), Explanation("design")
        self._refresh()
        return self._model_choice()

    # -- learning -----------------------------------------------------------------------------------------------------

    def tell_outcome(self, trial: Trial, outcome: Outcome) -> Trial:
        """Take an `Outcome`, fit the models to it and choose the next configuration."""
        with self._lock:
            self._plan = None
            return super().tell_outcome(trial, outcome)

    def _learn(self, trial: Trial) -> None:
        self._fresh.clear()
        if isinstance(trial.outcome, Failed):
            if trial.outcome.kind == "oom":
                self._hints.failed(trial.row)
                self._exclude()
        elif self._hints.ran(trial.row):
            self._exclude()
        if not self._designing() and self._n_free:
            self._plan = self._make_plan()

    def _exclude(self) -> None:
        chunk = 1 << 18
        for first in range(0, self.space.n_rows, chunk):
            rows = np.arange(first, min(first + chunk, self.space.n_rows))
            self._excluded[rows] = self._hints.excluded(rows)

    def _measured(self) -> list[Trial]:
        return [t for t in self._trials if isinstance(t.outcome, Measured)]

    def _refresh(self) -> None:
        """Bring the model of every metric of the goal, and the viability model, up to date."""
        measured = self._measured()
        rows = [t.row for t in measured]
        if not self._fresh:
            self._viability = self._fit_viability(measured)
        for metric in self._modelled():
            if metric in self._fresh:
                continue
            data = merge(rows, [_reading(t.outcome, metric) for t in measured])
            model = self._models.setdefault(metric, MetricModel(self._geometry))
            # a stream per number of observations: the fit depends on what was told, never on how often anything was read
            model.fit(self.space.codes(data.rows), data, np.random.default_rng([self.seed, len(rows)]))
            self._fresh.add(metric)

    def _fit_viability(self, measured: list[Trial]) -> GaussianProcess | None:
        ran = {t.row for t in measured}
        failed = {t.row for t in self._trials if isinstance(t.outcome, Failed) and t.outcome.kind != "transient"} - ran
        if not failed:
            return None
        rows = np.array([*ran, *failed], dtype=np.int64)
        rows.sort()
        return viability_model(self._geometry, self.space.codes(rows), np.isin(rows, list(ran)))

    # -- the goal in the models' terms --------------------------------------------------------------------------------

    def _known(self, metric: str) -> bool:
        """True for a metric that is a numeric knob: known everywhere, not modelled."""
        return any(k.numeric and k.name == metric for k in self.space.knobs)

    def _modelled(self) -> list[str]:
        return [m for m in self.goal.metrics if not self._known(m)]

    def _knob_values(self, name: str, rows: IntArray | None = None) -> FloatArray:
        """Values of a numeric knob at the given rows, or over the whole grid, (m,)."""
        d = self.space.names.index(name)
        values = np.asarray(self.space.knobs[d].values, dtype=np.float64)
        if rows is not None:
            return np.asarray(values[self.space.codes(rows)[:, d]])
        if self.space.table is not None:
            return np.asarray(values[self.space.table[:, d]])
        before, after = math.prod(self.space.shape[:d]), math.prod(self.space.shape[d + 1 :])
        return np.tile(np.repeat(values, after), before)

    def _rows_outside_known_bounds(self) -> npt.NDArray[np.bool_]:
        outside = np.zeros(self.space.n_rows, dtype=np.bool_)
        for bound in self.goal.bounds:
            if self._known(bound.metric):
                values = self._knob_values(bound.metric)
                outside |= (values < bound.limit) if bound.sense == ">=" else (values > bound.limit)
        return outside

    def _bounds(self, index: dict[str, int]) -> list[ModelBound]:
        bounds = []
        for bound in self.goal.bounds:
            if bound.metric in index:
                limit = self._models[bound.metric].transform.forward_limit(bound.limit)
                bounds.append(ModelBound(index[bound.metric], 1.0 if bound.sense == ">=" else -1.0, max(limit, -1e300)))
        return bounds

    def _skip(self) -> npt.NDArray[np.bool_]:
        """Rows not to ask: taken, ruled out by a hint or by a bound on a knob; only the taken ones where that leaves nothing."""
        skip = self._taken | self._excluded | self._forbidden_by_goal
        if skip.all():
            skip = self._taken | self._excluded
        return self._taken if skip.all() else skip

    # -- choosing by the model ----------------------------------------------------------------------------------------

    def _model_choice(self) -> tuple[int, Explanation]:
        metrics = self._modelled()
        index = {m: i for i, m in enumerate(metrics)}
        gps = [self._models[m].gp for m in metrics]
        bounds = self._bounds(index)
        if self._viability is not None:
            bounds.append(ModelBound(len(gps), 1.0, -PRIOR, EXTRA))
            gps.append(self._viability)
        gps = self._with_pending(gps)
        objective, known = index.get(self.goal.objective, -1), None
        if objective < 0:
            known = self.goal.sign * self._knob_values(self.goal.objective)
        elif self.goal.sign < 0:
            gps.append(_negated(gps[objective]))
            objective = len(gps) - 1
        best, feasible_known = self._incumbent()
        packed = Packed.of(gps, self._geometry.d, self._geometry.levels.size)
        modelled_asks = len(self._trials) - design_size(self.budget)
        greedy = feasible_known and modelled_asks % GREEDY_EVERY == GREEDY_EVERY - 1
        attempts: list[tuple[int, str, dict[str, Any]]] = [
            (EXPECTED_IMPROVEMENT, "expected improvement", {}),
            (MOST_FEASIBLE, "most feasible", {}),
        ]
        if greedy:
            attempts.insert(0, (LOWEST_MEAN, "lowest mean", {"log_floor": LIKELY}))
        skip = self._skip()
        for mode, reason, options in attempts:
            row, value = self._scorer.best(mode, packed, bounds, skip, objective=objective, known=known, best=best, **options)
            if row >= 0:
                return row, self._explain(row, reason, best, value)
        row = int(np.argmin(skip))
        return row, self._explain(row, "most feasible", best, -math.inf)

    def _with_pending(self, gps: list[GaussianProcess]) -> list[GaussianProcess]:
        """Posteriors that take each outstanding run's outcome to be its prediction (kriging believer, Ginsbourger et al. 2010)."""
        rows = [t.row for t in self._outstanding.values()]
        if not rows:
            return gps
        codes = self.space.codes(rows)
        out = []
        for gp in gps:
            believer = copy.copy(gp)
            for code in codes:
                mean, _ = believer.predict(code[None, :])
                believer.extend(code, float(mean[0]), gp.noise_variance)
            out.append(believer)
        return out

    def _objective_at(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, to be minimised, of the objective at rows (m,)."""
        if self._known(self.goal.objective):
            return self.goal.sign * self._knob_values(self.goal.objective, rows), np.zeros(rows.size)
        mean, std = self._models[self.goal.objective].predict(self.space.codes(rows))
        return self.goal.sign * mean, std

    def _log_feasible(self, rows: IntArray) -> FloatArray:
        """Log of the chance that all bounds hold at rows (m,), failures apart."""
        total = np.zeros(rows.size)
        total[self._forbidden_by_goal[rows]] = -np.inf
        codes = self.space.codes(rows)
        index = {m: i for i, m in enumerate(self._modelled())}
        names = list(index)
        for bound in self._bounds(index):
            mean, std = self._models[names[bound.model]].predict(codes)
            z = bound.sign * (mean - bound.limit) / np.maximum(std, 1e-9)
            total += np.array([log_ndtr(float(v)) for v in z])
        return total

    def _incumbent(self) -> tuple[float, bool]:
        """What to improve on, to be minimised, and whether anything feasible is known.

        The lowest posterior mean among measured rows that are more likely feasible than not, or were measured so (a lucky noisy reading
        must not end the search, so never the reading itself). With nothing feasible, the worst: every cheaper row keeps its price signal.
        """
        rows = np.unique(np.array([t.row for t in self._measured()], dtype=np.int64))
        mean, _ = self._objective_at(rows)
        likely = self._log_feasible(rows) >= LIKELY
        if not likely.any() and self.best_feasible is not None:
            likely = rows == self.best_feasible.row
        if likely.any():
            return float(mean[likely].min()), True
        return float(mean.max()), False

    def _explain(self, row: int, reason: str, best: float, value: float) -> Explanation:
        rows = np.array([row], dtype=np.int64)
        log_p = float(self._log_feasible(rows)[0])
        p_viable = 1.0
        if self._viability is not None:
            mean, variance = self._viability.predict(self.space.codes(rows))
            p_viable = math.exp(log_ndtr(float((mean[0] + PRIOR) / math.sqrt(variance[0] + EXTRA))))
        log_ei = value - log_p - math.log(max(p_viable, 1e-300)) if reason == "expected improvement" else None
        return Explanation(reason, log_ei, math.exp(log_p), p_viable, self._predictions(row))

    def _predictions(self, row: int) -> dict[str, Prediction]:
        out = {}
        codes = self.space.codes([row])
        for metric in self.goal.metrics:
            if self._known(metric):
                value = float(self._knob_values(metric, np.array([row]))[0])
                out[metric] = Prediction(value, value, value)
                continue
            model = self._models[metric]
            mean, std = model.predict(codes)
            low, middle, high = (model.transform.backward(float(mean[0] + z * std[0])) for z in (-TWO_SIDED_95, 0.0, TWO_SIDED_95))
            out[metric] = Prediction(middle, low, high)
        return out


def _is_transient(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Failed) and outcome.kind == "transient"


def _reading(outcome: Outcome | None, metric: str) -> Reading:
    assert isinstance(outcome, Measured)  # noqa: S101 - narrows the type; callers pass measured trials only
    return outcome.metrics[metric]


def _negated(gp: GaussianProcess) -> GaussianProcess:
    """The same posterior of the negative function."""
    out = copy.copy(gp)
    out.beta = -gp.beta
    return out
