"""One cell of a comparison on disk: done once, kept, marked when it fails.

A cell directory holds ``cell.json`` (what was run), ``metrics.jsonl``, ``samples.jsonl``, ``model/``, and in the end
``result.json``, or ``error.txt`` if the run failed. ``result.json`` appears whole or not at all, so a comparison that
was killed goes on where it was.
"""

import dataclasses
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgpo.compare.task import CellSpec, Task
from sgpo.runs.entries import CellResult, FailedCell
from sgpo.runs.files import JsonObject, read_json_object, write_json, write_text
from sgpo.runs.jobs import ProcessJob, ReportProgress, run_jobs
from sgpo.runs.provenance import record
from sgpo.runs.settings import differences, in_a_sentence

Outcome = CellResult | FailedCell


def run_cells(work: Sequence[tuple[CellSpec, Path]], task: Task, processes: int, out: Path) -> dict[str, Outcome]:
    """The results of cells, each with its folder, by the folder's name; ``processes`` of them side by side.

    Finished ones are read first, without a process. Raises ValueError where a folder holds a cell with other settings.
    """
    # All folders before any run, so that one with another cell costs no compute.
    others = {folder: found for cell, folder in work if (found := _differences(cell, folder))}
    if others:
        first, *_ = others
        raise ValueError(
            f"{first} was made with other settings ({in_a_sentence(others[first])}), such as those of an older version "
            f"of sgpo. Delete {' '.join(map(str, others))} to run {'it' if len(others) == 1 else 'them'} again, or "
            "choose another --out."
        )
    done: dict[str, Outcome] = {f.name: read_result(f) for _, f in work if (f / "result.json").exists()}
    jobs = [ProcessJob(f.name, run_once, (task, cell, out, f)) for cell, f in work if f.name not in done]
    return done | (run_jobs(jobs, processes) if jobs else {})


def _differences(cell: Any, folder: Path) -> dict[str, tuple[str, str]]:
    known = folder / "cell.json"
    return differences(read_json_object(known), _described(cell)) if known.exists() else {}


def _described(cell: Any) -> JsonObject:
    return {**dataclasses.asdict(cell), "name": cell.name}


def run_once(task: Task, cell: Any, out: Path, folder: Path, report: ReportProgress) -> Outcome:
    """Run ``cell`` in ``folder``. A failure is returned, and kept in ``error.txt``."""
    described = _described(cell)
    folder.mkdir(parents=True, exist_ok=True)
    # Before the run: a report of a comparison in progress says what a cell is going to be.
    write_json(folder / "cell.json", described)
    record(folder, described)
    # Of an earlier try; a report would call the cell crashed.
    (folder / "error.txt").unlink(missing_ok=True)
    began = time.perf_counter()
    try:
        result = task.run(cell, out, folder, report)
    # The other cells are worth hours: one that fails is marked, and the comparison goes on.
    except Exception as error:
        # The whole traceback for whoever looks into it; tables have its last line.
        write_text(folder / "error.txt", traceback.format_exc())
        return FailedCell(error=_said(error), seed=cell.seed, base_seed=cell.base_seed)
    place = {"method": cell.method, "seed": cell.seed, "base_seed": cell.base_seed}
    result = dataclasses.replace(result, **place, seconds=round(time.perf_counter() - began, 1))
    write_json(folder / "result.json", result.to_json())
    return result


def _said(error: Exception) -> str:
    """An error's kind and message; of a GPU that is full the first sentence, with the remedy."""
    text = f"{type(error).__name__}: {error}"
    if "OutOfMemoryError" not in text:
        return text
    return (
        f"{text.partition('. ')[0]}. Give fewer --jobs, if several cells shared the GPU, or the recipe a smaller "
        "per_device_train_batch_size; the same command runs what is missing."
    )


def read_result(folder: Path) -> CellResult:
    """The result of a finished cell. Raises EntryError for a file that is none."""
    # Strict here, while a report is lenient: a cell that is taken over unread would end as a hole in every mean.
    return CellResult.from_json(read_json_object(folder / "result.json"))
