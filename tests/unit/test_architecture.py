"""Imports point one way, and the light entry points stay light: objectives, runs <- data <- models <- strategies,
rewards <- trainer <- evaluation, lab <- report, command line.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sgpo

ROOT = Path(sgpo.__file__).parent
TOP = {"compare", "plan", "report", "cli", "commands"}
# package -> the packages of sgpo that its modules must not import
FORBIDDEN: dict[str, set[str]] = {
    "objectives": {"runs", "strategies", "rewards", "data", "models", "trainer", "evaluation", "lab", *TOP},
    "runs": {"objectives", "strategies", "rewards", "data", "models", "trainer", "evaluation", "lab", *TOP},
    **{package: {"trainer", "evaluation", "lab", *TOP} for package in ("strategies", "rewards")},
    "mathtext": {
        "objectives",
        "runs",
        "strategies",
        "rewards",
        "data",
        "models",
        "trainer",
        "evaluation",
        "lab",
        *TOP,
    },
    "data": {"models", "rewards", "strategies", "trainer", "evaluation", "lab", *TOP},
    "models": {"rewards", "strategies", "trainer", "evaluation", "lab", *TOP},
    "trainer": {"evaluation", "lab", *TOP},
    "evaluation": {"lab", *TOP},
    "lab": TOP,
    "compare": {"plan", "report", "cli", "commands"},
    "plan": {"compare", "report", "cli", "commands"},
    "report": {"plan", "cli", "commands"},  # it draws what `compare.results` sums up
}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in a file, those inside functions too."""
    package = ["sgpo", *path.relative_to(ROOT).with_suffix("").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from sgpo import rewards` names a package, too
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def violations(package: str) -> list[str]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for _, name in imported(path):
            parts = name.split(".")
            if parts[0] == "sgpo" and len(parts) > 1 and parts[1] in FORBIDDEN[package]:
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    assert (ROOT / package).is_dir()
    assert violations(package) == []


def circles() -> set[frozenset[str]]:
    """The strongly connected components, of two packages or more, of the graph of imports between packages."""
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    arrows: dict[str, set[str]] = {package: set() for package in packages}
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            names = [name.split(".") for _, name in imported(path)]
            arrows[package] |= {parts[1] for parts in names if parts[0] == "sgpo" and len(parts) > 1} & packages
    reached = {package: _reached(package, arrows) for package in packages}
    found = {frozenset(b for b in packages if b in reached[a] and a in reached[b]) for a in packages}
    return {circle for circle in found if len(circle) > 1}


def _reached(package: str, arrows: dict[str, set[str]]) -> set[str]:
    found, waiting = set(arrows[package]), list(arrows[package])
    while waiting:
        new = arrows[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_no_circle_between_packages() -> None:
    """FORBIDDEN lists pairs by hand; a circle through several packages shows only here."""
    assert circles() == set()


def test_a_circle_through_three_packages_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for package, text in (("a", "from sgpo import b"), ("b", "import sgpo.c.m"), ("c", "from ..a import x"), ("d", "")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(text)
    assert circles() == {frozenset("abc")}


def test_objectives_import_nothing_else_of_sgpo() -> None:
    for path in (ROOT / "objectives").rglob("*.py"):
        for line, name in imported(path):
            inside = not name.startswith("sgpo") or name.startswith("sgpo.objectives")
            assert inside, f"{path.name}:{line} imports {name}"


def test_the_scan_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    lines = (
        "import sgpo.lab",
        "from sgpo import lab",
        "from ..lab import x",
        "from .. import lab",
        "from .lab import y",
    )
    (tmp_path / "data" / "m.py").write_text("def f():\n" + "".join(f"    {line}\n" for line in lines))
    names = [name for _, name in imported(tmp_path / "data" / "m.py")]
    assert names == ["sgpo.lab", "sgpo.lab", "sgpo.lab.x", "sgpo.lab", "sgpo.data.lab.y"]
    assert len(violations("data")) == 4


# The API, the lab and the verifier are imported by these names; every `main` is a program's.
TWICE_ON_PURPOSE = {"Problem", "evaluate", "export", "extract", "main", "parse", "rank", "verify"}
# Still to be renamed, in the packages of strategies, rewards and texts. This list only gets shorter.
STILL_TWICE: set[str] = set()


def doubles() -> dict[str, list[str]]:
    """The public functions and classes that two modules define, with these modules."""
    found: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_one_name_is_one_thing() -> None:
    found = doubles()
    new = {name: modules for name, modules in found.items() if name not in TWICE_ON_PURPOSE | STILL_TWICE}
    assert new == {}, "give one of the two another name"
    assert found.keys() >= STILL_TWICE, "take the name that is gone off the list"


HEAVY = ("torch", "transformers", "trl", "datasets", "accelerate", "matplotlib", "pandas")
LIGHT = {
    "import sgpo": "import sgpo",
    "import sgpo.runs.files": "import sgpo.runs.files",
    "import sgpo.cli": "import sgpo.cli",
    "import sgpo.runs.methods": "import sgpo.runs.methods",
    "import sgpo.runs.processes": "import sgpo.runs.processes",
    "sgpo --help": "import sys; sys.argv = ['sgpo', '--help']\nfrom sgpo.cli import main\n"
    "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code",
} | {
    f"sgpo {words} --hardware h10": f"import sys; sys.argv = ['sgpo', *{words.split()}, '--hardware', 'h10']\n"
    "from sgpo.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert end.code"
    for words in ("train --check --config x.yaml", "plan --config x.yaml", "init model data")
}


@pytest.mark.parametrize("name", LIGHT)
def test_light_entry_points_import_nothing_heavy(name: str) -> None:
    report = f"\nimport sys; print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", LIGHT[name] + report], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    if name == "sgpo --help":
        assert "quickstart" in done.stdout
        assert "train" in done.stdout
    assert ("unknown hardware 'h10' (did you mean h100" in done.stderr) == ("h10" in name)


def test_what_only_an_extra_brings_is_imported_where_it_is_used() -> None:
    without = "import sys; sys.modules.update(dict.fromkeys(('peft', 'matplotlib', 'requests', 'openai')))\n"
    commands = (
        "import sgpo.commands._init, sgpo.commands._check, sgpo.compare.run, sgpo.lab.quickstart, sgpo.plan.render"
    )
    done = subprocess.run([sys.executable, "-c", without + commands], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
