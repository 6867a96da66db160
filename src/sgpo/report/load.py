"""From a directory to a :class:`sgpo.report.run.Run`. Three kinds are read:

- ``sgpo compare``: manifest.json, cells/NAME/, and results.json once it has finished;
- ``sgpo quickstart``: results.json, and a folder of metrics per method;
- ``sgpo train`` (any Hugging Face trainer): see :mod:`sgpo.report.training`.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sgpo.evaluation.axes import AxisScores
from sgpo.report.files import mapping, number, numbers, read_lines, read_object
from sgpo.report.run import Cell, Difference, Method, Run, State
from sgpo.report.series import collect
from sgpo.report.training import LOG, is_training, training

SCHEMA = 1
COSTS = ("learning_rate", "sampled_tokens", "guided_tokens", "trained_tokens", "train_seconds")
CONTROL = ("problems", "own_kl", "other_kl", "copied")
MAX_CELLS = 500
MAX_ERROR = 3_000  # characters of error.txt, from its end
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
    manifest = read_object(path / "manifest.json")
    kind = manifest.get("kind")
    if kind != "sgpo-compare":
        raise ValueError(f"{path / 'manifest.json'} is of kind {kind!r}; sgpo report reads 'sgpo-compare'.")
    _check_schema(path / "manifest.json", manifest)
    notices: list[str] = []
    listed = manifest.get("cells")
    names = [name for name in listed if _is_name(name)] if isinstance(listed, list) else []
    if len(names) > MAX_CELLS:
        notices.append(f"Only the first {MAX_CELLS} of {len(names)} cells were read.")
    found = [_cell(path / "cells" / name, notices) for name in names[:MAX_CELLS]]
    cells = [cell for cell, _ in found]
    results: dict[str, Any] = {}
    finished = (path / "results.json").is_file()
    if finished:
        results = read_object(path / "results.json")
        _check_schema(path / "results.json", results)
        methods = _methods(mapping(results.get("methods")), notices)
    else:
        methods = _methods_so_far(found)
    run = Run(path, "compare", methods, cells, finished, notices=notices)
    run.settings, run.machine = mapping(manifest.get("settings")), str(manifest.get("machine") or "")
    if isinstance(never := results.get("never_solved"), list):
        run.never_solved = [family for family in never if isinstance(family, str)]
    return run


def _quickstart(path: Path) -> Run:
    notices: list[str] = []
    results: dict[str, Any] = {}
    finished = (path / "results.json").is_file()
    if finished:
        results = read_object(path / "results.json")
        if not mapping(results.get("methods")):
            hint = (
                " It is a run of sgpo eval: sgpo eval diff compares two." if (path / "settings.json").exists() else ""
            )
            raise ValueError(f"{path / 'results.json'} has no methods to compare, so there is nothing to show.{hint}")
        _check_schema(path / "results.json", results)
    entries = mapping(results.get("methods"))
    cells = []
    for folder in sorted(p.parent for p in path.glob("*/metrics.jsonl")):
        cell = Cell(folder.name, folder.name, folder, "done" if folder.name in entries else "running")
        cell.seed = mapping(entries.get(folder.name)).get("seed")
        _read_metrics(cell, notices)
        cells.append(cell)
    return Run(path, "quickstart", _methods(entries, notices), cells, finished, notices=notices)


def _check_schema(path: Path, value: dict[str, Any]) -> None:
    schema = value.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError(f"{path} has schema {schema!r}, but a run has a whole number from 1. Is it a file of sgpo?")
    if schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}; this version of sgpo reads up to {SCHEMA}. Update sgpo.")


def _is_name(name: Any) -> bool:
    """Whether a cell's name is one folder, and does not lead elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\x00]", name)


def _cell(path: Path, notices: list[str]) -> tuple[Cell, dict[str, Any]]:
    """A cell and its result.json (empty until it is done)."""
    result, facts = _optional(path / "result.json", notices), _optional(path / "cell.json", notices)
    named = _CELL_NAME.fullmatch(path.name)
    method = facts.get("method") or (named["method"] if named else path.name)
    state: State = "done" if result else "waiting"
    cell = Cell(path.name, str(method), path, state, facts.get("seed"), facts.get("base_seed"))
    if named and cell.seed is None:
        cell.seed, cell.base_seed = int(named["seed"]), int(named["base"])
    if not result and (path / "error.txt").is_file():
        cell.state = "crashed"
        cell.error = _tail(path / "error.txt")
    _read_metrics(cell, notices)
    if cell.series and cell.state == "waiting":
        cell.state = "running"
    return cell, result


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4 * MAX_ERROR))
        text = file.read().decode("utf-8", errors="replace").strip()
    return text if len(text) <= MAX_ERROR else "... " + text[-MAX_ERROR:]


def _optional(path: Path, notices: list[str]) -> dict[str, Any]:
    try:
        return read_object(path) if path.is_file() else {}
    except ValueError as error:
        notices.append(str(error))
        return {}


def _read_metrics(cell: Cell, notices: list[str]) -> None:
    collect(cell, read_lines(cell.path / "metrics.jsonl", notices))


def _methods(entries: dict[str, Any], notices: list[str]) -> list[Method]:
    methods = []
    for name, entry in entries.items():
        method = _method(name, mapping(entry))
        if method is None:
            notices.append(f"results.json has no accuracy for {name}; it is left out of the comparison.")
        else:
            methods.append(method)
    return methods


def _method(name: str, entry: dict[str, Any]) -> Method | None:
    accuracy = number(entry.get("accuracy"))
    if accuracy is None:
        return None
    families = {f: number(mapping(v).get("accuracy")) for f, v in mapping(entry.get("per_family")).items()}
    listed = entry.get("seeds")
    seeds = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    if not seeds and "seed" in entry:
        seeds = [entry]
    interval = numbers(entry.get("accuracy_ci95"), 2)
    return Method(
        name,
        accuracy,
        (interval[0], interval[1]) if interval else None,
        per_family={f: value for f, value in families.items() if value is not None},
        seeds={(str(e.get("seed")), str(e.get("base_seed"))): e for e in seeds},
        costs={key: value for key in COSTS if (value := number(entry.get(key))) is not None},
        n_problems=int(number(entry.get("n_problems")) or 0),
        k=int(number(entry.get("k")) or 0),
        to_sgpo=_differences(entry.get("sgpo_minus")),
        axes=[axes for seed in (seeds or [entry]) if (axes := _axes(seed))],
        control=_control(entry),
        axes_minus={name: _differences(found) for name, found in mapping(entry.get("axes_minus")).items()},
    )


def _axes(entry: dict[str, Any]) -> dict[str, AxisScores]:
    """What one seed reached on each axis; an axis without an accuracy is left out."""
    found = {}
    for axis, values in mapping(entry.get("axes")).items():
        known = {name: number(value) for name, value in mapping(values).items()}
        if (accuracy := known.get("accuracy")) is not None:
            curve = {int(k): v for k, v in mapping(mapping(values).get("pass_at_k")).items() if k.isdecimal()}
            curve = {k: share for k, value in curve.items() if k and (share := number(value)) is not None}
            found[axis] = AxisScores.of_json({**known, "accuracy": accuracy, "pass_at_k": curve})
    return found


def _control(entry: dict[str, Any]) -> dict[str, float]:
    """All of the control of :mod:`sgpo.lab.control`, or nothing."""
    saved = mapping(entry.get("strategy_control"))
    found = {name: value for name in CONTROL if (value := number(saved.get(name))) is not None}
    return found if len(found) == len(CONTROL) else {}


def _differences(saved: Any) -> dict[str, Difference]:
    """Another method minus this one in each measure; the ends of an interval are null for a single seed."""
    found = {}
    for measure, values in mapping(saved).items():
        if ends := numbers(values, 3):
            found[measure] = Difference(ends[0], (ends[1], ends[2]), 0)
        elif isinstance(values, list) and values and (mean := number(values[0])) is not None:
            found[measure] = Difference(mean, None, 0)
    return found


def _methods_so_far(found: list[tuple[Cell, dict[str, Any]]]) -> list[Method]:
    """What the finished cells of a comparison in progress say: means over their seeds."""
    methods = []
    for name in dict.fromkeys(cell.method for cell, _ in found):
        cells = [(c, r) for c, r in found if c.method == name and number(r.get("accuracy")) is not None]
        if not cells:
            continue
        first = _method(name, cells[0][1])
        assert first is not None
        first.seeds = {(str(c.seed), str(c.base_seed)): r for c, r in cells}
        all_of_it = [m for _, r in cells if (m := _method(name, r))]
        first.accuracy = _mean(m.accuracy for m in all_of_it)
        first.axes = [axes for m in all_of_it for axes in m.axes]
        first.per_family = {f: _mean(m.per_family[f] for m in all_of_it if f in m.per_family) for f in first.per_family}
        first.costs = {key: _mean(m.costs[key] for m in all_of_it if key in m.costs) for key in first.costs}
        methods.append(first)
    return methods


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
