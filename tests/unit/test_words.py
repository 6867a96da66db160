"""Docstrings are read by someone who has never seen the project: they say what they are of."""

import ast
from pathlib import Path

import typer

import sgpo
from sgpo.cli import app

DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def first_lines(path: Path) -> list[tuple[int, str]]:
    """Line number and first line of each docstring of a file."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, DEFINITIONS)]
    found = [(getattr(node, "lineno", 1), ast.get_docstring(node) or "") for node in nodes]
    return [(line, text.split("\n")[0]) for line, text in found if text]


def test_no_docstring_is_a_riddle() -> None:
    root = Path(sgpo.__file__).parent
    lines = [(path.relative_to(root), *line) for path in sorted(root.rglob("*.py")) for line in first_lines(path)]
    assert len(lines) > 1000
    assert [line for line in lines if line[2].startswith(("Of ", "See "))] == []
    assert [line for line in lines if len(line[2].split()) < 3] == []


def test_the_help_of_a_command_begins_with_what_it_does() -> None:
    verbs = {
        "Check",
        "Compare",
        "Estimate",
        "Evaluate",
        "Extract",
        "Find",
        "Judge",
        "Measure",
        "Merge",
        "Print",
        "Score",
        "Train",
        "Write",
    }
    said, groups = {}, [("sgpo", typer.main.get_command(app))]
    for path, group in groups:
        for name, command in getattr(group, "commands", {}).items():
            said[f"{path} {name}"] = (command.help or "").split()[0].strip(",")
            groups.append((f"{path} {name}", command))
    assert len(said) > 15
    assert {path: word for path, word in said.items() if word not in verbs} == {}
