"""A study: a strategy, the store that keeps its trials, a budget, and the rules that end it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bayestuner.errors import InvalidGoal, InvalidTell, SpaceExhausted, StoreError
from bayestuner.goal import Goal
from bayestuner.search.engine.stopping import StoppingRule, WallClock
from bayestuner.search.strategy import Recommendation, Strategy, check_goal
from bayestuner.space import Space
from bayestuner.study.codec import goal_from_json, goal_to_json, space_from_json, space_to_json
from bayestuner.study.owner import Owner
from bayestuner.study.registry import check_strategy, make_strategy
from bayestuner.study.stopping import Budget, Rule, costs_budget
from bayestuner.study.store import Record, Role, Store, StudyRow, utc_now
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
    notices : list of str
        Sentences for the user, such as one that says that the replay did not match.
    """

    def __init__(self, store: Store, *, read_only: bool = False) -> None:
        self._store = store
        self._read_only = read_only
        row = store.study()
        self.folder = store.folder
        self.space: Space = space_from_json(row.space)
        self.goal: Goal = goal_from_json(row.goal)
        self.notices: list[str] = []
        self._owner = Owner.this_process()
        self._strategy: Strategy | None = None
        self._replayed_seq = 0
        self._replays_exactly = True
        self._transients_in_a_row = 0

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
        provenance : dict
            Machine, versions, meter; JSON-able.
        name : str
        job : dict
            The job as text, to show it later; JSON-able.
        """
        check_strategy(strategy_name)
        row = StudyRow(
            created_utc=utc_now(), name=name, space=space_to_json(space), goal=goal_to_json(goal),
            resolved_goal=None if goal.relative else goal_to_json(goal), strategy=strategy_name, seed=int(seed),
            planned_budget=int(budget), budget=int(budget), job=None if job is None else dict(job), result=None,
        )  # fmt: skip
        return cls(Store.create(Path(path), row, provenance or {}))

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
        return None if stored is None else goal_from_json(stored)

    def records(self) -> tuple[Record, ...]:
        """Every trial, in the order of asking, as stored now."""
        return self._store.records()

    def provenance(self) -> tuple[dict[str, Any], ...]:
        """What was recorded at each start."""
        return self._store.provenance()

    def baseline(self) -> Record | None:
        """The trial of the default configuration, where there is one: the latest that didn't fail for the machine's reasons."""
        found = [r for r in self.records() if r.role == "baseline"]
        return next((r for r in reversed(found) if costs_budget(r)), None)

    def stop_reason(self, rules: Sequence[Rule] = ()) -> str | None:
        """Why no further search run is to be started, or None. Trials that a dead process left are run again all the same."""
        if any(isinstance(rule, StoppingRule) for rule in rules):
            self._sync()
        return self._stop_reason(self.records(), rules)

    def recommend(self) -> Recommendation:
        """What the strategy would deploy after everything told so far."""
        return self.strategy().recommend()

    def strategy(self) -> Strategy:
        """The strategy, brought up to date with the store."""
        self._sync()
        if self._strategy is None:
            raise StoreError(f"the study in {self.folder} has no measured baseline yet, which its goal '{self.goal}' refers to")
        return self._strategy

    # -- asking and telling -------------------------------------------------------------------------------------------

    def ask(self, rules: Sequence[Rule] = ()) -> Trial | None:
        """Return the next trial to run, stored as running; None where a stopping rule holds or the space is used up.

        A trial left by a dead process comes first, again under its own number.
        """
        self._sync()
        with self._writing():
            self._sync()
            records = self._store.records()
            orphan = next((r for r in records if r.orphaned and r.role in ("baseline", "search")), None)
            if orphan is not None:
                self._store.set_owner(orphan.trial.number, self._owner)
                return orphan.trial
            if self._stop_reason(records, rules) is not None:
                return None
            if self._strategy is None:
                raise StoreError(f"the study in {self.folder} has no measured baseline yet, which its goal '{self.goal}' refers to")
            try:
                trial = self._strategy.ask()
            except SpaceExhausted:
                return None
            self._replayed_seq = self._store.add_ask(trial, adopted=False, role="search", owner=self._owner)
            return trial

    def adopt(self, config: Config, role: Role) -> Trial:
        """Return a trial for a configuration of the caller's choice; one left by a dead process is taken over."""
        row = self.space.row(config)
        self._sync()
        with self._writing():
            self._sync()
            records = self._store.records()
            orphan = next((r for r in records if r.orphaned and r.role == role and r.trial.row == row), None)
            if orphan is not None:
                self._store.set_owner(orphan.trial.number, self._owner)
                return orphan.trial
            if self._strategy is None:
                trial = Trial(len(records), row, self.space.config(row), any(r.trial.row == row for r in records))
            else:
                trial = self._strategy.adopt(config)
            seq = self._store.add_ask(trial, adopted=True, role=role, owner=self._owner)
            if self._strategy is not None:
                self._replayed_seq = seq
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
        self._sync()
        return Trial(trial.number, trial.row, trial.config, trial.repeat, outcome)

    def set_budget(self, budget: int) -> None:
        """Set how many runs are made in all."""
        with self._writing():
            self._store.set_budget(budget)

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
            self._drop_strategy()  # it may be ahead of what is stored: it is made anew from the store
            raise

    def _drop_strategy(self) -> None:
        self._strategy = None
        self._replayed_seq = 0

    def _stop_reason(self, records: Sequence[Record], rules: Sequence[Rule]) -> str | None:
        if self._transients_in_a_row >= MAX_TRANSIENTS_IN_A_ROW:
            return f"{MAX_TRANSIENTS_IN_A_ROW} runs in a row failed for reasons of the machine"
        for rule in (Budget(self._store.study().budget), *rules):
            reason = self._reason(rule, records)
            if reason is not None:
                return reason
        rows = {r.trial.row for r in records if costs_budget(r)}
        return "every configuration has been tried" if len(rows) >= len(self.space) else None

    def _reason(self, rule: Rule, records: Sequence[Record]) -> str | None:
        if isinstance(rule, WallClock):
            return rule.reason()
        if isinstance(rule, StoppingRule):
            return None if self._strategy is None else rule.reason(self._strategy)
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

    def _sync(self) -> None:
        """Bring the strategy up to date: let it ask and be told what the store holds beyond `_replayed_seq`, in the stored order."""
        if self._strategy is None:
            row = self._store.study()
            if row.resolved_goal is None:
                return
            self._replayed_seq = 0
            self._strategy = self._new_strategy(row)
        records = self._store.records(after_seq=self._replayed_seq)
        try:
            for seq, record, telling in _events(records, self._replayed_seq):
                self._replay(record, telling)
                self._replayed_seq = seq
        except _Diverged as difference:
            self._replays_exactly = False
            self._notice(
                f"replaying the study gave another configuration for run {difference.number + 1} than it did then "
                "(another version or machine?); the stored ones are kept and the search goes on from them"
            )
            self._drop_strategy()
            self._sync()
        except BaseException:
            self._drop_strategy()
            raise

    def _new_strategy(self, row: StudyRow) -> Strategy:
        assert row.resolved_goal is not None  # noqa: S101 - held by the caller
        goal = goal_from_json(row.resolved_goal)
        return make_strategy(row.strategy, self.space, goal, seed=row.seed, budget=row.planned_budget)

    def _replay(self, record: Record, telling: bool) -> None:
        assert self._strategy is not None  # noqa: S101 - held by the caller
        stored = record.trial
        if telling:
            if stored.outcome is not None:
                outstanding = next(t for t in self._strategy.outstanding if t.number == stored.number)
                self._strategy.tell_outcome(outstanding, stored.outcome)
            return
        if record.adopted or not self._replays_exactly:
            self._strategy.adopt(stored.config)
            return
        try:
            replayed = self._strategy.ask()
        except SpaceExhausted:
            raise _Diverged(stored.number) from None
        if replayed.row != stored.row or replayed.number != stored.number:
            raise _Diverged(stored.number)

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)


class _Diverged(Exception):
    """A replayed strategy asked for another configuration than the stored one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _events(records: Sequence[Record], after: int) -> list[tuple[int, Record, bool]]:
    """(event number, record, whether it is a tell) of every event after number `after`, in order."""
    asks = [(r.ask_seq, r, False) for r in records if r.ask_seq > after]
    tells = [(r.tell_seq, r, True) for r in records if r.tell_seq is not None and r.tell_seq > after]
    return sorted([*asks, *tells], key=lambda event: event[0])
