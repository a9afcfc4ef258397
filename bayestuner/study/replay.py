"""A study's strategy, kept in step with the store: made from it by replaying every ask and tell, and told what other processes store."""

from __future__ import annotations

from collections.abc import Sequence

from bayestuner.codec import goal_from_json
from bayestuner.errors import BayesTunerError, SpaceExhausted, StoreError
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space
from bayestuner.study.registry import make_strategy
from bayestuner.study.store import Record, Store
from bayestuner.study.stored_history import stored_history


class ReplayedStrategy:
    """The strategy of one open study.

    Parameters
    ----------
    store : Store
    space : Space

    Attributes
    ----------
    strategy : Strategy or None
        None until `sync` has made it, which takes a goal with absolute bounds.
    seq : int
        Number of the latest event in the store that the strategy knows of; whoever stores one that it knows already sets it.
    notices : list of str
        What a user should know: a replay that gave another configuration than the stored one.
    """

    def __init__(self, store: Store, space: Space) -> None:
        self.strategy: Strategy | None = None
        self.seq = 0
        self.notices: list[str] = []
        self._store = store
        self._space = space
        self._exact = True  # the strategy asks as it did when the study was made

    def drop(self) -> None:
        """Forget the strategy, which may be ahead of the store; the next `sync` makes it anew."""
        self.strategy = None
        self.seq = 0

    def sync(self) -> None:
        """Let the strategy ask and be told what the store holds beyond `seq`, in the stored order."""
        if self.strategy is None:
            row = self._store.study()
            if row.resolved_goal is None:
                return
            self.seq = 0
            goal = goal_from_json(row.resolved_goal)
            try:
                history = stored_history(self._store.provenance())
                self.strategy = make_strategy(row.strategy, self._space, goal, seed=row.seed, budget=row.planned_budget, history=history)
            except (BayesTunerError, ValueError, LookupError) as error:
                raise StoreError(f"{self._store.folder} can't be replayed: {error}") from error
        records = self._store.records(after_seq=self.seq)
        try:
            for seq, record, telling in _events(records, self.seq):
                self._replay(self.strategy, record, telling)
                self.seq = seq
        except _Diverged as difference:
            self._exact = False
            self._notice(
                f"replaying the study gave another configuration for run {difference.number + 1} than it did then "
                "(another version or machine?); the stored ones are kept and the search goes on from them"
            )
            self.drop()
            self.sync()
        except (BayesTunerError, StopIteration) as error:
            self.drop()
            why = "an outcome is told before its run was asked" if isinstance(error, StopIteration) else error
            raise StoreError(f"{self._store.folder} can't be replayed: {why}") from error
        except BaseException:
            self.drop()
            raise

    def _replay(self, strategy: Strategy, record: Record, telling: bool) -> None:
        stored = record.trial
        if telling:
            if stored.outcome is not None:
                outstanding = next(t for t in strategy.outstanding if t.number == stored.number)
                strategy.tell_outcome(outstanding, stored.outcome)
            return
        if record.adopted or not self._exact:
            strategy.adopt(stored.config)
            return
        try:
            replayed = strategy.ask()
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
