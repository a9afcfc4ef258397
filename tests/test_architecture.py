"""The import arrows of the house, held by walking every import statement; and what a bare import may cost."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "bayestuner"
LEAVES = {"errors", "space", "goal", "trial", "_version"}
ALLOWED = {
    "cli": {"cli", "report", "tune", "study", "search", "measure", "simulate", "zoo", *LEAVES},
    "report": {"report", "tune", "study", "search", "measure", "simulate", "zoo", *LEAVES},
    "tune": {"tune", "study", "search", "measure", *LEAVES},
    "study": {"study", "search", *LEAVES},
    "search": {"search", "surrogate", "_core", *LEAVES},
    "surrogate": {"surrogate", "_core", *LEAVES},
    "_core": {"_core"},
    "measure": {"measure", "_native", *LEAVES},
    "simulate": {"simulate", *LEAVES},
    "zoo": {"zoo", "measure.reporter", *LEAVES},
    "_native": {"_native"},
    "__init__": {"search", *LEAVES},
    "__main__": {"cli"},
    **dict.fromkeys(LEAVES, LEAVES),
}
THIRD_PARTY = {
    "surrogate": {"numpy", "scipy"},
    "_core": {"numpy", "numba", "llvmlite"},
    "zoo": {"numpy", "onnx", "onnxruntime"},
    "report": {"numpy", "matplotlib"},
    "_native": set(),
    "measure": {"numpy"},
    "study": {"numpy"},
    "tune": {"numpy"},
    "search": {"numpy"},
    "simulate": {"numpy"},
    "space": {"numpy"},
}
# imported inside a function only, so that the rooms above stay light
LAZY = {("search", "_core"), ("surrogate", "_core"), ("surrogate", "scipy"), ("measure", "_native"), ("zoo", "onnx"), ("cli", "zoo")}

FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


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
            if node.module == "bayestuner":
                for alias in node.names:
                    yield f"bayestuner.{alias.name}", id(node) in top, node.lineno
            else:
                yield node.module, id(node) in top, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    room = room_of(path)
    assert room in ALLOWED, f"{room} is no room of the house; add it to the design and to this table first"
    for module, top, line in imports(path):
        parts = module.split(".")
        where = f"{path.relative_to(ROOT)}:{line} imports {module}"
        if parts[0] == "bayestuner":
            target = parts[1] if len(parts) > 1 else "__init__"
            assert target in ALLOWED[room] or ".".join(parts[1:3]) in ALLOWED[room], where
            behind = path.name.endswith("_native.py")  # a file that is itself imported only inside functions
            assert behind or not (top and (room, target) in LAZY), f"{where} at the top; import it inside the function that needs it"
        elif parts[0] not in sys.stdlib_module_names:
            assert parts[0] in THIRD_PARTY.get(room, set()), where
            assert not (top and (room, parts[0]) in LAZY), f"{where} at the top; import it inside the function that needs it"


def module_of(path: Path) -> str:
    parts = ("bayestuner", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """Files of the package that one file imports, inside functions and for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            deeper = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= deeper or {node.module}
    return found & modules


def cycles(arrows: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when every node without arrows out of it is taken away, again and again: cycles and what leads to them."""
    left = {node: set(targets) for node, targets in arrows.items()}
    while ends := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in ends:
            del left[node]
    return sorted(left)


def test_no_two_files_import_each_other_in_a_circle():
    modules = {module_of(path) for path in FILES}
    arrows = {module_of(path): imported_modules(path, modules) - {module_of(path)} for path in FILES}
    assert sum(map(len, arrows.values())) > 2 * len(FILES), "the walk finds hardly any import"
    assert cycles(arrows) == []


def test_the_search_for_circles_finds_one():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert cycles({"a": {"b", "d"}, "b": {"d"}, "d": set()}) == []


def test_the_walk_finds_a_forbidden_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("from bayestuner.surrogate import gp\nimport bayestuner.search\n")
    assert [m for m, _, _ in imports(bad)] == ["bayestuner.surrogate", "bayestuner.search"]


def test_njit_stands_in_core_only():
    for path in FILES:
        if room_of(path) != "_core":
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
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return min(float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(5))


def test_import_costs_little_more_than_numpy():
    """Under 0.15 s more than numpy; the best of five, since this machine is shared."""
    assert import_seconds("import numpy, bayestuner") - import_seconds("import numpy") < 0.15
