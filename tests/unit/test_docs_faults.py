"""docs/faults.md names tests; each of them must exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()
NAMED = re.findall(r"^\| .+ \| `(tests/\S+\.py)::(\w+)` \|$", PAGE, re.MULTILINE)


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for path, name in NAMED:
        tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).is_file() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{path}::{name}")
    assert missing == []


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("| fault |", "|---"))]
    assert len(rows) == len(NAMED) > 50
