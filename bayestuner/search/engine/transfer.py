"""Learning from earlier studies: a second set of models that has seen them, mixed with the first by how well each predicts the new study.

The mixture is safe: where earlier studies mislead, the models that have seen them predict the new study's own readings worse than those
that have not, and lose their weight.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, MOST_FEASIBLE, Scorer
from bayestuner.search.engine.design import Promise
from bayestuner.search.engine.history import MAX_TRIALS, EarlierStudy
from bayestuner.search.engine.measured import Incumbent
from bayestuner.search.engine.packed import Exclusions, KnobValues, ModelBound, Packed
from bayestuner.search.engine.posterior import Posterior, Scoring, believing, negated
from bayestuner.space import Space
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.joint import JointGrid, common_knobs
from bayestuner.surrogate.pooled import PooledMetric, PooledReadings, leave_one_out
from bayestuner.surrogate.readings import Merged, merge
from bayestuner.trial import Measured, Reading, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_STUDIES = 4  # the last ones given that have something in common with the new study
MAX_CONFIGURATIONS = 48  # of all of them together: a tell's time grows with the square of their number
MAX_OWN = 40  # configurations measured in the new study from which on it needs no others: they no longer change what is chosen
TRUST = 1.0  # log odds of the earlier studies' models before any evidence
MAX_EVIDENCE = 2.0  # log odds that one reading can give or take
SMALLEST = 1e-300
MIN_SPREAD = 1e-6  # standard deviation of the new study's readings, in the pooled unit


@dataclass(frozen=True, slots=True)
class Mixture:
    """What the acquisition is computed from: models with and without the earlier studies, over the joint grid.

    Attributes
    ----------
    weight : float
        Of the models that have seen the earlier studies, from 0 to 1.
    packed : Packed
    bounds : list of ModelBound
    options : dict
        The objective, as for `Scorer.top`.
    """

    weight: float
    packed: Packed
    bounds: list[ModelBound]
    options: dict[str, Any]


def usable_studies(space: Space, history: Sequence[EarlierStudy]) -> list[EarlierStudy]:
    """The last few studies that a search of `space` can learn from: they measured something, with more knobs in common than apart."""
    return [study for study in history if study.measured() and _alike(space, study.space)][-MAX_STUDIES:]


def _alike(space: Space, other: Space) -> bool:
    """Whether two spaces have more knobs in common than apart."""
    common = len(common_knobs(space, other))
    return 2 * common > len({*space.names, *other.names})


class Transfer:
    """The models that have seen earlier studies, for one new study.

    Parameters
    ----------
    space : Space
    posterior : Posterior
        The new study's models, which have not seen the earlier ones.
    studies : sequence of EarlierStudy
        As `usable_studies` returned them; at least one.
    threads : int
    """

    def __init__(self, space: Space, posterior: Posterior, studies: Sequence[EarlierStudy], *, threads: int) -> None:
        self._posterior = posterior
        self.studies = tuple(studies)
        self._trials = [study.latest(min(MAX_TRIALS, MAX_CONFIGURATIONS // len(self.studies))) for study in self.studies]
        configs = [[config for config, _ in trials] for trials in self._trials]
        self.grid = JointGrid(space, posterior.geometry, [(s.space, c) for s, c in zip(self.studies, configs, strict=True)])
        self.scorer = Scorer(self.grid.view, self.grid.geometry.level_starts, self.grid.geometry.kinds, threads=threads)
        self._codes = [self.grid.codes_of_study(number, given) for number, given in enumerate(configs)]
        self._goal: Goal | None = None
        self._models: dict[str, PooledMetric | None] = {}
        self._up_to_date: set[str] = set()

    def names(self, goal: Goal) -> tuple[str, ...]:
        """Names of the studies that have measured a metric of the goal."""
        wanted = set(self._posterior.modelled(goal))
        pairs = zip(self.studies, self._trials, strict=True)
        return tuple(study.name for study, trials in pairs if any(wanted & set(_positive(metrics)) for _, metrics in trials))

    def mark_stale(self) -> None:
        """Record that there are results that the models have not been fitted to."""
        self._up_to_date.clear()

    def mixture(self, goal: Goal, scoring: Scoring, incumbent: Incumbent, pending: Sequence[int], reach: float) -> Mixture | None:
        """Models with and without the earlier studies; None where these have nothing to say.

        Parameters
        ----------
        goal : Goal
        scoring : Scoring
            Of the new study's models.
        incumbent : Incumbent
        pending : sequence of int
            Rows of outstanding runs.
        reach : float
            Limits count as no farther than this from the mean of the new study's readings, in their standard deviations.
        """
        models = {metric: self._posterior.models[metric] for metric in self._posterior.modelled(goal)}
        pooled = self._fit(goal, {metric: (model.gp.codes, model.data) for metric, model in models.items()})
        if not pooled:
            return None
        weight = self._weight(pooled)
        processes = [self._lifted(gp) for gp in scoring.processes]
        noise = list(scoring.noise)
        index = {}
        pending_codes = self.grid.codes(self._posterior.space.codes(list(pending))) if pending else None
        for metric, model in pooled.items():
            gp = model.gp if pending_codes is None else believing(model.gp, pending_codes)
            index[metric] = len(processes)
            processes.append(negated(gp) if metric == goal.objective and goal.sign < 0 else gp)
            noise.append(gp.noise_variance)
        count = 1 if isinstance(scoring.objective, int) else len(scoring.objective)
        bounds = self._bounds(goal, scoring, pooled, index, count, reach)
        best, objective = [incumbent.value] * count, _as_list(scoring.objective, count)
        unit = 1.0
        if goal.objective in pooled:
            transform, theirs = self._posterior.models[goal.objective].transform, pooled[goal.objective].transform
            value = max(transform.backward(goal.sign * incumbent.value), SMALLEST)
            best.append(goal.sign * theirs.forward_limit(value))
            objective.append(index[goal.objective])
            unit = theirs.scale / (transform.scale * value**-transform.power)  # both in logarithms of the metric, there
        else:
            best.append(incumbent.value)
            objective.append(objective[0])
        shares = np.array([[(1.0 - weight) / count] * count + [weight], [1.0] * count + [unit]])
        packed = Packed.of(processes, self.grid.geometry.d, self.grid.geometry.levels.size, noise)
        return Mixture(weight, packed, bounds, {"objective": objective, "best": best, "shares": np.maximum(shares, SMALLEST)})

    def _exclusions(self, own: Exclusions) -> Exclusions:
        """What to leave out, over the joint grid."""
        boxes = np.pad(own.boxes, ((0, 0), (self.grid.n_front, 0), (0, 0))) if own.boxes.size else np.empty((0, self.grid.geometry.d, 2))
        levels = self.grid.spread(own.infeasible_levels, False) if own.infeasible_levels.size else own.infeasible_levels
        return replace(own, boxes=np.ascontiguousarray(boxes, dtype=np.int64), infeasible_levels=levels)

    def promise(self, goal: Goal, measured: Sequence[Trial]) -> Promise | None:
        """How promising rows are by the earlier studies and the first runs of the new one; None where those have nothing to say.

        It is the log of the expected improvement on the dearest of the rows, times the probability to meet the bounds.
        """
        space, own = self._posterior.space, {}
        for metric in self._posterior.modelled(goal):
            data = merge([t.row for t in measured], [t.outcome.metrics[metric] for t in measured if isinstance(t.outcome, Measured)])
            own[metric] = space.codes(data.rows), data
        pooled = self._fit(goal, own)
        if not pooled:
            return None
        index = {metric: i for i, metric in enumerate(pooled)}
        processes = [negated(m.gp) if metric == goal.objective and goal.sign < 0 else m.gp for metric, m in pooled.items()]
        packed = Packed.of(processes, self.grid.geometry.d, self.grid.geometry.levels.size, [gp.noise_variance for gp in processes])
        bounds = [
            ModelBound(index[b.metric], 1.0 if b.sense == ">=" else -1.0, max(pooled[b.metric].transform.forward_limit(b.limit), -1e300))
            for b in self._posterior.modelled_bounds(goal)
            if b.metric in pooled
        ]

        def value(rows: IntArray) -> FloatArray:
            codes = self.grid.codes(space.codes(rows))
            if goal.objective not in pooled:
                return self.scorer.values(MOST_FEASIBLE, packed, bounds, codes)
            dearest = float(processes[index[goal.objective]].predict(codes)[0].max())
            return self.scorer.values(EXPECTED_IMPROVEMENT, packed, bounds, codes, objective=index[goal.objective], best=dearest)

        return value

    def best(
        self, mixture: Mixture, exclusions: Exclusions, known: KnobValues | None, *, power: int, min_log_p: float
    ) -> tuple[int, float]:
        """The row that the mixture values most, and the value; -1 and -inf where there is none. Bounds count `power` fold."""
        options = {**mixture.options, "known": self._known(known), "min_log_p": min_log_p}
        return self.scorer.best(EXPECTED_IMPROVEMENT, mixture.packed, mixture.bounds * power, self._exclusions(exclusions), **options)

    def _known(self, own: KnobValues | None) -> KnobValues | None:
        return None if own is None else KnobValues(own.knob + self.grid.n_front, own.values)

    # -- the models -----------------------------------------------------------------------------------------------------------

    def _fit(self, goal: Goal, own: Mapping[str, tuple[IntArray, Merged]]) -> dict[str, PooledMetric]:
        """The up-to-date model of each metric that can be learnt from the earlier studies, given the new study's codes and readings."""
        if goal != self._goal:
            self._models, self._goal = {}, goal
            self._up_to_date.clear()
        found = {}
        for metric, (codes, data) in own.items():
            if metric not in self._models:
                self._models[metric] = self._begin(metric, goal)
            model = self._models[metric]
            if model is None or not (data.values > 0.0).all() or data.values.size > MAX_OWN:
                continue
            if metric not in self._up_to_date:
                model.fit(codes, data, _limit(goal, metric))
                self._up_to_date.add(metric)
            found[metric] = model
        return found

    def _begin(self, metric: str, goal: Goal) -> PooledMetric | None:
        earlier = []
        for study, trials, codes in zip(self.studies, self._trials, self._codes, strict=True):
            having = [i for i, (_, metrics) in enumerate(trials) if metric in _positive(metrics)]
            if not having:
                continue
            rows: dict[bytes, int] = {}
            ids = [rows.setdefault(codes[i].tobytes(), i) for i in having]
            data: Merged = merge(ids, [trials[i][1][metric] for i in having])
            earlier.append(PooledReadings(codes[data.rows], data, None if metric == goal.objective else study.limit_of(metric)))
        return PooledMetric(self.grid, earlier, self._posterior.modelling.priors()) if earlier else None

    def _lifted(self, gp: GaussianProcess) -> GaussianProcess:
        """A process over the new study's grid as one over the joint grid."""
        out = copy.copy(gp)
        out.geometry = self.grid.geometry
        out.codes = self.grid.codes(gp.codes)
        out.theta, out.z_levels = self.grid.spread_theta(gp.theta), self.grid.spread(gp.z_levels, 0.5)
        return out

    def _weight(self, pooled: dict[str, PooledMetric]) -> float:
        log_odds = TRUST
        for metric, model in pooled.items():
            own = self._posterior.models[metric]
            transform = own.transform
            # of the logarithm of the metric, as the other densities are
            density = leave_one_out(own.gp, own.values.size) - math.log(transform.scale) + transform.power * np.log(own.values)
            log_odds += float(np.clip(model.log_densities() - density, -MAX_EVIDENCE, MAX_EVIDENCE).sum())
        return 1.0 / (1.0 + math.exp(min(max(-log_odds, -50.0), 50.0)))

    def _bounds(
        self, goal: Goal, scoring: Scoring, pooled: dict[str, PooledMetric], index: dict[str, int], count: int, reach: float
    ) -> list[ModelBound]:
        """The bounds with one model and limit more, that of the earlier studies."""
        out = []
        modelled = self._posterior.modelled_bounds(goal)
        for i, bound in enumerate(scoring.bounds):
            model, limit = _as_list(bound.model, count), _as_list(bound.limit, count)
            metric = modelled[i].metric if i < len(modelled) else ""  # the last one may be that of failures
            if metric in pooled:
                joint = pooled[metric].transform.forward_limit(self._posterior.corrected_limit(modelled[i]))
                y = pooled[metric].y
                farthest = reach * max(float(y.std()), MIN_SPREAD) if math.isfinite(reach) else 1e300
                limit = [*limit, min(max(joint, float(y.mean()) - farthest), float(y.mean()) + farthest)]
                model = [*model, index[metric]]
            else:
                model, limit = [*model, model[0]], [*limit, limit[0]]
            out.append(ModelBound(model, bound.sign, limit, bound.extra_variance))
        return out


def _positive(metrics: Mapping[str, Reading]) -> list[str]:
    """The metrics whose logarithm can be taken."""
    return [metric for metric, reading in metrics.items() if reading.value > 0.0]


def _limit(goal: Goal, metric: str) -> float | None:
    return next((bound.limit for bound in goal.bounds if bound.metric == metric and metric != goal.objective), None)


def _as_list(value: Any, count: int) -> list[Any]:
    return [value] * count if isinstance(value, (int, float, np.generic)) else list(value)
