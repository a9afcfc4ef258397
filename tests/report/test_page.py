"""The report's page: its data, and the page in a real browser (headless Chromium)."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.cli.main import main
from bayestuner.goal import Goal
from bayestuner.report.page.model import BOUND_STEPS
from bayestuner.report.page.render import page_of, report_html
from bayestuner.space import Categorical, Integer, Space
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("BAYESTUNER_REQUIRE_EXTENSION"), reason="needs chromium (a Debian package); CI installs it"
)
DEFAULT = {"cores": 4, "memory_mib": 512, "batch_size": 8}


def made_study(path, runs=12, goal=None, **more):
    study = Study.create(path, small_space(), goal or small_goal(), "bayes", 0, 20, name=more.pop("name", "toy"), job={"unit": "image"})
    study.tell(study.adopt(DEFAULT, "baseline"), pretend_run(DEFAULT), {"power_source": "perf", "estimated": False, **more})
    for _ in range(runs - 1):
        trial = study.ask()
        if trial is None:  # no configuration that could be better is left
            break
        study.tell(trial, pretend_run(trial.config), {})
    return study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study that nobody changes, and its page."""
    path = tmp_path_factory.mktemp("report")
    with made_study(path / "study") as study:
        (path / "page.html").write_text(report_html(study), encoding="utf-8")
    return path


def test_the_slider_says_what_retarget_says(folder, capsys):
    with Study.open(folder / "study", read_only=True) as study:
        bounds = page_of(study)["bounds"]
    assert BOUND_STEPS <= len(bounds) <= BOUND_STEPS + 1
    assert sum(entry["given"] for entry in bounds) == 1
    assert len({entry["config"] for entry in bounds}) > 2  # the recommendation moves with the bound
    for entry in bounds[::10]:
        main(["retarget", str(folder / "study"), f"throughput >= {entry['bound']!r}", "--json"])
        advice = json.loads(capsys.readouterr().out)["recommendation"]
        if entry["likely"]:
            assert entry["config"] == "  ".join(f"{k}={v}" for k, v in advice["config"].items())
            assert entry["y"] == pytest.approx(advice["expected"]["power_w"]["mean"])


def test_the_knobs_that_matter_come_first(folder):
    with Study.open(folder / "study", read_only=True) as study:
        charts = page_of(study)["charts"]
    shares = {entry["knob"]: entry["share"] for entry in charts["shares"]["data"]["values"]}
    assert next(iter(shares)) == "cores"  # power depends on nothing else
    assert shares["cores"] > 0.8
    assert charts["map"]["layer"][0]["encoding"]["x"]["title"] == "cores"
    slices = [name for name in charts if name.startswith("slice-")]
    assert len(slices) == 6  # three knobs, two metrics


def test_an_unfinished_a_failed_and_an_empty_study_are_pages_too(tmp_path):
    with Study.create(tmp_path / "empty", small_space(), small_goal(), "bayes", 0, 20, name="empty") as study:
        page = page_of(study)
        assert page["charts"] == {}
        assert page["runs"]["rows"] == []
        assert "not finished" in report_html(study)
        for _ in range(3):
            study.tell(study.ask(), Failed("error", "it broke"), {})
        assert page_of(study)["charts"] == {}
        assert "it broke" in report_html(study)
        study.ask()
        study.tell(study.adopt(DEFAULT, "baseline"), pretend_run(DEFAULT), {})
        assert list(page_of(study)["charts"]) == ["runs", "convergence"]  # one configuration: no model yet


def test_goals_without_a_bound_and_over_a_knob_have_pages(tmp_path):
    with made_study(tmp_path / "free", goal=Goal(minimize="power_w")) as study:
        page = page_of(study)
    assert page["bounds"] == []
    assert "layer" not in page["charts"]["runs"]
    with made_study(tmp_path / "knob", goal=Goal(minimize="cores", subject_to=["throughput >= 20", "power_w <= 60"])) as study:
        assert page_of(study)["charts"]["shares"]["data"]["values"] == [{"knob": "cores", "share": 1.0}]


def test_a_strategy_without_a_model_has_a_page_without_one(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 20, name="toy") as study:
        for _ in range(6):
            trial = study.ask()
            study.tell(trial, pretend_run(trial.config), {})
        page = page_of(study)
    assert page["model_at"] is None
    assert set(page["charts"]) <= {"runs", "convergence"}
    assert page["bounds"] == []


HOSTILE = "</script><img src=x onerror=alert(1)>\x1b]0;x\x07{{ 7*7 }}"


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def test_text_of_strangers_stays_text(tmp_path):
    space = Space(Integer("cores", 1, 4), Categorical("engine", [HOSTILE, "plain"]))
    with Study.create(tmp_path / "s", space, small_goal(), "bayes", 0, 9, name=HOSTILE, job={"unit": HOSTILE}) as study:
        for i, config in enumerate([{"cores": 4, "engine": HOSTILE}, {"cores": 1, "engine": "plain"}, {"cores": 2, "engine": HOSTILE}]):
            outcome = Measured({"power_w": Reading(20.0 + i), "throughput": Reading(20.0 + i)}, flags=(HOSTILE,))
            study.tell(study.adopt(config, "search"), outcome, {"power_source": HOSTILE})
        study.tell(study.adopt({"cores": 3, "engine": "plain"}, "search"), Failed("error", HOSTILE), {})
        study.add_provenance({HOSTILE: {"inner": HOSTILE}})
        page = report_html(study)
    parser = Elements()
    parser.feed(page)
    assert "img" not in parser.found
    assert parser.found.count("script") == 3
    assert "\x1b" not in page
    assert "{{ 7*7 }}" in page


def test_two_hundred_runs_stay_small(tmp_path):
    space = Space(Integer("cores", 1, 28), Integer("batch_size", 1, 32))
    with Study.create(tmp_path / "s", space, small_goal(), "random", 0, 200, name="large") as study:
        for _ in range(200):
            trial = study.ask()
            values = {"power_w": Reading(20.0 + trial.config["cores"]), "throughput": Reading(float(trial.config["batch_size"]))}
            study.tell(trial, Measured(values), {})
        assert len(report_html(study)) < 5e6


def test_the_page_asks_nothing_of_the_network(folder):
    page = (folder / "page.html").read_text()
    assert "default-src 'none'" in page.partition("<style>")[0]  # so that a browser refuses every request
    elements = Elements()
    elements.feed(page)
    assert not {"link", "img", "iframe", "object", "embed"} & set(elements.found)
    assert not re.search(r"<script[^>]*src=", page)


def test_the_command_writes_the_page(folder, tmp_path, capsys):
    assert main(["report", str(folder / "study"), "--out", str(tmp_path / "r.html")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'r.html'}: open it in a browser\n"
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert main(["report", str(tmp_path / "none"), "--out", str(tmp_path / "x.html")]) == 4
    assert not (tmp_path / "x.html").exists()


WALK = """
<script>
document.addEventListener("DOMContentLoaded", async () => {
  while (document.documentElement.dataset.drawn !== "yes") await new Promise((r) => setTimeout(r, 20));
  const note = {charts: [...document.querySelectorAll(".chart")].map((c) => c.querySelectorAll("svg").length), said: []};
  const slider = document.getElementById("slider");
  for (const at of [0, 20, 40]) {
    slider.value = at; slider.dispatchEvent(new Event("input"));
    note.said.push(document.getElementById("bound-says").textContent);
  }
  const rows = () => [...document.querySelectorAll("#all-runs tbody tr")];
  const heads = [...document.querySelectorAll("#all-runs th button")];
  heads.find((h) => h.textContent === "cores").click();
  note.cores = rows().map((r) => Number(r.cells[2].textContent));
  heads.find((h) => h.textContent === "cores").click();
  note.down = rows().map((r) => Number(r.cells[2].textContent));
  const filter = document.getElementById("filter");
  filter.value = "oom"; filter.dispatchEvent(new Event("input"));
  note.shown = rows().filter((r) => !r.hidden).map((r) => r.cells[r.cells.length - 1].textContent);
  document.body.replaceChildren(Object.assign(document.createElement("pre"), {id: "note", textContent: JSON.stringify(note)}));
});
</script>
"""


@pytest.mark.slow
@needs_chromium
def test_in_a_browser_charts_are_drawn_the_slider_moves_the_advice_and_the_table_sorts(folder, tmp_path):
    page = (folder / "page.html").read_text()
    (tmp_path / "walk.html").write_text(page.replace("</head>", WALK + "</head>", 1), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    command = [CHROMIUM or "chromium", *options, "--virtual-time-budget=60000", "--dump-dom", f"file://{tmp_path / 'walk.html'}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=180)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="note">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:]
    note = json.loads(found.group(1).replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    assert note["charts"] == [1] * len(note["charts"])
    assert len(note["charts"]) == 10
    with Study.open(folder / "study", read_only=True) as study:
        bounds = page_of(study)["bounds"]
    for at, said in zip((0, 20, 40), note["said"], strict=True):
        assert bounds[at]["config"] in said
        assert bounds[at]["chance"] in said
    assert note["cores"] == sorted(note["cores"])
    assert note["down"] == sorted(note["cores"], reverse=True)
    assert note["shown"]
    assert all("oom" in text for text in note["shown"])
