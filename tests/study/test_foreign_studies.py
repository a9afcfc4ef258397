"""Studies that somebody else hands over: each variant is refused in one sentence or shown, by every command; nothing of it is obeyed."""

import base64
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.cli.main import main
from bayestuner.errors import StoreError
from bayestuner.study import database_file, forms
from bayestuner.study.history import History
from bayestuner.study.study import Study

DEFAULT = {"cores": 4, "memory_mib": 512, "batch_size": 8}
DETAILS = {"power_source": "perf", "estimated": False, "cpus": [0, 1], "memory_max": 2**29, "duration_s": 2.0, "argv": ["/bin/true"],
           "env": {"A": "1"}, "cwd": "/", "mems": [0], "isolation": "cgroup-v1"}  # fmt: skip


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """A finished study as `tune` leaves it."""
    path = tmp_path_factory.mktemp("genuine") / "s"
    job = {"unit": "image", "text": "", "path": "/job.toml", "knobs": {"cores": "cores"}, "measure": {"repeats": 2}}
    with Study.create(path, small_space(), small_goal(), "bayes", 0, 6, {"host": "here"}, name="toy", job=job) as study:
        study.tell(study.adopt(DEFAULT, "baseline"), pretend_run(DEFAULT), DETAILS)
        for _ in range(4):
            trial = study.ask()
            study.tell(trial, pretend_run(trial.config), DETAILS)
        best = study.recommend().config
        for config in (best, DEFAULT, DEFAULT, best):
            study.tell(study.adopt(config, "repeat"), pretend_run(config), DETAILS)
        study.set_result({"complete": True, "recommended": best, "rejected": [], "candidates": [best], "verdict": "better",
                          "command": ["/bin/true"], "env": {}, "notes": [], "searched": 5, "launched_before": 0})  # fmt: skip
    return path


@pytest.fixture
def study(genuine, tmp_path):
    shutil.copytree(genuine, tmp_path / "s")
    return tmp_path / "s"


def sql(study, *statements):
    with sqlite3.connect(study / "study.sqlite") as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA ignore_check_constraints=ON")
        for statement, *values in statements:
            db.execute(statement, values)
    db.close()


def edited(column, change, table="studies", where="1"):
    """A variant in which the JSON of a column is another."""

    def vary(study):
        with sqlite3.connect(study / "study.sqlite") as db:
            (text,) = db.execute(f"SELECT {column} FROM {table} WHERE {where} LIMIT 1").fetchone()
        db.close()
        value = json.loads(text)
        value = change(value) if callable(change) else change
        sql(study, (f"UPDATE {table} SET {column} = ? WHERE {where}", value if isinstance(value, str) else json.dumps(value)))

    return vary


def put(*path_and_value):
    """Set what stands at a path of keys."""

    def change(value):
        *path, key, new = path_and_value
        inner = value
        for step in path:
            inner = inner[step]
        inner[key] = new
        return value

    return change


def run(*statements):
    return lambda study: sql(study, *statements)


def in_place_of(table, view):
    return run((f"ALTER TABLE {table} RENAME TO real_{table}",), (f"CREATE VIEW {table} AS {view}",))


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
DEEP = "[" * 100_000 + "]" * 100_000
FIRST = "number = 0"
BOUND = {"metric": "throughput", "sense": ">=", "limit": 20.0, "relative": False}
EMPTY_HISTORY = {"name": "x", "space": {"knobs": [], "rows": None, "allowed": None}, "goal": None, "trials": []}
MIXED_HISTORY = {**EMPTY_HISTORY, "space": {"knobs": [{"kind": "integer", "name": "cores", "values": ["x", 2], "more_is": None}],
                                            "rows": None, "allowed": None}}  # fmt: skip
VARIANTS = {
    # space
    "space: no object": edited("space", [1]),
    "space: no knobs": edited("space", {}),
    "space: knobs of text": edited("space", put("knobs", "x")),
    "space: a knob of text": edited("space", put("knobs", 0, "x")),
    "space: no values": edited("space", put("knobs", 0, "values", [])),
    "space: nested values": edited("space", put("knobs", 0, "values", [[1], 2])),
    "space: a huge step": edited("space", put("knobs", 0, "values", [1, 2, 10**15])),
    "space: huge numbers": edited("space", put("knobs", 0, "values", [1, 10**400])),
    "space: no number": edited("space", lambda s: json.dumps(s).replace("128", "NaN")),
    "space: an unknown kind": edited("space", put("knobs", 0, "kind", "quantum")),
    "space: a name of another kind": edited("space", put("knobs", 0, "name", 3)),
    "space: an unknown hint": edited("space", put("knobs", 0, "more_is", "better")),
    "space: rows outside": edited("space", put("rows", [[99, 0, 0]])),
    "space: rows too short": edited("space", put("rows", [[0]])),
    "space: too few allowed": edited("space", put("allowed", base64.b64encode(b"x").decode())),
    "space: allowed is no base64": edited("space", put("allowed", "%%%")),
    "space: cut off": edited("space", lambda s: json.dumps(s)[:-5]),
    "space: deep": edited("space", lambda s: DEEP),
    # goal
    "goal: no bounds": edited("goal", {}),
    "goal: both directions": edited("goal", put("maximize", "power_w")),
    "goal: a format string": edited("goal", put("minimize", "{0.__class__}%s%n")),
    "goal: an unknown sense": edited("goal", put("subject_to", 0, "sense", "~")),
    "goal: no number": edited("goal", put("subject_to", 0, "limit", "x")),
    "goal: infinite": edited("goal", lambda g: json.dumps(g).replace("20.0", "Infinity")),
    "goal: another key": edited("goal", put("subject_to", 0, "extra", 1)),
    "resolved goal: a list": edited("resolved_goal", [], where="resolved_goal IS NOT NULL"),
    # the study's row
    "seed below 0": run(("UPDATE studies SET seed = -1",)),
    "budget below 1": run(("UPDATE studies SET planned_budget = 0",)),
    "an unknown strategy": run(("UPDATE studies SET strategy = 'os:abort'",)),
    "made at no time": run(("UPDATE studies SET created_utc = 'yesterday'",)),
    "no study's row": run(("DELETE FROM studies",)),
    "job: a list": edited("job", []),
    "job: a unit of a number": edited("job", put("unit", 3)),
    "job: knobs of numbers": edited("job", put("knobs", {"cores": 3})),
    "job: measure is a text": edited("job", put("measure", "x")),
    "job: measure is null": edited("job", put("measure", None)),
    "job: metrics without a unit": edited("job", put("metrics", {"own": {}})),
    "job: knob_variables is null": edited("job", put("knob_variables", None)),
    "job: knob_units of one number": edited("job", put("knob_units", {"cores": [1]})),
    "resolved goal: with more bounds": edited("resolved_goal", put("subject_to", [BOUND, BOUND])),
    "resolved goal: with another bound": edited("resolved_goal", put("subject_to", [{**BOUND, "sense": "<="}])),
    "resolved goal: a relative bound": edited("resolved_goal", put("subject_to", [{**BOUND, "relative": True}])),
    "resolved goal: of another objective": edited("resolved_goal", put("minimize", "latency_p99_s")),
    "result: a text": edited("result", '"x"'),
    "result: recommended is a list": edited("result", put("recommended", [])),
    "result: recommended lies outside": edited("result", put("recommended", {"cores": 99, "memory_mib": 512, "batch_size": 8})),
    "result: recommended lacks a knob": edited("result", put("recommended", {"cores": 1})),
    "result: candidates of numbers": edited("result", put("candidates", [1])),
    "result: an unknown verdict": edited("result", put("verdict", "superb")),
    "result: notes of numbers": edited("result", put("notes", [1])),
    "result: a command of numbers": edited("result", put("command", [1])),
    "result: env is a list": edited("result", put("env", [])),
    "result: rules without a confidence": edited("result", put("rules", {"repeats": 2, "launches": 4})),
    "result: rules of text": edited("result", put("rules", {"repeats": "x"})),
    # trials
    "config: a list": edited("config", [], "trials", FIRST),
    "config: outside": edited("config", put("cores", 77), "trials", FIRST),
    "config: nested": edited("config", put("cores", {}), "trials", FIRST),
    "row of another configuration": run(("UPDATE trials SET row = 1 WHERE number = 0",)),
    "row beyond the space": run(("UPDATE trials SET row = 9223372036854775807 WHERE number = 0",)),
    "row below 0": run(("UPDATE trials SET row = -1 WHERE number = 0",)),
    "numbers with a gap": run(("UPDATE trials SET number = 77 WHERE number = 3",), ("UPDATE outcomes SET number = 77 WHERE number = 3",)),
    "an outcome of no run": run(("INSERT INTO outcomes SELECT 99, 999, outcome, details, told_utc FROM outcomes WHERE number = 0",)),
    "an unknown role": run(("UPDATE trials SET role = 'spy' WHERE number = 1",)),
    "asked at no time": run(("UPDATE trials SET asked_utc = '0' WHERE number = 1",)),
    "asked without offset": run(("UPDATE trials SET asked_utc = '2026-01-01T00:00:00' WHERE number = 1",)),
    "owner: a text": edited("owner", '"x"', "trials", FIRST),
    "owner: a pid of text": edited("owner", put("pid", "1"), "trials", FIRST),
    "owner: a huge pid": edited("owner", put("pid", 10**30), "trials", FIRST),
    "told as the last event that SQLite can count": run(("UPDATE outcomes SET tell_seq = 9223372036854775807 WHERE number = 8",)),
    "asked as the last event that SQLite can count": run(("UPDATE trials SET ask_seq = 9223372036854775807 WHERE number = 8",)),
    "told before it was asked": run(("UPDATE outcomes SET tell_seq = 0 WHERE number = 2",)),
    # outcomes
    "outcome: a text": edited("outcome", '"x"', "outcomes", FIRST),
    "outcome: an unknown state": edited("outcome", put("state", "great"), "outcomes", FIRST),
    "outcome: an unknown failure": edited("outcome", {"state": "failed", "kind": "boredom", "message": ""}, "outcomes", FIRST),
    "outcome: a message of a number": edited("outcome", {"state": "failed", "kind": "oom", "message": 3}, "outcomes", FIRST),
    "outcome: metrics are a list": edited("outcome", put("metrics", []), "outcomes", FIRST),
    "outcome: a metric of text": edited("outcome", put("metrics", "power_w", "x"), "outcomes", FIRST),
    "outcome: a reading of null": edited("outcome", put("metrics", "power_w", [None, None]), "outcomes", FIRST),
    "outcome: three values": edited("outcome", put("metrics", "power_w", [1, 2, 3]), "outcomes", FIRST),
    "outcome: sd below 0": edited("outcome", put("metrics", "power_w", [1.0, -1.0]), "outcomes", FIRST),
    "outcome: a metric is missing": edited("outcome", put("metrics", {"throughput": [1.0, None]}), "outcomes", FIRST),
    "outcome: flags of numbers": edited("outcome", put("flags", [1]), "outcomes", FIRST),
    "details: a list": edited("details", [], "outcomes", FIRST),
    "details: CPUs of text": edited("details", put("cpus", ["x"]), "outcomes", FIRST),
    "details: a duration of text": edited("details", put("duration_s", "x"), "outcomes", FIRST),
    "details: huge": edited("details", lambda d: json.dumps({**d, "x": "y" * (database_file.LARGEST_TEXT + 1)}), "outcomes", FIRST),
    "details: deep": edited("details", lambda d: '{"x":' + DEEP + "}", "outcomes", FIRST),
    "facts: a list": edited("facts", [], "provenance"),
    "facts: a history of text": edited("facts", put("history", ["x"]), "provenance"),
    "facts: a history of an empty space": edited("facts", put("history", [EMPTY_HISTORY]), "provenance"),
    "facts: a history of a number and a text": edited("facts", put("history", [MIXED_HISTORY]), "provenance"),
    "facts: a meter of one word": edited("facts", put("meter", {"source": "perf"}), "provenance"),
    "facts: recorded at no time": run(("UPDATE provenance SET recorded_utc = 'x'",)),
    "facts: idle is a text": edited("facts", put("idle", "x"), "provenance"),
    # the file
    "a view without end in place of the trials": in_place_of(
        "trials", f"SELECT i AS number, 1 AS ask_seq, 0 AS row, '' AS config, 0 AS is_repeat, 0 AS adopted, '' AS role, '' AS owner, "
        f"'' AS asked_utc FROM ({ENDLESS})"
    ),
    "a view without end in place of the study": in_place_of("studies", ENDLESS),
    "a view beside": run(("CREATE VIEW more AS " + ENDLESS,)),
    "a trigger": run(("CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM outcomes; END",)),
    "an index on an expression": run(("CREATE INDEX i ON trials (abs(number))",)),
    "another table": run(("CREATE TABLE extra (x)",)),
    "another column": run(("ALTER TABLE studies ADD COLUMN x TEXT",)),
    "a virtual table": run(("CREATE VIRTUAL TABLE v USING fts5(x)",)),
    "a newer version": run(("PRAGMA user_version = 99",)),
    "of another program": run(("PRAGMA application_id = 7",)),
    "no database": lambda study: (study / "study.sqlite").write_bytes(b"\x00\xff" * 5000),
    "cut in half": lambda study: os.truncate(study / "study.sqlite", (study / "study.sqlite").stat().st_size // 2),
    "a statement of the schema is cut": lambda study: _in_place(study, b"CREATE TABLE trials", b'CREATE TABLE "rials'),
    "a statement of the schema is no text": lambda study: _in_place(study, b"CREATE TABLE trials", b'CREATE TABLE "\xb1ials'),
    "a text that is no UTF-8": run(("UPDATE studies SET name = CAST(X'61FF62' AS TEXT)",)),
    "a page of noise": lambda study: _noise(study / "study.sqlite", 4096, 4096),
}  # fmt: skip


def _in_place(study, found, put):
    assert len(found) == len(put)
    sql(study)  # out of the write-ahead log, into the file
    data = (study / "study.sqlite").read_bytes()
    assert found in data
    (study / "study.sqlite").write_bytes(data.replace(found, put))


def _noise(file, at, count):
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(random.Random(1).randbytes(count))


COMMANDS = (
    ("show", "{}"),
    ("show", "{}", "--json"),
    ("show", "{}", "--markdown"),
    ("show", "{}", "--csv"),
    ("show", "{}", "--front"),
    ("retarget", "{}", "throughput >= 30"),
    ("apply", "{}", "--as", "json"),
)
FINE = (0, 1, 2, 4, 6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_refused_in_one_sentence_or_shown(variant, study, capsys):
    VARIANTS[variant](study)
    codes = []
    for command in COMMANDS:
        started = time.monotonic()
        codes.append(main([word.format(study) for word in command]))
        said = capsys.readouterr()
        assert codes[-1] in FINE, (command, said.err)
        assert time.monotonic() - started < 20
        assert codes[-1] != 4 or (said.err.count("\n") == 1 and str(study) in said.err), said.err
        assert "Traceback" not in said.err
        assert "can't be shown" not in said.err, "it was refused by an error that nobody foresaw, not by the form"
        assert len(said.err) < 2000
    for read in (Study.open, History.of):  # as `tune` goes on with it and learns from it
        with suppress(StoreError):
            found = read(study)
            if isinstance(found, Study):
                with found:
                    found.recommend()
                    found.ask()
    assert 4 in codes or variant in SHOWN, "nothing refused it"


SHOWN = {"outcome: sd below 0", "goal: a format string"}
"""Refused by some, or harmless: a format string is a metric's name like another."""


def test_the_genuine_study_is_shown(study, capsys):
    assert [main([word.format(study) for word in command]) for command in COMMANDS] == [0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(60))
def test_any_change_of_bytes_or_values_ends_with_a_documented_code(seed, study, capsys):
    """A fuzzer: a few random changes of a column's text or of the file's bytes."""
    change_at_random(study, seed)
    for command in COMMANDS[:2] + COMMANDS[5:6]:
        assert main([word.format(study) for word in command]) in FINE, (seed, capsys.readouterr().err)


def change_at_random(study, seed):
    chance = random.Random(seed)
    if chance.random() < 0.3:
        file = study / "study.sqlite"
        for _ in range(chance.choice((1, 8, 64))):
            _noise(file, chance.randrange(file.stat().st_size), 1 + chance.randrange(4))
        return
    columns = [("studies", c) for c in ("space", "goal", "resolved_goal", "job", "result", "name")]
    columns += [("trials", c) for c in ("config", "owner", "asked_utc")] + [("outcomes", c) for c in ("outcome", "details", "told_utc")]
    for _ in range(chance.choice((1, 1, 3))):
        table, column = chance.choice(columns)
        with sqlite3.connect(study / "study.sqlite") as db:
            text = chance.choice(db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall())[0]
        db.close()
        sql(study, (f"UPDATE {table} SET {column} = ? WHERE {column} = ?", _changed(text, chance), text))


JUNK = (None, True, -1, 0, 2**63, 10**400, 1e308, "", "x", "\x1b[2J", "{0}", [], {}, [[]], {"a": {}})


def _changed(text, chance):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if value is None or chance.random() < 0.2:
        at = chance.randrange(len(text) + 1)
        return text[:at] + chance.choice(("", "0", "}", "\\u0000", "é", "-", "e9")) + text[at + chance.randrange(3) :]
    places = [(None, None)]

    def collect(inner):
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            collect(inner[key])

    collect(value)
    where, key = chance.choice(places)
    if where is None:
        return json.dumps(chance.choice(JUNK))
    if chance.random() < 0.2:
        del where[key]
    else:
        where[key] = chance.choice(JUNK)
    return json.dumps(value)


# -- who may have changed it ------------------------------------------------------------------------------------------------


def give_away(path, uid=65534):
    for entry in (path, *path.rglob("*")):
        os.chown(entry, uid, uid, follow_symlinks=False)


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of another user")


def _as_link(study):
    (study / "study.sqlite").rename(study / "real")
    (study / "study.sqlite").symlink_to("real")


OURS = {
    "of another user": give_away,
    "a folder that others may write": lambda study: study.chmod(0o777),
    "a file that others may write": lambda study: (study / "study.sqlite").chmod(0o666),
    "a log that is a link": lambda study: (study / "study.sqlite-wal").symlink_to("/etc/hostname"),
    "a journal that is a link": lambda study: (study / "study.sqlite-journal").symlink_to("/etc/hostname"),
    "a file that is a link": _as_link,
}


@root_only
@pytest.mark.parametrize("how", OURS)
def test_what_others_could_have_changed_is_shown_from_a_copy_and_never_written(how, study, capsys):
    OURS[how](study)
    before = {entry.name: entry.lstat() for entry in study.iterdir()}
    code = main(["show", str(study)])
    said = capsys.readouterr()
    assert code == (4 if how in ("a log that is a link", "a file that is a link") else 0), said.err
    with pytest.raises(StoreError, match="is not written to"):
        Study.open(study)
    after = {entry.name: entry.lstat() for entry in study.iterdir()}
    assert {n: (s.st_size, s.st_mtime_ns, s.st_ino) for n, s in after.items()} == {
        n: (s.st_size, s.st_mtime_ns, s.st_ino) for n, s in before.items()
    }


@root_only
def test_a_planted_journal_removes_nothing(study, tmp_path, capsys):
    """A hot journal that names a super-journal makes SQLite remove the file of that name, where it obeys it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = str(victim).encode()
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\x00" * 504
    checksum = sum(b - 256 if b > 127 else b for b in name) & 0xFFFFFFFF
    tail = b"\x00\x00\x00\x00" + name + len(name).to_bytes(4, "big") + checksum.to_bytes(4, "big") + b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    (study / "study.sqlite-journal").write_bytes(header + tail)
    give_away(study)
    for command in COMMANDS:
        main([word.format(study) for word in command])
    with pytest.raises(StoreError):
        Study.open(study)
    assert victim.read_text() == "precious"


@root_only
def test_a_planted_empty_folder_is_not_written_into(tmp_path):
    planted = tmp_path / "toy.study"
    planted.mkdir()
    give_away(planted)
    with pytest.raises(StoreError, match="can't hold a study of this user"):
        Study.create(planted, small_space(), small_goal())
    assert list(planted.iterdir()) == []


def test_private_copies_are_removed(study, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    study.chmod(0o777)
    with Study.open(study, read_only=True) as opened:
        assert len(opened.records()) == 9
        assert len(list(tmp_path.glob("bayestuner-study-*"))) == 1
    assert list(tmp_path.glob("bayestuner-study-*")) == []
    (study / "study.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        Study.open(study, read_only=True)
    assert list(tmp_path.glob("bayestuner-study-*")) == []


def test_what_a_living_tuner_has_not_yet_moved_from_its_log_is_shown_too(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 9, name="toy") as living:
        living.tell(living.ask(), pretend_run(DEFAULT), {})
        assert (tmp_path / "s" / "study.sqlite-wal").stat().st_size > 0
        (tmp_path / "s").chmod(0o777)
        with Study.open(tmp_path / "s", read_only=True) as seen:
            assert len(seen.records()) == 1
        (tmp_path / "s").chmod(0o700)


def test_a_query_ends_by_its_deadline_and_by_a_signal(study, monkeypatch):
    monkeypatch.setattr(database_file, "QUERY_SECONDS", 0.05)
    connection = database_file.connect_read_only(study)
    with pytest.raises(StoreError, match="took more than"), database_file.clear_errors(study, connection):
        connection.execute(f"SELECT count(*) FROM ({ENDLESS})").fetchall()
    connection.close()


def test_ctrl_c_ends_a_query(study):
    code = (
        "import signal, sys, threading, os, time\n"
        "from pathlib import Path\n"
        "from bayestuner.study import database_file as d\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "c = d.connect_read_only(Path(sys.argv[1]))\n"
        "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    with d.clear_errors(Path(sys.argv[1]), c):\n"
        f"        c.execute('SELECT count(*) FROM ({ENDLESS})').fetchall()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(study)], check=False, capture_output=True, text=True, timeout=25)
    assert done.stdout == "interrupted\n", done.stderr


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": 2}]}, None),
        ([[[]]], "where an object belongs"),
        ({"a": 10**5000}, "can't be read"),
    ],
)
def test_forms_name_the_place(value, words):
    check = forms.dict_of(lambda *_: None)
    text = '{"a": ' + "1" * 5000 + "}" if words == "can't be read" else json.dumps(value)
    if words is None:
        assert forms.load(text, check, "x") == value
    else:
        with pytest.raises(forms.WrongForm, match=words):
            forms.load(text, check, "x")
