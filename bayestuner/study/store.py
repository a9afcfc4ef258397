"""The store: one SQLite file per study folder; every ask and tell is an event with a number, on disk before anything follows it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bayestuner.errors import StoreError
from bayestuner.study.codec import Json, outcome_from_json, outcome_to_json, plain
from bayestuner.study.owner import Owner
from bayestuner.trial import Config, Outcome, Trial

FILE_NAME = "study.sqlite"
SCHEMA_VERSION = 2
_APPLICATION_ID = 0x42544E52  # "BTNR": tells our file from any other SQLite file
_BUSY_TIMEOUT_S = 60.0

Role = Literal["baseline", "search", "reference", "repeat"]
"""The default configuration first; the search's choices; the default again, to see drift; the final launches."""

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
    """What a study is, as stored. `planned_budget` is the first one given: the strategy is made with it, also on a resume."""

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
    """One trial as stored: the `Trial`, how it came about, and what its run reported besides metrics."""

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
    """A study's file. `Store.create` and `Store.open` make one; writes raise `StoreError` and then have changed nothing."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """True where `folder` holds a study that was begun."""
        file = folder / FILE_NAME
        if not file.is_file() or file.stat().st_size == 0:
            return False
        store = cls.open(folder, _allow_unbegun=True)
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
        with _clear(folder):
            _prepare(folder)
            store = cls(folder, _connect(folder))
        try:
            with _clear(folder):
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
        if not (folder / FILE_NAME).is_file():
            what = "is not a folder" if folder.is_file() else "is a folder, but holds no study" if folder.is_dir() else "does not exist"
            raise StoreError(f"{folder} {what}; a study is the folder that 'bayestuner tune JOB.toml --study PATH' makes")
        with _clear(folder):
            store = cls(folder, _connect_read_only(folder) if read_only else _connect(folder))
        try:
            with _clear(folder):
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
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(str(verdict).split("\n")[-1].split()))

    def _begun(self) -> bool:
        return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchall())

    def _begin(self, row: StudyRow, facts: Mapping[str, Any]) -> None:
        for statement in filter(str.strip, _SCHEMA.split(";\n")):
            self._db.execute(statement)
        self._db.execute(
            "INSERT INTO studies VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.created_utc, row.name, _dump(row.space), _dump(row.goal), _dump_or_none(row.resolved_goal), row.strategy, row.seed,
                row.planned_budget, row.budget, _dump_or_none(row.job), _dump_or_none(row.result),
            ),
        )  # fmt: skip
        self._db.execute("INSERT INTO provenance (recorded_utc, facts) VALUES (?, ?)", (utc_now(), _dump(dict(facts))))
        self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # -- transactions -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock: what is read inside stays true until the end; an exception undoes everything."""
        with _clear(self.folder):
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
        with _clear(self.folder):
            row = self._db.execute(
                "SELECT created_utc, name, space, goal, resolved_goal, strategy, seed, planned_budget, budget, job, result FROM studies"
            ).fetchone()
            created, name, space, goal, resolved, strategy, seed, planned, budget, job, result = row
            return StudyRow(
                created, name, json.loads(space), json.loads(goal), _load_or_none(resolved), strategy, seed, planned, budget,
                _load_or_none(job), _load_or_none(result),
            )  # fmt: skip

    def records(self, *, after_seq: int = 0) -> tuple[Record, ...]:
        """Every trial that was asked or told after event `after_seq`, in the order of asking."""
        with _clear(self.folder):
            rows = self._db.execute(
                "SELECT t.number, t.row, t.config, t.is_repeat, t.ask_seq, t.adopted, t.role, t.owner, t.asked_utc, "
                "o.outcome, o.tell_seq, o.told_utc, o.details FROM trials t LEFT JOIN outcomes o USING (number) "
                "WHERE t.ask_seq > ? OR o.tell_seq > ? ORDER BY t.number",
                (after_seq, after_seq),
            ).fetchall()
            return tuple(_record(*row) for row in rows)

    def provenance(self) -> tuple[Json, ...]:
        """What was recorded about machine, versions and meter, one entry per start of `tune`."""
        with _clear(self.folder):
            rows = self._db.execute("SELECT recorded_utc, facts FROM provenance ORDER BY id").fetchall()
            return tuple({"recorded_utc": when, **json.loads(facts)} for when, facts in rows)

    # -- writing (inside `transaction`) -------------------------------------------------------------------------------

    def add_ask(self, trial: Trial, *, adopted: bool, role: Role, owner: Owner) -> int:
        """Store that a trial was asked; return the event's number."""
        seq = self._next_seq()
        self._db.execute(
            "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trial.number, seq, trial.row, _dump({n: plain(v) for n, v in trial.config.items()}), int(trial.repeat), int(adopted), role,
                _dump(owner.as_dict()), utc_now(),
            ),
        )  # fmt: skip
        return seq

    def add_tell(self, number: int, outcome: Outcome, details: Mapping[str, Any]) -> int:
        """Store how a trial ended; return the event's number."""
        if self._db.execute("SELECT 1 FROM outcomes WHERE number = ?", (number,)).fetchone():
            raise StoreError(f"trial {number} already has an outcome in {self.folder}; each trial is told once")
        seq = self._next_seq()
        self._db.execute(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)", (number, seq, _dump(outcome_to_json(outcome)), _dump(dict(details)), utc_now())
        )
        return seq

    def set_owner(self, number: int, owner: Owner) -> None:
        """Store that `owner` runs this trial now."""
        self._db.execute("UPDATE trials SET owner = ? WHERE number = ?", (_dump(owner.as_dict()), number))

    def set_resolved_goal(self, goal: Json) -> None:
        """Store the goal with its bounds absolute."""
        self._db.execute("UPDATE studies SET resolved_goal = ?", (_dump(goal),))

    def set_budget(self, budget: int) -> None:
        """Store another number of runs to make in all."""
        self._db.execute("UPDATE studies SET budget = ?", (budget,))

    def set_result(self, result: Json | None) -> None:
        """Store what the study came to."""
        self._db.execute("UPDATE studies SET result = ?", (_dump_or_none(result),))

    def add_provenance(self, facts: Mapping[str, Any]) -> None:
        """Store facts about machine, versions and meter."""
        self._db.execute("INSERT INTO provenance (recorded_utc, facts) VALUES (?, ?)", (utc_now(), _dump(dict(facts))))

    def _next_seq(self) -> int:
        query = "SELECT max((SELECT coalesce(max(ask_seq), 0) FROM trials), (SELECT coalesce(max(tell_seq), 0) FROM outcomes)) + 1"
        return int(self._db.execute(query).fetchone()[0])


def utc_now() -> str:
    """The time of day, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _record(
    number: int, row: int, config: str, is_repeat: int, ask_seq: int, adopted: int, role: Role, owner: str, asked_utc: str,
    outcome: str | None, tell_seq: int | None, told_utc: str | None, details: str | None,
) -> Record:  # fmt: skip
    values: Config = json.loads(config)
    told = None if outcome is None else outcome_from_json(json.loads(outcome))
    trial = Trial(number, row, values, bool(is_repeat), told)
    by = Owner.from_json(json.loads(owner))
    return Record(trial, ask_seq, bool(adopted), role, by, asked_utc, tell_seq, told_utc, json.loads(details) if details else {})


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_default)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), default=_default)


def _finite(value: Any) -> Any:
    """NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _default(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def _dump_or_none(value: Any) -> str | None:
    return None if value is None else _dump(value)


def _load_or_none(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _prepare(folder: Path) -> None:
    """Make the private folder and file, or see that what is there may be used."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, not a folder; name a folder for the study")
    if folder.is_dir() and not (folder / FILE_NAME).exists() and any(folder.iterdir()):
        raise StoreError(f"{folder} holds other things and no study; name a new or empty folder with --study")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / FILE_NAME, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _connect_read_only(folder: Path) -> sqlite3.Connection:
    """Open for reading, also in a folder that can't be written (a log that is still there then has to be left alone)."""
    file = folder / FILE_NAME
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    immutable = "" if writable or (folder / f"{FILE_NAME}-wal").exists() else "&immutable=1"
    uri = f"{file.resolve().as_uri()}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


@contextmanager
def _clear(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into one clear sentence."""
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
        raise StoreError(_sentence(folder, error)) from error


def _sentence(folder: Path, error: Exception) -> str:
    file = folder / FILE_NAME
    text = str(error)
    lower = text.lower()
    if "full" in lower or "no space" in lower:
        return f"no space is left for {file}; free some and start again: every outcome stored before is kept"
    if "readonly" in lower or "read-only" in lower or "unable to open" in lower or isinstance(error, PermissionError):
        return f"{file} can't be written ({text}); make the folder writable or name another one with --study"
    if "locked" in lower or "busy" in lower:
        return f"{file} has been locked by another process for {_BUSY_TIMEOUT_S:g} s; end that process or wait, then start again"
    if isinstance(error, OSError):
        return f"{file} can't be used: {error.strerror or text}; name another folder with --study"
    return f"{file} is damaged ({text}); put back a copy of it or name a new folder with --study"
