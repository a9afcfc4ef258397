"""A study: a strategy, the store that keeps its trials, a budget, and the rules that end it."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bayestuner.codec import goal_from_json, goal_to_json, space_from_json, space_to_json
from bayestuner.errors import BayesTunerError, InvalidGoal, InvalidTell, SpaceExhausted, StoreError
from bayestuner.goal import Goal
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.search.engine.stopping import StoppingRule, WallClock
from bayestuner.search.engine.transfer import usable_studies
from bayestuner.search.strategy import Recommendation, Strategy, check_goal
from bayestuner.space import Space
from bayestuner.study.database_file import remove_file
from bayestuner.study.owner import Owner
from bayestuner.study.registry import LEARN_FROM_HISTORY, check_suits
from bayestuner.study.replay import ReplayedStrategy
from bayestuner.study.stopping import Budget, Rule, costs_budget
from bayestuner.study.store import Record, Role, Store, StudyRow, utc_now
from bayestuner.study.stored_history import KEY, history_to_json
from bayestuner.trial import Config, Failed, Measured, Outcome, Trial

MAX_TRANSIENTS_IN_A_ROW = 3


class Study:
    """A search that survives its process: every ask and tell is stored, and replayed to a new strategy when the study is opened again.

    `Study.create` begins one, `Study.open` continues one. Several processes may have the same study open.

    Attributes
    ----------
    folder : Path
    space : Space
    goal : Goal
        As given, relative bounds included; `resolved_goal` is the one searched with.
    """

    def __init__(self, store: Store, *, read_only: bool = False) -> None:
        self._store = store
        row = store.study()
        self.folder = store.folder
        with _made_of(store.folder, "space"):
            self.space: Space = space_from_json(row.space)
        with _made_of(store.folder, "goal"):
            self.goal: Goal = goal_from_json(row.goal)
        with _made_of(store.folder, "resolved goal"):
            _check_resolved(self.goal, row.resolved_goal)
        self._check_configurations(store, row.result or {})
        self._owner = Owner.this_process(None if read_only else self.folder)
        self._replayed = ReplayedStrategy(store, self.space)
        self._transients_in_a_row = 0
        self._end: str | None = None  # why the strategy has nothing more to ask, if it said so

    def _check_configurations(self, store: Store, result: Mapping[str, Any]) -> None:
        """Every run, and what the result names, is a configuration of the space, a run at its row and with the goal's metrics."""
        with _made_of(self.folder, "result"):
            named = (result.get("recommended"), result.get("nearest"), *result.get("rejected", ()), *result.get("candidates", ()))
            for config in named:
                if config is not None:
                    self.space.row(config)
        for record in store.records():
            with _made_of(self.folder, f"run {record.trial.number + 1}"):
                if self.space.row(record.trial.config) != record.trial.row:
                    raise ValueError(f"row {record.trial.row} is another configuration")
                if record.trial.outcome is not None:
                    self._check_metrics(record.trial, record.trial.outcome)

    # -- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        space: Space,
        goal: Goal,
        strategy_name: str = "bayes",
        seed: int = 0,
        budget: int = 20,
        provenance: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        job: Mapping[str, Any] | None = None,
        history: Sequence[EarlierStudy] = (),
    ) -> Study:
        """Begin a study in the folder `path`, which must be new or empty.

        Parameters
        ----------
        path : path
        space : Space
        goal : Goal
            May hold relative bounds; the trial with the role ``baseline`` then makes them absolute.
        strategy_name : str
            One of `bayestuner.study.registry.strategy_names`.
        seed, budget : int
            At least 0 and 1.
        provenance : dict
            Machine, versions, meter; JSON-able.
        name : str
        job : dict
            The job as text, to show it later; JSON-able.
        history : sequence of EarlierStudy
            Earlier studies to learn from. They are stored: the search goes on with what they were now.

        Raises
        ------
        StoreError
            A study is there already, or the folder can't hold one.
        InvalidSpace, InvalidGoal, UnknownStrategy
            The strategy doesn't exist, or can't search this space for this goal; nothing is made then.
        """
        seed, budget = _storable("seed", seed, 0), _storable("budget", budget, 1)
        check_suits(strategy_name, space, goal, seed=seed, budget=budget)
        row = StudyRow(
            created_utc=utc_now(), name=name, space=space_to_json(space), goal=goal_to_json(goal),
            resolved_goal=None if goal.relative else goal_to_json(goal), strategy=strategy_name, seed=seed,
            planned_budget=budget, budget=budget, job=None if job is None else dict(job), result=None,
        )  # fmt: skip
        facts = dict(provenance or {})
        if history and strategy_name in LEARN_FROM_HISTORY:
            facts[KEY] = [history_to_json(study) for study in usable_studies(space, history)]
        return cls(Store.create(Path(path), row, facts))

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Study:
        """Open the study in the folder `path` (or the study's file itself)."""
        folder = Path(path)
        if folder.name == "study.sqlite" and not folder.is_dir():
            folder = folder.parent
        return cls(Store.open(folder, read_only=read_only), read_only=read_only)

    @staticmethod
    def exists(path: str | Path) -> bool:
        """True where `path` holds a study."""
        return Store.exists(Path(path))

    def close(self) -> None:
        """Close the file; trials of this process that were not told are run again by whoever goes on."""
        self._owner.release()
        self._store.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def info(self) -> StudyRow:
        """The study's own row, as stored now."""
        return self._store.study()

    @property
    def resolved_goal(self) -> Goal | None:
        """The goal with absolute bounds; None until the baseline is measured, where a bound is relative."""
        stored = self._store.study().resolved_goal
        with _made_of(self.folder, "resolved goal"):
            return None if stored is None else goal_from_json(stored)

    @property
    def notices(self) -> list[str]:
        """Sentences for the user, such as one that says that the replay did not match."""
        return self._replayed.notices

    def records(self) -> tuple[Record, ...]:
        """Every trial, in the order of asking, as stored now."""
        return self._store.records()

    def provenance(self) -> tuple[dict[str, Any], ...]:
        """What was recorded at each start."""
        return self._store.provenance()

    @property
    def learnt_from(self) -> tuple[str, ...]:
        """Names of the earlier studies that the search learns from."""
        facts = self.provenance()
        return tuple(str(study["name"]) for study in (facts[0].get(KEY, []) if facts else []))

    def baseline(self) -> Record | None:
        """The trial of the default configuration, where there is one: the latest that didn't fail for the machine's reasons."""
        found = [r for r in self.records() if r.role == "baseline"]
        return next((r for r in reversed(found) if costs_budget(r)), None)

    def stop_reason(self, rules: Sequence[Rule] = (), *, budget: int | None = None) -> str | None:
        """Why no further search run is to be started, or None. Trials that a dead process left are run again all the same.

        Parameters
        ----------
        rules : sequence of Rule
        budget : int, optional
            In place of the study's own.
        """
        if any(isinstance(rule, StoppingRule) for rule in rules):
            self._replayed.sync()
        return self._stop_reason(self.records(), rules, budget)

    def recommend(self) -> Recommendation:
        """What the strategy would deploy after everything told so far."""
        return self.strategy().recommend()

    def strategy(self) -> Strategy:
        """The strategy, brought up to date with the store."""
        self._replayed.sync()
        if self._replayed.strategy is None:
            raise StoreError(f"the study in {self.folder} has no measured baseline yet, which its goal '{self.goal}' refers to")
        return self._replayed.strategy

    # -- asking and telling -------------------------------------------------------------------------------------------

    def ask(self, rules: Sequence[Rule] = ()) -> Trial | None:
        """Return the next trial to run, stored as running; None where a stopping rule holds or the space is used up.

        A trial left by a dead process comes first, again under its own number.
        """
        self._replayed.sync()
        with self._writing():
            self._replayed.sync()
            records = self._store.records()
            orphan = next((r for r in records if r.orphaned and r.role in ("baseline", "search")), None)
            if orphan is not None:
                self._store.set_owner(orphan.trial.number, self._owner)
                return orphan.trial
            if self._stop_reason(records, rules) is not None:
                return None
            if self._replayed.strategy is None:
                raise StoreError(f"the study in {self.folder} has no measured baseline yet, which its goal '{self.goal}' refers to")
            try:
                trial = self._replayed.strategy.ask()
            except SpaceExhausted as end:
                self._end = str(end)
                return None
            self._replayed.seq = self._store.add_ask(trial, adopted=False, role="search", owner=self._owner)
            return trial

    def adopt(self, config: Config, role: Role) -> Trial:
        """Return a trial for a configuration of the caller's choice; one left by a dead process is taken over."""
        row = self.space.row(config)
        self._replayed.sync()
        with self._writing():
            self._replayed.sync()
            records = self._store.records()
            orphan = next((r for r in records if r.orphaned and r.role == role and r.trial.row == row), None)
            if orphan is not None:
                self._store.set_owner(orphan.trial.number, self._owner)
                return orphan.trial
            if self._replayed.strategy is None:
                trial = Trial(len(records), row, self.space.config(row), any(r.trial.row == row for r in records))
            else:
                trial = self._replayed.strategy.adopt(config)
            seq = self._store.add_ask(trial, adopted=True, role=role, owner=self._owner)
            if self._replayed.strategy is not None:
                self._replayed.seq = seq
            return trial

    def tell(self, trial: Trial, outcome: Outcome, details: Mapping[str, Any] | None = None) -> Trial:
        """Store how a trial ended, then let the strategy learn it.

        Raises
        ------
        InvalidTell
            Where a metric of the goal is missing; nothing is stored then.
        StoreError
            Where it can't be stored; the trial is then run again after a resume.
        """
        self._check_metrics(trial, outcome)
        with self._writing():
            self._store.add_tell(trial.number, outcome, details or {})
            self._resolve_goal(trial, outcome)
        transient = isinstance(outcome, Failed) and outcome.kind == "transient"
        self._transients_in_a_row = self._transients_in_a_row + 1 if transient else 0
        self._end = None
        self._replayed.sync()
        return Trial(trial.number, trial.row, trial.config, trial.repeat, outcome)

    def set_budget(self, budget: int) -> None:
        """Set how many runs are made in all."""
        budget = _storable("budget", budget, 1)
        with self._writing():
            self._store.set_budget(budget)

    def set_job(self, job: Mapping[str, Any]) -> None:
        """Store what the job file says now."""
        with self._writing():
            self._store.set_job(dict(job))

    def discard(self) -> None:
        """Close the study and remove its file, and its folder where that holds nothing else."""
        self.close()
        remove_file(self.folder)

    def set_result(self, result: Mapping[str, Any] | None) -> None:
        """Store what the study came to, for `bayestuner show`."""
        with self._writing():
            self._store.set_result(None if result is None else dict(result))

    def add_provenance(self, facts: Mapping[str, Any]) -> None:
        """Store machine, versions and meter of a further start."""
        with self._writing():
            self._store.add_provenance(facts)

    def values_of(self, trial: Trial) -> dict[str, float]:
        """Metrics of a measured trial and its numeric knobs; empty unless measured."""
        if not isinstance(trial.outcome, Measured):
            return {}
        knobs = {k.name: float(trial.config[k.name]) for k in self.space.knobs if k.numeric}
        return {**knobs, **trial.metrics}

    # -- keeping strategy and store in step ---------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._store.transaction():
                yield
        except BaseException:
            self._replayed.drop()  # it may be ahead of what is stored: it is made anew from the store
            raise

    def _stop_reason(self, records: Sequence[Record], rules: Sequence[Rule], budget: int | None = None) -> str | None:
        if self._transients_in_a_row >= MAX_TRANSIENTS_IN_A_ROW:
            return f"{MAX_TRANSIENTS_IN_A_ROW} runs in a row failed for reasons of the machine"
        for rule in (Budget(self._store.study().budget if budget is None else budget), *rules):
            reason = self._reason(rule, records)
            if reason is not None:
                return reason
        rows = {r.trial.row for r in records if costs_budget(r)}
        return "every configuration has been tried" if len(rows) >= len(self.space) else self._end

    def _reason(self, rule: Rule, records: Sequence[Record]) -> str | None:
        if isinstance(rule, WallClock):
            return rule.reason()
        if isinstance(rule, StoppingRule):
            return None if self._replayed.strategy is None else rule.reason(self._replayed.strategy)
        return rule.reason(records)

    def _check_metrics(self, trial: Trial, outcome: Outcome) -> None:
        if not isinstance(outcome, Measured):
            return
        have = {*outcome.metrics, *(k.name for k in self.space.knobs if k.numeric)}
        missing = [m for m in self.goal.metrics if m not in have]
        if missing:
            told = ", ".join(outcome.metrics) or "nothing"
            raise InvalidTell(f"run {trial.number + 1} measured {told}, but the goal '{self.goal}' also needs {', '.join(missing)}")

    def _resolve_goal(self, trial: Trial, outcome: Outcome) -> None:
        if self._store.study().resolved_goal is None and isinstance(outcome, Measured):
            record = next(r for r in self._store.records() if r.trial.number == trial.number)
            if record.role == "baseline":
                resolved = self.goal.resolve(self.values_of(record.trial))
                with suppress(InvalidGoal):  # the bounds turn out to contradict each other: there is no goal to search for
                    check_goal(resolved, self.space)
                    self._store.set_resolved_goal(goal_to_json(resolved))


@contextmanager
def _made_of(folder: Path, what: str) -> Iterator[None]:
    """Say which part of a study can't be what BayesTuner wrote."""
    try:
        yield
    except (BayesTunerError, ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        raise StoreError(f"{folder} can't be used: its {what}: {error}; put back a copy of it or name another study") from error


def _check_resolved(goal: Goal, stored: Mapping[str, Any] | None) -> None:
    """Raise `ValueError` unless the goal stored as resolved is the study's own, with limits in place of its relative ones."""
    if stored is None:
        return
    resolved = goal_from_json(dict(stored))
    own, found = ((g.direction, g.objective, [(b.metric, b.sense) for b in g.bounds]) for g in (goal, resolved))
    if own != found or resolved.relative:
        raise ValueError(f"{resolved} is not what {goal} comes to")


def _storable(what: str, number: int, least: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        whole = least - 1
    if not least <= whole < 2**63:
        raise StoreError(f"a study's {what} is a whole number from {least} to 2**63 - 1, not {number!r}")
    return whole
