"""From a directory to a :class:`sgpo.report.run.Run`. Three kinds are read:

- ``sgpo compare``: manifest.json, cells/NAME/, and results.json once it has finished, which is enough by itself;
- ``sgpo quickstart``: results.json, and a folder of metrics per method;
- ``sgpo train`` (any Hugging Face trainer): see :mod:`sgpo.report.training`.

What a finished comparison has written is drawn as it stands. A quickstart, and a comparison in progress, have results
of single cells alone; :func:`sgpo.compare.results.method_results` makes of them what a finished one would have written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sgpo.compare.results import method_results
from sgpo.report.run import Run, RunCell, State
from sgpo.report.series import collect
from sgpo.report.training import LOG, is_training, training
from sgpo.runs.bounded import read_bounded, read_bounded_rows
from sgpo.runs.entries import CellFacts, CellResult, ComparisonResults, Manifest, MethodResult, MetricsRow
from sgpo.runs.json_entry import EntryError, JsonEntry, each, mapping

SCHEMA = 1
NEVER = 0.02  # where a run does not name them, the families that the base solves no more often than this
MAX_CELLS = 500
MAX_ERROR = 3_000  # characters of error.txt, from its end
EntryT = TypeVar("EntryT", bound=JsonEntry)
_CELL_NAME = re.compile(r"(?P<method>.+?)-base(?P<base>\d+)-seed(?P<seed>\d+)")


def load_run(path: Path) -> Run:
    """Read a directory.

    Raises:
        ValueError: it does not exist, is empty, is of another kind, or was written by a newer version.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is no directory. Give the --out of sgpo compare, sgpo quickstart or sgpo train.")
    if (path / "manifest.json").is_file():
        return _comparison(path)
    if (path / LOG).is_file():
        return training(path)
    if (path / "results.json").is_file() or (path / "sgpo" / "metrics.jsonl").is_file():
        return _quickstart(path)
    if is_training(path):
        return training(path)
    if not any(path.iterdir()):
        raise ValueError(f"{path} is empty: no run has written anything there yet. Is it the right directory?")
    raise ValueError(
        f"{path} holds no run that a report can show: neither manifest.json (sgpo compare), results.json "
        "(sgpo quickstart), training_log.jsonl nor trainer_state.json (sgpo train) is in it."
    )


def _comparison(path: Path) -> Run:
    saved = read_bounded(path / "manifest.json")
    if saved.get("kind") != "sgpo-compare":
        kind = saved.get("kind")
        raise ValueError(f"{path / 'manifest.json'} is of kind {kind!r}; sgpo report reads 'sgpo-compare'.")
    _check_schema(path / "manifest.json", saved)
    manifest = Manifest.from_json(saved)
    notices: list[str] = []
    # The manifest is a file like any other: a name in it must not lead out of the folder.
    names = [name for name in manifest.cells if _is_name(name)]
    if len(names) > MAX_CELLS:
        notices.append(f"Only the first {MAX_CELLS} of {len(names)} cells were read.")
    cells = [_cell(path / "cells" / name, notices) for name in names[:MAX_CELLS]]
    # Of a finished comparison the cells' own results are not read: results.json has all of them.
    if (path / "results.json").is_file():
        run = _finished(path, cells, notices)
        return replace(run, settings=manifest.settings, machine=manifest.machine or "")
    done: dict[str, list[CellResult]] = {}
    for cell in cells:
        if (result := _optional(cell.path / "result.json", CellResult, notices)) is not None:
            done.setdefault(cell.method, []).append(result)
    methods, never = _so_far(done)
    return Run(path, "compare", methods, cells, False, manifest.settings, manifest.machine or "", never, notices)


def _finished(path: Path, cells: list[RunCell], notices: list[str]) -> Run:
    """A comparison from its results.json; ``cells`` are those that are still there."""
    saved = read_bounded(path / "results.json")
    _check_schema(path / "results.json", saved)
    results = ComparisonResults.from_json(saved)
    _name_lost(saved, results.methods, notices)
    notices += [f"Runs of several versions are compared: {line}." for line in results.versions]
    methods, never = list(results.methods.values()), results.never_solved or ()
    return Run(path, "compare", methods, cells, True, results.settings, results.machine or "", never, notices)


def _quickstart(path: Path) -> Run:
    notices: list[str] = []
    finished = (path / "results.json").is_file()
    entries: dict[str, CellResult] = {}
    if finished:
        saved = read_bounded(path / "results.json")
        if not mapping(saved.get("methods")):
            hint = (
                " It is a run of sgpo eval: sgpo eval diff compares two." if (path / "settings.json").exists() else ""
            )
            raise ValueError(f"{path / 'results.json'} has no methods to compare, so there is nothing to show.{hint}")
        # A copy of a comparison's results without its cells: the entries are means over seeds.
        if any("seeds" in mapping(method) for method in saved["methods"].values()):
            return _finished(path, [], notices)
        _check_schema(path / "results.json", saved)
        entries = each(CellResult.from_json)(saved["methods"])
        _name_lost(saved, entries, notices)
    cells = []
    for folder in sorted(p.parent for p in path.glob("*/metrics.jsonl")):
        entry = entries.get(folder.name)
        cell = RunCell(folder.name, folder.name, folder, "done" if entry else "running", entry.seed if entry else None)
        collect(cell, map(MetricsRow.from_json, read_bounded_rows(cell.path / "metrics.jsonl", notices)))
        cells.append(cell)
    methods, never = _so_far({name: [entry] for name, entry in entries.items()})
    return Run(path, "quickstart", methods, cells, finished, never_solved=never, notices=notices)


def _so_far(cells: Mapping[str, Sequence[CellResult]]) -> tuple[list[MethodResult], list[str]]:
    """The methods of cells that no results.json sums up, and the families that their base never solves."""
    base = method_results({"base": cells.get("base", ())}, {})
    never = [f for method in base.values() for f, scores in method.per_family.items() if scores.accuracy <= NEVER]
    return list(method_results(cells, {}, never).values()), never


def _name_lost(saved: Mapping[str, Any], read: Mapping[str, Any], notices: list[str]) -> None:
    for name in mapping(saved.get("methods")).keys() - read.keys():
        notices.append(f"results.json has no accuracy for {name}; it is left out of the comparison.")


def _check_schema(path: Path, value: Mapping[str, Any]) -> None:
    schema = value.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError(f"{path} has schema {schema!r}, but a run has a whole number from 1. Is it a file of sgpo?")
    # A newer version may mean something else by the same name.
    if schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}; this version of sgpo reads up to {SCHEMA}. Update sgpo.")


def _is_name(name: Any) -> bool:
    """Whether a cell's name is one folder, and does not lead elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\x00]", name)


def _cell(path: Path, notices: list[str]) -> RunCell:
    """A cell, as far as it got."""
    facts = _optional(path / "cell.json", CellFacts, notices) or CellFacts()
    named = _CELL_NAME.fullmatch(path.name)
    method = facts.method or (named["method"] if named else path.name)
    state: State = "done" if (path / "result.json").is_file() else "waiting"
    cell = RunCell(path.name, method, path, state, facts.seed, facts.base_seed)
    if named and cell.seed is None:  # before a cell has begun, its name says what it will be
        cell.seed, cell.base_seed = int(named["seed"]), int(named["base"])
    if state == "waiting" and (path / "error.txt").is_file():
        cell.state = "crashed"
        cell.error = _tail(path / "error.txt")
    collect(cell, map(MetricsRow.from_json, read_bounded_rows(cell.path / "metrics.jsonl", notices)))
    if cell.series and cell.state == "waiting":
        cell.state = "running"
    return cell


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        # From the end, where a traceback says what went wrong. A character has four bytes at most.
        file.seek(max(0, size - 4 * MAX_ERROR))
        text = file.read().decode("utf-8", errors="replace").strip()
    return text if len(text) <= MAX_ERROR else "... " + text[-MAX_ERROR:]


def _optional(path: Path, kind: type[EntryT], notices: list[str]) -> EntryT | None:
    """An entry in a file that may not be there yet; one that cannot be read is said in ``notices``."""
    if not path.is_file():
        return None
    try:
        return kind.from_json(read_bounded(path))
    except EntryError as error:
        notices.append(f"{path.parent.name}/{path.name} cannot be used: {error}.")
    except ValueError as error:
        notices.append(str(error))
    return None
