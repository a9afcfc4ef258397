"""Peers: the lines between driver and adapter, snapping, runs that resume; with small adapters of the tests' own, no peer installed."""

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import host, install, quality, roster, speed
from benchmarks.peers.session import PeerFailed, Session
from benchmarks.peers.table import Table
from benchmarks.search_quality import store

HEAD = """
import os, sys, random
import numpy as np
PACKAGES = ["numpy"]
"""
# asks for the highest level of everything, again and again, and checks all that it is told
STUBBORN = (
    HEAD
    + """
print("noise at import")
class Peer:
    def __init__(self, problem, variant):
        self.problem, self.told, self.variant = problem, [], variant
    def ask(self):
        print("noise in ask"); os.write(1, b"raw noise\\n"); os.system("echo child noise")
        assert sys.stdin.read() == ""
        return [float(size - 1) for size in self.problem.sizes]
    def tell(self, result):
        self.told.append(result)
        assert result.codes == tuple(self.problem.codes[result.row])
        assert result.suggested == (len(self.told) == 1), result
        assert result.failed == (result.objective != result.objective)
"""
)
RANDOM = (
    HEAD
    + """
class Peer:
    def __init__(self, problem, variant):
        self.problem = problem
    def ask(self):
        return int(np.random.randint(len(self.problem.codes)))
    def tell(self, result):
        pass
"""
)
EXPECTS_GIVEN = (
    HEAD
    + """
class Peer:
    def __init__(self, problem, variant):
        assert problem.given == 3 and problem.budget == 9 and problem.product
        self.told = []
    def ask(self):
        assert self.told[:3] == [(4, 14.0, False), (0, 10.0, False), (9, 19.0, False)]
        return 4
    def tell(self, result):
        self.told.append((result.row, result.objective, result.suggested))
"""
)


def table(sizes=(3, 4), categorical=(False, False), failed=()):
    codes = np.indices(sizes).reshape(len(sizes), -1).T
    knobs = [
        {"name": f"knob {i}", "kind": "categorical" if c else "ordinal", "levels": list(range(n))}
        for i, (n, c) in enumerate(zip(sizes, categorical, strict=True))
    ]
    y = 10.0 + np.arange(len(codes))
    y[list(failed)] = np.nan
    return Table(knobs, codes, y, y.copy(), threshold=15.0)


@pytest.fixture
def session(tmp_path):
    opened = []

    def start(source, variant="plain", patience_s=30.0):
        adapter = tmp_path / "adapter.py"
        adapter.write_text(source)
        command = [sys.executable, "-P", str(roster.HERE / "host.py"), str(adapter), variant]
        opened.append(Session(command, roster.environment(), tmp_path / "peer.log", patience_s))
        return opened[-1]

    yield start
    for s in opened:
        s.close()


def test_snap_takes_the_nearest_row_not_tried():
    grid = table(sizes=(3, 5))
    tried = np.zeros(15, dtype=bool)
    assert grid.snap([1.0, 2.0], tried) == (7, False)
    assert grid.snap([1.3, 2.4], tried) == (7, False)  # a peer that rounds late asked for this row
    tried[7] = True
    assert grid.snap([1.0, 2.0], tried) == (6, True)  # a quarter of the range away; 8 is as far, the lower wins
    assert grid.snap(7, tried) == (6, True)
    tried[[6, 8]] = True
    # half a range on either knob: rows 2 and 12 on the first, 5 and 9 on the second
    assert grid.snap([1.0, 2.0], tried) == (2, True)
    assert grid.snap([1.0, 3.6], tried) == (9, False)


def test_snap_holds_any_two_categories_one_apart():
    grid = table(sizes=(4, 3), categorical=(True, False))
    tried = np.zeros(12, dtype=bool)
    tried[10] = True  # category 3, level 1
    assert grid.snap([3.0, 1.0], tried)[0] == 9  # half a range beats another category
    tried[[9, 11]] = True
    assert grid.snap([3.0, 1.0], tried)[0] == 1  # category 0 is no farther than category 2


def test_snap_agrees_with_a_search_row_by_row():
    rng = np.random.default_rng(0)
    grid = table(sizes=(4, 3, 5), categorical=(False, True, False))
    for _ in range(200):
        tried = rng.random(60) < 0.7
        tried[rng.integers(60)] = False
        x = rng.uniform(-0.5, [3.5, 2.5, 4.5])
        distance = [
            math.inf if tried[r] else (c[0] - x[0]) ** 2 / 9 + (round(x[1]) != c[1]) + (c[2] - x[2]) ** 2 / 16
            for r, c in enumerate(grid.codes.tolist())
        ]
        row, snapped = grid.snap(list(x), tried)
        assert distance[row] == pytest.approx(min(distance))
        assert snapped == any(round(a) != b for a, b in zip(x, grid.codes[row], strict=True))


@pytest.mark.parametrize("asked", [[1.0], [1.0, math.nan], [1.0, 2.0, 3.0]])
def test_snap_refuses_what_is_no_configuration(asked):
    with pytest.raises(ValueError, match="2 finite level indices"):
        table().snap(asked, np.zeros(12, dtype=bool))


def test_a_stubborn_peer_is_snapped_told_so_and_may_print(session, tmp_path):
    s = session(STUBBORN)
    run = s.replay(table(failed=(10,)), seed=0, budget=5)
    assert run.rows[:3] == [11, 10, 7]
    assert len(set(run.rows)) == 5
    assert run.snapped == 4
    assert len(run.suggest_s) == 5 and min(run.suggest_s) > 0
    assert s.versions == {"numpy": np.__version__}
    assert s.import_s > 0
    assert 5e6 < s.peak_rss_bytes() < 1e9
    log = (tmp_path / "peer.log").read_text()
    assert {"noise at import", "noise in ask", "raw noise", "child noise"} <= set(log.splitlines())


def test_a_run_ends_where_the_table_does(session):
    assert sorted(session(RANDOM).replay(table(), seed=0, budget=50).rows) == list(range(12))


def test_runs_of_one_process_do_not_depend_on_each_other(session):
    first = session(RANDOM)
    alone = [first.replay(table((5, 6)), seed, budget=8).rows for seed in (3, 4, 3)]
    assert alone[0] == alone[2] != alone[1]
    assert session(RANDOM).replay(table((5, 6)), 4, budget=8).rows == alone[1]


def test_results_given_are_told_before_the_first_ask_and_not_run_again(session):
    grid = table()
    grid.product = True
    run = session(EXPECTS_GIVEN).replay(grid, seed=0, budget=6, given=[4, 0, 9])
    assert len(run.rows) == 6
    assert not {4, 0, 9} & set(run.rows)


def test_a_peer_that_dies_is_reported_with_the_end_of_its_log(session):
    s = session(RANDOM.replace("pass", "raise KeyError('no such thing')"))
    with pytest.raises(PeerFailed, match="no such thing"):
        s.replay(table(), seed=0, budget=3)


def test_a_peer_that_can_not_be_imported_is_reported(session):
    with pytest.raises(PeerFailed, match="absent_peer"):
        session("import absent_peer")


def test_a_silent_peer_is_given_up_and_gone(session):
    source = RANDOM.replace("return int", "import time; time.sleep(60)\n        return int")
    s = session(source, patience_s=3.0)  # for its start too
    with pytest.raises(PeerFailed, match=r"no answer within 3 s"):
        s.replay(table(), seed=0, budget=3)
    assert s._process.poll() is not None


def test_a_peer_in_the_middle_of_a_suggestion_ends_with_its_driver(tmp_path):
    (tmp_path / "adapter.py").write_text(RANDOM.replace("return int", "import time; time.sleep(60)\n        return int"))
    driver = f"""
import sys
from pathlib import Path
from benchmarks.peers import roster, session
from benchmarks.peers.table import Table
session.end_peers_too()
command = [sys.executable, "-P", str(roster.HERE / "host.py"), {str(tmp_path / "adapter.py")!r}, "plain"]
with session.Session(command, roster.environment(), Path({str(tmp_path / "log")!r})) as s:
    print(s._process.pid, flush=True)
    s.replay(Table.server(), seed=0, budget=2)
"""
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True, cwd=roster.ROOT) as process:
        peer = int(process.stdout.readline())
        assert Path(f"/proc/{peer}").exists()
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert not Path(f"/proc/{peer}").exists()


def test_a_suggestion_that_is_none_is_the_peers_failure(session):
    s = session(RANDOM.replace("return int(np.random.randint(len(self.problem.codes)))", "return [0.0]"))
    with pytest.raises(PeerFailed, match="2 finite level indices"):
        s.replay(table(), seed=0, budget=3)


def test_the_penalty_is_the_log_objective_plus_twice_the_relative_shortfall():
    problem = host.Problem({**table().message(seed=0, budget=5)})
    told = [problem.result({"row": r, "objective": 20.0, "constraint": c, "status": "ok"}) for r, c in ((0, 15.0), (1, 12.0))]
    failed = problem.result({"row": 2, "objective": None, "constraint": None, "status": "failed"})
    assert problem.penalised(failed) == 5.0  # nothing known yet
    assert problem.penalised(told[0]) == pytest.approx(math.log(20))
    assert problem.penalised(told[1]) == pytest.approx(math.log(20) + 2 * 3 / 15)
    assert problem.penalised(failed) == problem.penalised(told[1])


def test_a_product_grid_has_the_same_rows_on_both_sides():
    grid = Table.server()
    there = host.Problem(grid.message(seed=0, budget=1))
    assert len(there.codes) == 7168
    np.testing.assert_array_equal(there.codes, grid.codes)
    feasible = grid.constraint >= grid.threshold
    assert 0.02 < feasible.mean() < 0.5
    assert not feasible[np.argmin(grid.objective)]  # the constraint binds


@pytest.fixture
def folder(tmp_path):
    """Two problems on disk, one with a failed row."""
    for name in ("one", "two"):
        lines = [f"{i // 4},{i % 4},{10 + i},{i},ok" for i in range(12)]
        lines[5] = "1,1,,,failed" if name == "one" else lines[5]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,objective,constraint,status", *lines]) + "\n")
    knobs = [{"name": "a", "type": "ordinal"}, {"name": "b", "type": "categorical"}]
    problems = [{"name": n, "file": f"{n}.csv", "family": "f", "threshold": 5.0, "knobs": knobs} for n in ("one", "two")]
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    return tmp_path


def run_quality(monkeypatch, folder, *more):
    (folder / "tiny.py").write_text(RANDOM)
    monkeypatch.setitem(roster.PEERS, "tiny", roster.Peer("", str(folder / "tiny")))
    arguments = ["quality", str(folder), "--peers", "tiny", "--budget", "4", "--out", str(folder / "runs"), *more]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(quality, "end_peers_too", lambda: None)  # the tests' own signals stay as they are
    quality.main()
    return store.read(folder / "runs" / "tiny.jsonl")


def test_quality_appends_what_is_missing_and_prints_the_table_beside_ours(monkeypatch, folder, capsys):
    first = run_quality(monkeypatch, folder, "--seeds", "0:2")
    printed = capsys.readouterr().out
    assert "| tiny | 2 |" in printed and "| bayes | 2 |" in printed
    assert [(r.seed, r.problem) for r in first] == [(0, "one"), (0, "two"), (1, "one"), (1, "two")]
    assert all(len(set(r.rows)) == len(r.suggest_s) == 4 for r in first)
    again = run_quality(monkeypatch, folder, "--seeds", "0:3")
    assert again[:4] == first
    assert [(r.seed, r.problem) for r in again[4:]] == [(2, "one"), (2, "two")]
    kept = [json.loads(text) for text in (folder / "runs" / "tiny.jsonl").read_text().splitlines()]
    assert len(kept) == 6
    assert kept[0]["tuner"] == "tiny" and kept[0]["versions"] == {"numpy": np.__version__} and kept[0]["snapped"] >= 0


def test_quality_goes_on_after_a_failed_run(monkeypatch, folder, capsys):
    monkeypatch.setattr(sys.modules[__name__], "RANDOM", RANDOM.replace("pass", "assert not result.failed or self.problem.seed"))
    # row 5 of problem one fails; seeds that meet it kill the adapter, the others are kept
    runs = run_quality(monkeypatch, folder, "--seeds", "0:1", "--budget", "12")
    assert [r.problem for r in runs] == ["two"]
    assert "tiny on one, seed 0" in capsys.readouterr().err


def test_speed_times_what_comes_after_the_warm_up(monkeypatch, tmp_path):
    slow_at_first = RANDOM.replace("self.problem = problem", "self.problem, self.asks = problem, 0").replace(
        "        return int", "        import time; self.asks += 1; time.sleep(1.0 if self.asks == 1 else 0.02)\n        return int"
    )
    (tmp_path / "slow.py").write_text(slow_at_first)
    monkeypatch.setitem(roster.PEERS, "slow", roster.Peer("", str(tmp_path / "slow")))
    cost = speed.Cost()
    speed.measure("slow", cost, tmp_path, n=5, seed=0, log=tmp_path / "log", patience_s=30.0)
    assert len(cost.suggest_s) == speed.SAMPLES
    assert min(cost.suggest_s) >= 0.02
    assert max(cost.suggest_s) < 1.0
    assert min(cost.first_s + cost.model_s) > 1.0
    assert cost.first_s[0] > cost.import_s[0]
    assert cost.peak_rss_bytes[0] > 5e6
    assert cost.versions == {"numpy": np.__version__}


def test_speed_table_and_verdicts():
    def cost(ms, size=None):
        return speed.Cost([ms / 1e3, ms / 1e3, 4 * ms / 1e3], [1.0], [2.0], [0.5], [300_000_000], size)

    costs = {"bayestuner": cost(2.0, 450_000_000), "botorch": cost(500.0), "egobox": cost(20.0), "skopt": cost(4.0)}
    lines = speed.table_of(costs).splitlines()
    assert [text.split(" | ")[0] for text in lines[2:]] == ["| bayestuner", "| skopt", "| egobox", "| botorch"]
    assert lines[2] == "| bayestuner | 2 | 2 to 6.8 | 4 | 1 | 1.00 | 2.00 | 0.50 | 450 | 300 |"
    assert lines[5].startswith("| botorch | 500 | 500 to 1700 | 1000 | 250 |")
    first, second = speed.verdicts(costs)
    assert first == "BoTorch takes 250.0 times as long as ours (wanted: 200): met"
    assert "egobox" in second and "10.0 times" in second and second.endswith("missed")
    del costs["bayestuner"]
    assert speed.verdicts(costs) == []
    assert speed.table_of(costs).splitlines()[2].startswith("| skopt | 4 | 4 to 13.6 | 8 |  |")


def test_a_peer_nobody_knows_is_refused():
    with pytest.raises(SystemExit, match="no peer 'spearmynt'; there are botorch"):
        roster.chosen("botorch,spearmynt")


def test_every_environment_is_pinned_to_the_last_package():
    assert {p.stem for p in install.requirements_of("x").parent.glob("*.txt")} == set(roster.VENVS)
    for venv in roster.VENVS:
        lines = install.requirements_of(venv).read_text().split()
        assert lines
        assert all("==" in text for text in lines), venv


def test_adapters_of_peers_see_nothing_of_this_project():
    for peer in {**roster.PEERS, **roster.VARIANTS}.values():
        path = roster.HERE / "adapters" / f"{peer.adapter}.py"
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert "benchmarks" not in imported
        # Optuna's adapter has a variant with our sampler; the variants that are peers get no path to this checkout.
        assert ("bayestuner" in imported) == (peer.adapter in ("bayestuner", "optuna"))
    assert all("PYTHONPATH" not in roster.environment(name) for name in roster.PEERS)
