"""The store: one SQLite file per study folder; every ask and tell is an event with a number, on disk before anything follows it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bayestuner.codec import Json, dump, dump_or_none, outcome_from_json, outcome_to_json, plain
from bayestuner.errors import InvalidTell, StoreError
from bayestuner.foreign_text import harmless
from bayestuner.study import forms
from bayestuner.study.database_file import FILE_NAME, Connection, clear_errors, connect, connect_read_only, make_private_file
from bayestuner.study.owner import Owner
from bayestuner.trial import Config, Outcome, Trial

SCHEMA_VERSION = 2
_APPLICATION_ID = 0x42544E52  # "BTNR": tells our file from any other SQLite file
_LATEST_EVENT = 2**53  # far beyond what is ever reached, and far from where SQLite's whole numbers end

Role = Literal["baseline", "search", "reference", "repeat"]
"""Why a trial is run: as the default configuration at the start; by the search; as the default again, to see drift; as a final launch."""

_SCHEMA = """
CREATE TABLE studies (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    created_utc TEXT NOT NULL, name TEXT NOT NULL,
    space TEXT NOT NULL, goal TEXT NOT NULL, resolved_goal TEXT,
    strategy TEXT NOT NULL, seed INTEGER NOT NULL, planned_budget INTEGER NOT NULL, budget INTEGER NOT NULL,
    job TEXT, result TEXT
) STRICT;
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    ask_seq INTEGER NOT NULL UNIQUE,
    row INTEGER NOT NULL, config TEXT NOT NULL, is_repeat INTEGER NOT NULL,
    adopted INTEGER NOT NULL, role TEXT NOT NULL CHECK (role IN ('baseline', 'search', 'reference', 'repeat')),
    owner TEXT NOT NULL, asked_utc TEXT NOT NULL
) STRICT;
CREATE TABLE outcomes (
    number INTEGER PRIMARY KEY REFERENCES trials (number),
    tell_seq INTEGER NOT NULL UNIQUE,
    outcome TEXT NOT NULL, details TEXT NOT NULL, told_utc TEXT NOT NULL
) STRICT;
CREATE TABLE provenance (
    id INTEGER PRIMARY KEY, recorded_utc TEXT NOT NULL, facts TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What a study is, as stored.

    `planned_budget` is the budget that the study was begun with: the strategy is made with it on every resume, so that it asks the same,
    even where `budget` has been changed since.
    """

    created_utc: str
    name: str
    space: Json
    goal: Json
    resolved_goal: Json | None
    strategy: str
    seed: int
    planned_budget: int
    budget: int
    job: Json | None
    result: Json | None


@dataclass(frozen=True, slots=True)
class Record:
    """One trial as stored: the `Trial`, how it came about, and what its run reported besides its metrics."""

    trial: Trial
    ask_seq: int
    adopted: bool
    role: Role
    owner: Owner
    asked_utc: str
    tell_seq: int | None
    told_utc: str | None
    details: Json

    @property
    def running(self) -> bool:
        """True for a trial without an outcome whose owner lives."""
        return self.tell_seq is None and self.owner.is_alive()

    @property
    def orphaned(self) -> bool:
        """True for a trial without an outcome whose owner is dead: it is to be run again."""
        return self.tell_seq is None and not self.owner.is_alive()


class Store:
    """A study's file, made by `Store.create` or `Store.open`. A write that can't be done raises `StoreError` and has changed nothing."""

    def __init__(self, folder: Path, connection: Connection) -> None:
        self.folder = folder
        self._db = connection

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """True where `folder` holds a study that was begun."""
        file = folder / FILE_NAME
        with clear_errors(folder):  # a folder that may not be entered is no folder without a study
            if not file.is_file() or file.stat().st_size == 0:
                return False
        store = cls.open(folder, read_only=True, _allow_unbegun=True)
        try:
            return store._begun()
        finally:
            store.close()

    @classmethod
    def create(cls, folder: Path, row: StudyRow, facts: Mapping[str, Any]) -> Store:
        """Make the folder (0700) and the file (0600) and begin the study in one transaction.

        Raises
        ------
        StoreError
            Where a study is there already, the folder holds other things, or can't be written.
        """
        with clear_errors(folder):
            make_private_file(folder)
            store = cls(folder, connect(folder))
        try:
            with clear_errors(folder):
                store._set_up()
                with store.transaction():
                    if store._begun():
                        raise StoreError(f"{folder} already holds a study; open it to go on, or name another folder")
                    store._begin(row, facts)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, _allow_unbegun: bool = False) -> Store:
        """Open the study in `folder`.

        Raises
        ------
        StoreError
            Where there is none, the file is damaged or of a newer version.
        """
        with clear_errors(folder):
            there = (folder / FILE_NAME).is_file()
        if not there:
            what = "is not a folder" if folder.is_file() else "is a folder, but holds no study" if folder.is_dir() else "does not exist"
            raise StoreError(f"{folder} {what}; a study is the folder that 'bayestuner tune JOB.toml --study PATH' makes")
        with clear_errors(folder):
            store = cls(folder, connect_read_only(folder) if read_only else connect(folder))
        try:
            with clear_errors(folder, store._db):
                store._check(_allow_unbegun)
                if not read_only:
                    store._set_up()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def _set_up(self) -> None:
        mode = self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"the file system of {self.folder} can't hold a study (no write-ahead log); name a folder on a local disk")
        self._db.execute("PRAGMA synchronous=FULL")
        if self._begun() and self._version() < SCHEMA_VERSION:
            self._migrate()
        self._db.execute("PRAGMA foreign_keys=ON")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """From version 1, whose trials know no role ``reference``: the table is made anew, since SQLite can't change a CHECK."""
        statement = next(s for s in _SCHEMA.split(";\n") if "CREATE TABLE trials" in s)
        with self.transaction():
            if self._version() < SCHEMA_VERSION:
                self._db.execute(statement.replace("TABLE trials", "TABLE new_trials"))
                self._db.execute("INSERT INTO new_trials SELECT * FROM trials")
                self._db.execute("DROP TABLE trials")
                self._db.execute("ALTER TABLE new_trials RENAME TO trials")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check(self, allow_unbegun: bool) -> None:
        version = self._version()
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        if application != _APPLICATION_ID:
            if allow_unbegun and application == 0 and version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchall():
                return
            raise StoreError(f"{self.folder / FILE_NAME} is no study of BayesTuner; name another folder")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.folder} was written by a newer BayesTuner (store version {version}, this one knows {SCHEMA_VERSION}); "
                "update BayesTuner to open it"
            )
        self._check_layout()
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(str(verdict).split("\n")[-1].split()))

    def _check_layout(self) -> None:
        """Only our tables, with our columns: a view in a table's place could compute without end, a trigger act on what is written."""
        with contextlib.closing(sqlite3.connect(":memory:")) as ours:
            ours.executescript(_SCHEMA)
            expected, found = _layout(ours), _layout(self._db)
        if found != expected:
            names = sorted({name for name in {*found, *expected} if found.get(name) != expected.get(name)})
            raise forms.WrongForm(f"its tables are not those that BayesTuner makes ({', '.join(map(harmless, names))})")

    def _begun(self) -> bool:
        return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchall())

    def _begin(self, row: StudyRow, facts: Mapping[str, Any]) -> None:
        for statement in filter(str.strip, _SCHEMA.split(";\n")):
            self._db.execute(statement)
        self._db.execute(
            "INSERT INTO studies VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.created_utc, row.name, dump(row.space), dump(row.goal), dump_or_none(row.resolved_goal), row.strategy, row.seed,
                row.planned_budget, row.budget, dump_or_none(row.job), dump_or_none(row.result),
            ),
        )  # fmt: skip
        self._db.execute("INSERT INTO provenance (recorded_utc, facts) VALUES (?, ?)", (utc_now(), dump(dict(facts))))
        self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # -- transactions -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock: what is read inside stays true until the end; an exception undoes everything."""
        with clear_errors(self.folder, self._db):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # -- reading ------------------------------------------------------------------------------------------------------

    def study(self) -> StudyRow:
        """The study's own row."""
        with clear_errors(self.folder, self._db):
            row = self._db.execute(
                "SELECT created_utc, name, space, goal, resolved_goal, strategy, seed, planned_budget, budget, job, result FROM studies"
            ).fetchone()
            if row is None:
                raise forms.WrongForm("it holds no study's row")
            created, name, space, goal, resolved, strategy, seed, planned, budget, job, result = row
            for check, value, what in (
                (forms.time, created, "the time it was made"), (forms.text, name, "its name"), (forms.text, strategy, "its strategy"),
                (forms.whole(0), seed, "its seed"), (forms.whole(1), planned, "its planned budget"), (forms.whole(1), budget, "its budget"),
            ):  # fmt: skip
                check(value, what)
            return StudyRow(
                created, name, forms.load(space, forms.SPACE, "space"), forms.load(goal, forms.GOAL, "goal"),
                forms.load_or_none(resolved, forms.GOAL, "resolved goal"), strategy, seed, planned, budget,
                forms.load_or_none(job, forms.JOB, "job"), forms.load_or_none(result, forms.RESULT, "result"),
            )  # fmt: skip

    def records(self, *, after_seq: int = 0) -> tuple[Record, ...]:
        """Every trial that was asked or told after event `after_seq`, in the order of asking."""
        with clear_errors(self.folder, self._db):
            rows = self._db.execute(
                "SELECT t.number, t.row, t.config, t.is_repeat, t.ask_seq, t.adopted, t.role, t.owner, t.asked_utc, "
                "o.outcome, o.tell_seq, o.told_utc, o.details FROM trials t LEFT JOIN outcomes o USING (number) "
                "WHERE t.ask_seq > ? OR o.tell_seq > ? ORDER BY t.number",
                (after_seq, after_seq),
            ).fetchall()
            if after_seq == 0:
                self._check_numbers([row[0] for row in rows])
            return tuple(_record(self.folder, *row) for row in rows)

    def _check_numbers(self, numbers: list[int]) -> None:
        """Trials are numbered without a gap, and every outcome is one of theirs."""
        if numbers != list(range(len(numbers))):
            raise forms.WrongForm("its runs are not numbered without a gap")
        (strays,) = self._db.execute("SELECT count(*) FROM outcomes WHERE number NOT IN (SELECT number FROM trials)").fetchone()
        if strays:
            raise forms.WrongForm(f"{strays} of its outcomes are of no run")

    def provenance(self) -> tuple[Json, ...]:
        """What was recorded about machine, versions and meter, one entry per start of `tune`."""
        with clear_errors(self.folder, self._db):
            rows = self._db.execute("SELECT recorded_utc, facts FROM provenance ORDER BY id").fetchall()
            for when, _ in rows:
                forms.time(when, "the time of a start")
            return tuple({"recorded_utc": when, **forms.load(facts, forms.FACTS, "what was recorded at a start")} for when, facts in rows)

    # -- writing (inside `transaction`) -------------------------------------------------------------------------------

    def add_ask(self, trial: Trial, *, adopted: bool, role: Role, owner: Owner) -> int:
        """Store that a trial was asked; return the event's number."""
        seq = self._next_seq()
        self._db.execute(
            "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trial.number, seq, trial.row, dump({n: plain(v) for n, v in trial.config.items()}), int(trial.repeat), int(adopted), role,
                dump(owner.as_dict()), utc_now(),
            ),
        )  # fmt: skip
        return seq

    def add_tell(self, number: int, outcome: Outcome, details: Mapping[str, Any]) -> int:
        """Store how a trial ended; return the event's number."""
        if self._db.execute("SELECT 1 FROM outcomes WHERE number = ?", (number,)).fetchone():
            raise StoreError(f"run {number + 1} already has an outcome in {self.folder}; each trial is told once")
        told, facts = dump(outcome_to_json(outcome)), dump(dict(details))
        forms.load(facts, forms.DETAILS, f"run {number + 1}'s details")  # what could not be read again is not stored
        seq = self._next_seq()
        self._db.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)", (number, seq, told, facts, utc_now()))
        return seq

    def set_owner(self, number: int, owner: Owner) -> None:
        """Store that `owner` runs this trial now."""
        self._db.execute("UPDATE trials SET owner = ? WHERE number = ?", (dump(owner.as_dict()), number))

    def set_resolved_goal(self, goal: Json) -> None:
        """Store the goal with its bounds absolute."""
        self._db.execute("UPDATE studies SET resolved_goal = ?", (dump(goal),))

    def set_budget(self, budget: int) -> None:
        """Store another number of runs to make in all."""
        self._db.execute("UPDATE studies SET budget = ?", (budget,))

    def set_job(self, job: Json) -> None:
        """Store what the job file says now."""
        self._db.execute("UPDATE studies SET job = ?", (dump(job),))

    def set_result(self, result: Json | None) -> None:
        """Store what the study came to."""
        self._db.execute("UPDATE studies SET result = ?", (dump_or_none(result),))

    def add_provenance(self, facts: Mapping[str, Any]) -> None:
        """Store facts about machine, versions and meter."""
        self._db.execute("INSERT INTO provenance (recorded_utc, facts) VALUES (?, ?)", (utc_now(), dump(dict(facts))))

    def _next_seq(self) -> int:
        query = "SELECT max((SELECT coalesce(max(ask_seq), 0) FROM trials), (SELECT coalesce(max(tell_seq), 0) FROM outcomes)) + 1"
        return int(self._db.execute(query).fetchone()[0])


def utc_now() -> str:
    """The time of day, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _layout(db: sqlite3.Connection) -> dict[str, Any]:
    """Each object of a database: its kind, and of a table whether it is a plain strict one, and its columns."""
    found: dict[str, Any] = {}
    for kind, name, statement in db.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
        if kind == "index" and statement is None:
            continue  # SQLite's own, of a UNIQUE
        columns = [(*row[1:4], *row[5:7]) for row in db.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall()]
        listed = db.execute("SELECT type, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?", (name,)).fetchall()
        found[str(name)] = (kind, listed, columns)
    return found


def _record(
    folder: Path, number: int, row: int, config: str, is_repeat: int, ask_seq: int, adopted: int, role: Role, owner: str, asked_utc: str,
    outcome: str | None, tell_seq: int | None, told_utc: str | None, details: str | None,
) -> Record:  # fmt: skip
    run = f"run {number + 1}"
    forms.whole(0)(row, f"{run}'s row")
    forms.whole(1, _LATEST_EVENT)(ask_seq, f"the order in which {run} was asked")
    forms.one_of("baseline", "search", "reference", "repeat")(role, f"{run}'s role")
    forms.time(asked_utc, f"the time {run} was asked")
    values: Config = forms.load(config, forms.CONFIG, f"{run}'s configuration")
    told = None
    if outcome is not None:
        forms.time(told_utc, f"the time {run} was told")
        forms.whole(ask_seq + 1, _LATEST_EVENT)(tell_seq, f"the order in which {run} was told")
        try:
            told = outcome_from_json(forms.load(outcome, forms.outcome, f"{run}'s outcome"))
        except InvalidTell as error:
            raise forms.WrongForm(f"{run}'s outcome: {error}") from None
    trial = Trial(number, row, values, bool(is_repeat), told)
    by = Owner.from_json(forms.load(owner, forms.OWNER, f"{run}'s owner"), folder)
    facts = forms.load(details, forms.DETAILS, f"{run}'s details") if details else {}
    return Record(trial, ask_seq, bool(adopted), role, by, asked_utc, tell_seq, told_utc, facts)
