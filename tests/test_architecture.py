"""The import arrows of the house, held by walking every import statement; and what a bare import may cost."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
ROOT = HOUSE / "bayestuner"
LEAVES = {"codec", "errors", "files", "forking", "space", "goal", "trial", "foreign_text", "_version"}
FLOORS = {"measure", "search"}  # what is in them are rooms of their own; files at their top are rooms of one file
MEASURE_BELOW_RUN = {"measure.actuators", "measure.cgroup", "measure.energy", "measure.machine", "measure.platform"}
# Room -> the rooms it may import beside itself and the leaves; "measure" stands for every room of that floor.
ALLOWED = {
    "cli": {"report", "tune", "study", "search", "measure", "simulate", "zoo"},
    "report": {"tune", "study", "search", "measure", "simulate", "zoo"},
    "tune": {"study", "search", "measure"},
    "study": {"search"},
    "search.optimize": {"search.engine", "search.strategy"},
    "search.trade_off": {"search.strategies"},
    "search.strategies": {"search.engine", "search.strategy", "surrogate", "_core"},
    "search.engine": {"search.strategy", "surrogate", "_core"},
    "search.strategy": set(),
    "surrogate": {"_core"},
    "measure.doctor": MEASURE_BELOW_RUN | {"_native"},
    "measure.run": MEASURE_BELOW_RUN | {"measure.job"},
    "measure.job": {"measure.actuators", "measure.cgroup", "measure.machine", "measure.metrics", "measure.platform"},
    "measure.table": {"measure.job", "measure.metrics"},
    "measure.actuators": {"measure.cgroup", "measure.energy", "measure.machine", "measure.platform"},
    "measure.machine": {"measure.cgroup", "measure.energy"},
    "measure.platform": {"measure.cgroup", "measure.energy"},
    "measure.energy": {"measure.cgroup", "_native"},
    "measure.cgroup": {"_native"},
    "measure.metrics": set(),
    "measure.http_load": {"measure.http_client", "measure.reporter"},
    "measure.http_client": set(),
    "measure.reporter": set(),
    "integrations": {"search.engine"},
    "simulate": set(),
    "zoo": {"measure.reporter"},
    "__init__": {"search.engine", "search.optimize", "study", "report"},
    "__main__": {"cli"},
    "_native": set(),
    "_core": set(),
    "leaves": set(),
}
WITHOUT_LEAVES = {"_core", "_native", "measure.reporter"}
# Room without leaves -> the leaves that it may import all the same, by the beginning of the name.
EXCEPT = {"_core": {"bayestuner.files", "bayestuner.errors"}}
THIRD_PARTY = {
    "surrogate": {"numpy", "scipy"},
    "_core": {"numpy", "numba", "llvmlite"},
    "zoo": {"numpy", "onnx", "onnxruntime"},
    "report": {"numpy", "matplotlib", "jinja2", "vl_convert", "pandas"},
    "integrations": {"optuna", "ray"},
    "measure": {"numpy"},
    "study": {"numpy"},
    "tune": {"numpy"},
    "search": {"numpy"},
    "simulate": {"numpy"},
    "leaves": {"numpy"},
}
# imported inside a function only, so that what stands above stays light
LAZY = {("search", "_core"), ("surrogate", "_core"), ("surrogate", "scipy"), ("measure", "_native"), ("zoo", "onnx"), ("cli", "zoo")}

MEND = "import it inside the function that needs it"

FILES = sorted(ROOT.rglob("*.py"))


def room_of(module: str) -> str:
    """The room that a module of the package stands in, by its dotted name without ``bayestuner.``; a floor's own docstring is the floor."""
    parts = module.split(".")
    if parts[0] in LEAVES:
        return "leaves"
    return ".".join(parts[: 2 if parts[0] in FLOORS else 1]) or "__init__"


def floor_of(room: str) -> str:
    return room.partition(".")[0]


def module_of(path: Path) -> str:
    """Dotted name without ``bayestuner.``; empty for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path):
    """(module, at top level, line) of every import that runs; those under TYPE_CHECKING don't."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(n) for body in node.body for n in ast.walk(body)}
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for name in modules_meant(node):
                yield name, id(node) in top, node.lineno


def modules_meant(node: ast.ImportFrom) -> set[str]:
    """Modules that ``from a.b import c`` imports: ``a.b.c`` where that is a file of the package, else ``a.b``."""
    deeper = {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name for name in deeper if name.startswith("bayestuner.") and name.removeprefix("bayestuner.") in MODULES}
    return ours or {node.module}


MODULES = {module_of(path) for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that one file imports, inside functions and for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= modules_meant(node)
    return {name.removeprefix("bayestuner.") for name in found if name.startswith("bayestuner.")} & MODULES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    room = room_of(module_of(path))
    floor = floor_of(room)
    if path.name == "__init__.py" and room in FLOORS:
        assert list(imports(path)) == [], f"{path}: a floor holds rooms and its docstring, nothing else"
        return
    assert room in ALLOWED, f"{room} is no room of the house; add it to docs/architecture.md and to this table first"
    allowed = ALLOWED[room] | {room} | (set() if room in WITHOUT_LEAVES else {"leaves"})
    for module, top, line in imports(path):
        first, _, rest = module.partition(".")
        where = f"{path.relative_to(ROOT)}:{line} imports {module}"
        if first == "bayestuner":
            target = room_of(rest)
            excepted = module.startswith(tuple(EXCEPT.get(room, ())))
            assert {target, floor_of(target)} & allowed or excepted, where
            behind = path.name.endswith("_native.py")  # a file that is itself imported only inside functions
            assert behind or not (top and (floor, floor_of(target)) in LAZY), (
                f"{where} at the top; import it inside the function that needs it"
            )
        elif first not in sys.stdlib_module_names:
            assert first in THIRD_PARTY.get(floor, set()), where
            assert not (top and (floor, first) in LAZY), f"{where} at the top: {MEND}"


def cycles(arrows: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when every node without arrows out of it is taken away, again and again: cycles and what leads to them."""
    left = {node: set(targets) for node, targets in arrows.items()}
    while ends := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in ends:
            del left[node]
    return sorted(left)


def test_no_two_files_import_each_other_in_a_circle():
    arrows = {module_of(path): imported_modules(path) - {module_of(path)} for path in FILES}
    assert sum(map(len, arrows.values())) > 2 * len(FILES), "the walk finds hardly any import"
    assert cycles(arrows) == []


def drawn_arrows() -> dict[str, set[str]]:
    """Room -> the rooms it imports that it does not reach by way of another one (leaves left out): what the picture draws."""
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        if path.name == "__main__.py" and path.parent == ROOT:
            continue
        room = room_of(module_of(path))
        arrows.setdefault(room, set()).update(room_of(module) for module in imported_modules(path))
    arrows = {room: targets - {room, "leaves"} for room, targets in arrows.items() if room != "leaves" and room not in FLOORS}
    assert cycles(arrows) == []

    def reached(room: str) -> set[str]:
        return set().union(*(({target} | reached(target)) for target in arrows[room]), set())

    return {room: {t for t in targets if not any(t in reached(other) for other in targets)} for room, targets in arrows.items()}


def test_the_picture_of_the_architecture_shows_the_arrows_of_the_code():
    drawn = drawn_arrows()
    lines = sorted(f"    {room} --> {target}" for room, targets in drawn.items() for target in targets)
    page = (HOUSE / "docs" / "architecture.md").read_text()
    picture = page.partition("```mermaid\n")[2].partition("```")[0]
    shown = sorted(line for line in picture.splitlines() if "-->" in line)
    assert shown == lines, "the lines with an arrow in docs/architecture.md should be:\n" + "\n".join(lines)
    rooms = {room for room in drawn if room != "__init__"} | {"__init__"}
    assert {room for room in rooms if f"`{room}`" not in page} == set(), "rooms that docs/architecture.md does not describe"


def test_every_file_that_the_map_names_exists():
    page = (HOUSE / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|c|h|md|toml))`", page))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (HOUSE / name).exists() and not (ROOT / name).exists()] == []


def test_every_room_says_what_it_is():
    for room in sorted(path.parent for path in FILES if path.name == "__init__.py" and path.parent != ROOT):
        said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
        assert said.count(".") >= 2, f"{room.relative_to(HOUSE)}/__init__.py: say in two sentences what the room is and what it may touch"


def test_the_search_for_circles_finds_one():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert cycles({"a": {"b", "d"}, "b": {"d"}, "d": set()}) == []


def test_the_walk_finds_a_forbidden_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("from bayestuner.surrogate import gp\nimport bayestuner.search\nfrom bayestuner.space import Space\n")
    assert [m for m, _, _ in imports(bad)] == ["bayestuner.surrogate.gp", "bayestuner.search", "bayestuner.space"]


def test_njit_stands_in_core_only():
    for path in FILES:
        if room_of(module_of(path)) != "_core":
            assert not any(m.split(".")[0] == "numba" for m, _, _ in imports(path)), path


def loaded_after(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    return set(json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout))


@pytest.mark.parametrize(
    "statement",
    [
        "import bayestuner",
        "import bayestuner as bt; bt.Tuner(bt.Space(bt.Integer('a', 1, 3)), bt.Goal(minimize='y'))",
    ],
)
def test_a_bare_import_loads_nothing_heavy(statement):
    loaded = loaded_after(statement)
    heavy = {m for m in loaded if m.split(".")[0] in ("numba", "llvmlite", "scipy", "cffi", "onnx", "onnxruntime", "matplotlib")}
    assert not heavy
    assert not any(m.startswith(("bayestuner._native", "bayestuner.measure", "bayestuner._core")) for m in loaded)


def import_seconds(statement: str) -> float:
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    return min(float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(5))


def test_import_costs_little_more_than_numpy():
    """Under 0.15 s of CPU time more than numpy; the best of five, since this machine is shared."""
    assert import_seconds("import numpy, bayestuner") - import_seconds("import numpy") < 0.15
