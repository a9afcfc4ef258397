"""Everything a README or an example shows is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
SHORTER = {"colocation.py": ["--runs", "3", "--seconds", "0.6"]}  # than what a user would run
needs_two = pytest.mark.skipif(
    os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2, reason="needs root, writable cgroup controllers and two CPUs"
)
NEEDS = {"colocation.py": needs_two}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def python_blocks():
    return [pytest.param(block, id=f"{page.name}-{i}") for page in PAGES for i, block in enumerate(blocks(page, "python"))]


@pytest.mark.slow
@pytest.mark.parametrize("block", python_blocks())
def test_python_block_runs(block, tmp_path):
    subprocess.run([sys.executable, "-W", "error", "-c", block], check=True, cwd=tmp_path, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("script", [pytest.param(p, id=p.name, marks=NEEDS.get(p.name, ())) for p in SCRIPTS])
def test_example_runs(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *SHORTER.get(script.name, [])],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip()


def test_the_readme_has_python_to_run():
    assert blocks(ROOT / "README.md", "python")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_named_in_the_readme_exists():
    targets = set(re.findall(r"^ {4}make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{t}:", makefile, flags=re.MULTILINE) for t in targets)


def test_every_subcommand_named_in_the_readme_exists():
    text = "\n".join(b for page in PAGES for b in blocks(page, "console") + blocks(page, "sh"))
    named = set(re.findall(r"(?:^|\s)bayestuner ([a-z-]+)", text))
    environment = {**os.environ, "COLUMNS": "100"}
    for name in named:
        subprocess.run([sys.executable, "-m", "bayestuner", name, "--help"], check=True, capture_output=True, env=environment, timeout=60)
