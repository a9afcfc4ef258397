"""The command line: help, JSON forms, and what a mistake says."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from jobs import RECOMMENDED, bayestuner, processes_of, write_job
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.study.study import Study

WAIT_S = 240
needs_cgroup = pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")


def run_cli(*args, **more):
    return subprocess.run(bayestuner(*args), capture_output=True, text=True, timeout=WAIT_S, check=False, **more)


@pytest.fixture
def study(tmp_path):
    with Study.create(
        tmp_path / "s", small_space(), small_goal(), "bayes", 0, 8, {"host": "here"}, name="toy", job={"unit": "image"}
    ) as made:
        for _ in range(8):
            trial = made.ask()
            made.tell(trial, pretend_run(trial.config))
    return tmp_path / "s"


def one_sentence(done, code):
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("bayestuner: ")
    return done.stderr


def test_help_names_every_exit_code_and_loads_nothing_heavy():
    code = "import sys; from bayestuner.cli.main import make_parser; print(make_parser().format_help()); print(sorted(sys.modules))"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "exit codes:" in text
    assert all(f"\n  {n}" in text for n in (0, 1, 2, 3, 4, 5, 6, 70))
    modules = text.splitlines()[-1]
    assert not any(f"'{m}'" in modules for m in ("numpy", "numba", "scipy", "sqlite3", "bayestuner.study.study"))


def test_show_json(study):
    done = run_cli("show", study, "--json")
    form = json.loads(done.stdout)
    assert (done.returncode, form["version"]) == (0, 1)
    assert {"goal", "trials", "best", "recommendation", "provenance"} <= form.keys()
    assert [t["number"] for t in form["trials"]] == list(range(8))
    for trial in form["trials"]:
        assert trial["state"] in ("measured", "failed")
        assert (trial["failure"] is None) == (trial["state"] == "measured")
        assert set(trial["config"]) == {"cores", "memory_mib", "batch_size"}
    measured = [t for t in form["trials"] if t["state"] == "measured"]
    good = [t["metrics"]["power_w"] for t in measured if t["metrics"]["throughput"] >= 20]
    assert form["best"]["metrics"]["power_w"] == min(good)
    assert set(form["recommendation"]["config"]) == {"cores", "memory_mib", "batch_size"}
    assert form["provenance"][0]["host"] == "here"


@pytest.mark.slow
def test_show_changes_nothing(study):
    before = (study / "study.sqlite").read_bytes()
    for form in ([], ["--json"], ["--markdown"], ["--front"]):
        assert run_cli("show", study, *form).returncode == 0
    assert (study / "study.sqlite").read_bytes() == before


def test_show_front_is_of_any_study(study):
    shown = run_cli("show", study, "--front").stdout
    assert "measured runs are beaten by none in both" in shown
    assert "throughput" in shown


def test_show_of_a_study_without_a_run(tmp_path):
    Study.create(tmp_path / "s", small_space(), small_goal(), "bayes", 0, 8).close()
    assert "not finished yet" in run_cli("show", tmp_path / "s").stdout
    form = json.loads(run_cli("show", tmp_path / "s", "--json").stdout)
    assert (form["trials"], form["best"], form["recommendation"]) == ([], None, None)


@pytest.mark.slow
def test_retarget(study):
    done = run_cli("retarget", study, "throughput >= 8", "--json")
    form = json.loads(done.stdout)
    assert done.returncode == 0
    assert form["goal"] == "minimize power_w subject to throughput >= 8"
    assert pretend_run(form["recommendation"]["config"]).values["throughput"] >= 8
    assert run_cli("retarget", study, "throughput >= 9999").returncode == 1
    assert "can't read the bound" in one_sentence(run_cli("retarget", study, "throughput > 8"), 2)
    assert "latency_p50_s" in one_sentence(run_cli("retarget", study, "latency_p50_s <= 8"), 2)


def test_the_nearest_to_a_bound_out_of_reach_is_the_one_that_misses_it_by_least(study):
    """F16: not whichever the model calls as unlikely as the others."""
    form = json.loads(run_cli("retarget", study, "throughput >= 100000", "--json").stdout)
    with Study.open(study, read_only=True) as opened:
        reached = [r.trial.metrics["throughput"] for r in opened.records() if r.trial.metrics]
    nearest = form["recommendation"]
    assert pretend_run(nearest["config"]).values["throughput"] == max(reached)
    assert nearest["expected"]["throughput"]["mean"] == max(reached)


def finished(path):
    """A study with final launches: the one with 2 cores draws less than the default, which has 4."""
    small, big = ({"cores": cores, "memory_mib": 512, "batch_size": 8} for cores in (2, 4))
    job = {"unit": "image", "measure": {"repeats": 3}}
    with Study.create(path, small_space(), small_goal(), "bayes", 0, 2, {"host": "here"}, name="toy", job=job) as made:
        launches = [(c, "repeat", {"round": k}) for k in range(3) for c in (small, big)]
        for config, role, details in ((big, "baseline", {}), (small, "search", {}), *launches):
            made.tell(made.adopt(config, role), pretend_run(config), details)
        made.set_result(
            {"complete": True, "verdict": "better", "recommended": small, "candidates": [small], "searched": 2, "launched_before": 0,
             "rules": {"repeats": 3, "launches": 24, "confidence": 0.95}, "nearest": None, "rejected": [], "notes": [],
             "command": ["serve", "--model", "a model"], "env": {"BAYESTUNER_CORES": "1"}}
        )  # fmt: skip
    return small


def test_show_json_retarget_and_the_report_give_one_recommendation_with_its_own_figures(tmp_path):
    """F4: one configuration, its figures, and the sentence that explains it."""
    small = finished(tmp_path / "s")
    form = json.loads(run_cli("show", tmp_path / "s", "--json").stdout)
    own = pretend_run(small).values
    assert form["recommendation"]["config"] == form["result"]["recommended"]["config"] == small
    assert {m: f["mean"] for m, f in form["recommendation"]["expected"].items()} == pytest.approx(own)
    assert form["recommendation"]["expected"]["power_w"]["n"] == 3
    assert form["recommendation"]["by"] == "launches"
    contender = next(c for c in form["result"]["decision"]["contenders"] if c["config"] == small)
    assert form["recommendation"]["p_feasible"] == contender["chance_holds"] > 0.95
    assert form["result"]["verdict"] == "better"
    screen = " ".join(run_cli("show", tmp_path / "s").stdout.split())
    assert form["result"]["explanation"] in screen
    assert "serve --model 'a model'" in form["result"]["apply"]["line"]
    assert f"apply with {form['result']['apply']['line']}" in screen
    assert form["result"]["to_do"] == []
    same = run_cli("retarget", tmp_path / "s", "throughput >= 20", "--json")
    assert (same.returncode, json.loads(same.stdout)["recommendation"]) == (0, form["recommendation"])
    assert "better than the all-max default" in run_cli("retarget", tmp_path / "s", "throughput >= 20").stdout


def test_retarget_launches_only_what_it_has_a_job_file_of(tmp_path):
    finished(tmp_path / "s")
    assert "holds no job file" in one_sentence(run_cli("retarget", tmp_path / "s", "throughput >= 30", "--launch"), 4)


@pytest.mark.slow
@needs_cgroup
def test_retarget_launch_adds_its_runs_to_the_study(tmp_path):
    job = write_job(tmp_path, budget=6)
    assert run_cli("tune", job, "--study", tmp_path / "s").returncode in RECOMMENDED
    with Study.open(tmp_path / "s", read_only=True) as study:
        before = len(study.records())
    done = run_cli("retarget", tmp_path / "s", "throughput >= 20", "--launch", "--json")
    form = json.loads(done.stdout)
    assert done.returncode in RECOMMENDED, done.stderr
    assert form["goal"] == "minimize cpu_s_per_item subject to throughput >= 20"
    assert form["recommended"]["meets_goal"] is True
    assert form["explanation"]
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
        assert {r.role for r in records[before:]} <= {"repeat"}  # none where the launches that the study holds decide it
        assert str(study.goal) == "minimize cpu_s_per_item subject to throughput >= 50"
        assert study.info.result["complete"] is True
    shown = json.loads(run_cli("show", tmp_path / "s", "--json").stdout)
    assert shown["recommendation"]["config"] == shown["result"]["recommended"]["config"]


def test_show_of_what_is_no_study(tmp_path):
    assert "does not exist" in one_sentence(run_cli("show", tmp_path / "none"), 4)
    assert "holds no study" in one_sentence(run_cli("show", tmp_path), 4)


def test_a_reader_that_leaves_early_is_no_error(study):
    with subprocess.Popen(bayestuner("show", study, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


MISTAKES = {
    "a wrong key": (("budget =", "bugdet ="), "bugdet"),
    "a wrong type": (("budget = 5", 'budget = "five"'), "measure.budget"),
    "an empty range": (("min = 1, max = 1", "min = 3, max = 1"), "knobs.cores"),
    "an unknown knob kind": (('kind = "memory"', 'kind = "magic"'), "magic"),
    "an unknown metric": (('minimize = "cpu_s_per_item"', 'minimize = "happiness"'), "happiness"),
    "an unreadable bound": (('"throughput >= 50"', '"throughput is high"'), "throughput is high"),
    "a command that doesn't exist": (('command = ["{python}",', 'command = ["/no/such/program",'), "/no/such/program"),
    "no TOML": (("[job]", "[job"), "not valid TOML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_job_file(tmp_path, mistake):
    change, words = MISTAKES[mistake]
    job = write_job(tmp_path, replace=[change])
    said = one_sentence(run_cli("tune", job, "--study", tmp_path / "s"), 2)
    assert words in said
    assert not (tmp_path / "s").exists()


def test_mistakes_on_the_command_line(tmp_path):
    assert "can't read the job file" in one_sentence(run_cli("tune", tmp_path / "none.toml"), 2)
    job = write_job(tmp_path)
    assert "no strategy 'magic'" in one_sentence(run_cli("tune", job, "--study", tmp_path / "s", "--strategy", "magic"), 2)
    assert run_cli("tune", job, "--budget", "0").returncode == 2
    assert "at least 1" in run_cli("tune", job, "--budget", "many").stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other").touch()
    assert "holds other things" in one_sentence(run_cli("tune", job, "--study", tmp_path / "full"), 4)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["other"]


BAD_JOBS = {
    "prints nothing and ends": ("pass", ""),
    "prints garbage and ends": ("print('\\x00\\xff garbage', flush=True)", "garbage"),
    "exits at once": ("raise SystemExit('model file is missing')", "model file is missing"),
    "hangs": ("import time; time.sleep(1000)", ""),
    "writes 100 MB": ("import sys\nfor _ in range(100): sys.stdout.write('x' * 10**6)\nraise SystemExit('loud end')", ""),
    "leaves children": (
        "import subprocess, sys\nif len(sys.argv) < 3: subprocess.Popen([sys.executable, __file__, '1', 'child'], start_new_session=True)\n"
        "else:\n    import time; time.sleep(1000)\n",
        "",
    ),
}


@needs_cgroup
@pytest.mark.cgroup
@pytest.mark.parametrize("bad", BAD_JOBS)
def test_a_broken_job(tmp_path, bad):
    """Ends soon, says why, leaves nothing running, loses nothing."""
    program, words = BAD_JOBS[bad]
    job = write_job(tmp_path, program=program, budget=10, startup=5)
    done = run_cli("tune", job, "--study", tmp_path / "s")
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert "every run failed" in done.stdout
    assert "all of the first 3 runs failed" in done.stdout
    assert words in done.stdout
    assert len(done.stdout) < 20_000
    assert processes_of(tmp_path / "program.py") == []
    form = json.loads(run_cli("show", tmp_path / "s", "--json").stdout)
    assert [t["state"] for t in form["trials"]] == ["failed"] * 3
    assert form["result"]["recommended"] is None


@needs_cgroup
@pytest.mark.cgroup
def test_on_a_terminal_there_is_one_live_line_that_goes_away(tmp_path):
    job = write_job(tmp_path, budget=3, replace=[("min_seconds = 0.2", "min_seconds = 1.2"), ("max_seconds = 0.5", "max_seconds = 1.5")])
    main, side = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(bayestuner("tune", job, "--study", tmp_path / "s"), stdout=side, stderr=side, env=env)
    os.close(side)
    data = b""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        data += piece
    assert process.wait(timeout=WAIT_S) in RECOMMENDED
    text = data.decode()
    assert re.search(r"\r\x1b\[Krun 1 of 3, \d+ s  \|  .*cores=1", text)
    assert "left" in text
    lines = [line.rsplit("\x1b[K", 1)[-1].rstrip() for line in text.split("\n")]
    assert not any(line.startswith("run ") for line in lines), "a live line was left standing"
    assert sum(bool(re.match(r" +\d/3 ", line)) for line in lines) == 3


def test_json_of_the_zoo_and_the_doctor():
    pytest.importorskip("onnxruntime")
    models = json.loads(run_cli("zoo", "list", "--json").stdout)
    assert {"name", "parameters", "gmac_per_item", "unit", "paper_throughput", "file_bytes"} <= models[0].keys()
    assert "mobilenet_v2" in [m["name"] for m in models]
    assert "no zoo model 'magic'" in one_sentence(run_cli("zoo", "build", "magic"), 2)
    report = json.loads(run_cli("doctor", "--json").stdout)
    assert {"machine", "items", "boundary", "covers", "outside_load", "noise", "notices", "verdict"} <= report.keys()
    assert {"duration_s", "outside_load", "outside_load_max", "steal", "idle_power_w", "idle_power_sd_w", "level", "words"} == report[
        "noise"
    ].keys()
    assert json.loads(run_cli("doctor", "--quick", "--json").stdout)["noise"] is None
    assert report["version"] == 1
    assert {i["what"] for i in report["items"]} >= {"perf", "powercap", "msr", "model"}
