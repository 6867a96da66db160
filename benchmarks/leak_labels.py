"""Strategies that were labelled by reading, for the scripts and tests that score the leak check.

A row has `id`, `problem`, `answer`, `response`, `strategy`, `label` (true where it leaks), `kind` and `split`. Problems
of public benchmarks are not in this repository: such a row has `problem_sha256` in place of `problem`, and its text is
looked for in the benchmarks' own files, in `BENCHMARKS` or the folder that the variable `SGPO_BENCHMARKS` names. What
the reader put behind it, such as options, is in `added`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sgpo.data.benchmarks import BenchmarkError, load_file

ROOT = Path(__file__).parent.parent
BENCHMARKS = Path(os.environ.get("SGPO_BENCHMARKS", ROOT.parent / "shared" / "benchmarks"))
Row = dict[str, Any]


def digest(problem: str) -> str:
    """What names a problem's text, however its spaces are set."""
    return hashlib.sha256(" ".join(problem.split()).encode()).hexdigest()[:16]


@functools.cache
def problems(folder: Path = BENCHMARKS) -> dict[str, str]:
    """The problems of all files of a folder by their digests; files that hold none are passed over."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix in (".jsonl", ".parquet") and ".meta." not in path.name:
            try:
                found |= {digest(row.problem): row.problem for row in load_file(path)}
            except BenchmarkError:
                continue
    return found


def _problem(row: Row, known: dict[str, str]) -> str:
    text = row.get("problem") or known.get(row["problem_sha256"], "")
    return f"{text} {row['added']}" if text and "added" in row else text


def read(paths: Iterable[Path]) -> tuple[list[Row], int]:
    """The rows of some files, and how many were left out since their problem is not at hand."""
    texts = (line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    rows = [{"split": "given"} | json.loads(text) for text in texts]
    known = problems() if any("problem" not in row for row in rows) else {}
    whole = [row | {"problem": _problem(row, known)} for row in rows]
    # Files from elsewhere call the label `leak`.
    kept = [row | {"label": row.get("label", row.get("leak"))} for row in whole if row["problem"]]
    return kept, len(rows) - len(kept)
