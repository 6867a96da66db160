"""The folder of a run: settings, prompts, responses, verdicts, results.

``responses.jsonl`` and ``verdicts.jsonl`` are only ever appended to, one portion at a time, flushed to the disk before
the run goes on. What kill -9 can leave is a torn last line, which is cut off when the folder is opened again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sgpo.evaluation.backends.base import Key

COMPARED = ("sgpo", "model", "backend", "benchmark", "template", "guided_template", "sampling", "grader")
"""The parts of the settings that a resumed run must have in common with the saved ones."""


class SettingsError(ValueError):
    """A folder that belongs to another evaluation."""


class RunFolder:
    """A run's folder, open for one process at a time; see :func:`open_run`.

    Attributes:
        responses, verdicts: what is saved, by problem and sample.
        correct: sum of the verdicts, for the running accuracy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.responses = {_key(row): row for row in _recover(folder / "responses.jsonl")}
        self.verdicts = {_key(row): row for row in _recover(folder / "verdicts.jsonl")}
        self.correct = sum(row["correct"] for row in self.verdicts.values())

    def add_responses(self, rows: list[dict[str, Any]]) -> None:
        """Save responses, each with ``problem``, ``sample``, ``text``, ``tokens``, ``truncated``, ``seed``."""
        _append(self.folder / "responses.jsonl", rows)
        self.responses.update({_key(row): row for row in rows})

    def add_verdicts(self, rows: list[dict[str, Any]]) -> None:
        """Save verdicts, each with ``problem``, ``sample``, ``correct``, ``reason``, ``extracted``, ``seconds``."""
        _append(self.folder / "verdicts.jsonl", rows)
        self.verdicts.update({_key(row): row for row in rows})
        self.correct += sum(row["correct"] for row in rows)

    def write(self, name: str, value: dict[str, Any], *, lines: str | None = None) -> None:
        """Write a JSON file whole or not at all; the list under ``lines``, if any, comes last, one item a line."""
        text = json.dumps({key: item for key, item in value.items() if key != lines}, indent=1)
        if lines is not None:
            items = ",\n".join("  " + json.dumps(item) for item in value[lines])
            text = f'{text[:-2]},\n "{lines}": [\n{items}\n ]\n}}'
        _write(self.folder / name, text + "\n")

    def write_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a JSONL file whole or not at all."""
        _write(self.folder / name, "".join(json.dumps(row) + "\n" for row in rows))


@contextlib.contextmanager
def open_run(folder: Path, settings: dict[str, Any]) -> Iterator[RunFolder]:
    """Open or resume the run in ``folder``.

    Args:
        settings: written while the folder holds no response, and compared (``COMPARED``) once it does.

    Raises:
        SettingsError: if the folder's settings differ, its files are damaged, or another process has it open.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        lock(held, folder)
        path = folder / "settings.json"
        if not path.exists() and any((folder / name).exists() for name in ("responses.jsonl", "results.json")):
            raise SettingsError(f"{folder} has results but no settings.json; give another --out.")
        run = RunFolder(folder)
        if run.responses:
            _compare(read_json(path), settings, folder)
        else:
            run.write("settings.json", settings)
        yield run


def lock(file: Any, folder: Path) -> None:
    """Hold ``file`` until it is closed. Where the system has no such locks (Windows) nothing is held."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SettingsError(f"{folder} is in use by another process; wait for it, or give another --out.") from error


def settings_digest(settings: dict[str, Any]) -> str:
    """A short hash of what :data:`COMPARED` names."""
    text = json.dumps({name: settings.get(name) for name in COMPARED}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises SettingsError where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{path} holds a {type(value).__name__}, not the JSON object that sgpo eval writes.")
    return value


def differences(saved: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Lines ``name: saved, given`` for the leaves of :data:`COMPARED` that differ."""
    before, after = (
        _leaves({name: saved.get(name) for name in COMPARED}),
        _leaves({name: given.get(name) for name in COMPARED}),
    )
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{name}: {_short(before.get(name))} saved, {_short(after.get(name))} given" for name in names]


def _compare(saved: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    given = json.loads(json.dumps(settings))  # as it would be read back
    if found := differences(saved, given):
        raise SettingsError(
            f"{folder} holds an evaluation with other settings ({'; '.join(found)}). Give the saved settings to resume "
            "it, or another --out to start anew."
        )


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves.update(_leaves(inner, f"{name}.{key}" if name else key))
    return leaves


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _key(row: dict[str, Any]) -> Key:
    return row["problem"], row["sample"]


def _recover(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that was being appended to; a torn last line is cut off."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    end = raw.rfind(b"\n") + 1
    if end < len(raw):
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(raw[:end].split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            _key(row)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{path}, line {number} is damaged ({error!r}); remove it to have it made anew."
            ) from error
        rows.append(row)
    return rows


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    # Escaped to ASCII: a lone surrogate in a response must not stop the run.
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
