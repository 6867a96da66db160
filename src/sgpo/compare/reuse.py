"""Runs that another comparison on the lab has done: methods that see no expert are the same under all of them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgpo.compare.fields import EXPERT_KINDS
from sgpo.compare.task import SOURCES
from sgpo.runs.entries import Manifest
from sgpo.runs.files import read_json_object, write_json
from sgpo.runs.settings import differences, in_a_sentence
from sgpo.trainer.methods import find_method

_LEFT_OUT = shutil.ignore_patterns("model", "checkpoint-*")  # large, and nothing of a comparison reads them again


def reuse(source: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Copy the finished runs of ``source`` that see no expert into ``out``, those of its search too.

    What ``out`` has already stays. ``settings`` are those of its manifest.

    Raises ValueError where ``source`` is no comparison, differs from ``out`` in more than the expert, or does not say
    what the content of its bases was.
    """
    path = source / "manifest.json"
    if not path.is_file():
        raise ValueError(f"--reuse {source} holds no comparison (no manifest.json); give the --out of sgpo compare.")
    there = Manifest.from_json(read_json_object(path)).settings
    if SOURCES not in there:
        raise ValueError(
            f"--reuse {source} is of an older version, which did not save from which weights it began, so nothing says "
            "that they are the same. Leave --reuse out, and the runs are done again."
        )
    if found := {name: pair for name, pair in differences(there, settings).items() if name != "budget.expert"}:
        raise ValueError(
            f"--reuse {source} was made with other settings ({in_a_sentence(found)}); only the expert may differ."
        )
    # Those of the search, too: a method that sees no expert was searched alike.
    for known in sorted(source.glob("*/*/cell.json")):
        folder = out / known.parent.relative_to(source)
        cell = read_json_object(known)
        sees_expert = find_method(cell["method"]).kind in EXPERT_KINDS
        if sees_expert or folder.exists() or not (known.parent / "result.json").is_file():
            continue
        part = folder.with_name(f"{folder.name}.part")  # a kill meanwhile must leave no half of a run
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(known.parent, part, ignore=_LEFT_OUT)
        # Else the cell would be refused here as one of other settings.
        cell["budget"]["expert"] = settings["budget"]["expert"]
        write_json(part / "cell.json", cell)
        part.rename(folder)
