"""The folder of a run: settings, prompts, responses, verdicts, results.

``responses.jsonl`` and ``verdicts.jsonl`` are only ever appended to, one portion at a time, flushed to the disk before
the run goes on. What kill -9 can leave is a torn last line, which is cut off when the folder is opened again
(`sgpo.runs.files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sgpo.models import Key
from sgpo.models.replies import text_of
from sgpo.runs.files import ReadError, append_rows, locked, read_object, recover_rows, write_rows, write_text

COMPARED = ("sgpo", "model", "backend", "benchmark", "template", "guided_template", "sampling", "grader")
"""The parts of the settings that a resumed run must have in common with the saved ones."""


_RESPONSE = ("problem", "sample", "text", "tokens", "truncated")
_VERDICT = ("problem", "sample", "correct", "reason", "extracted", "timed_out")


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
        self.responses = {_key(row): row for row in _recover(folder / "responses.jsonl", _RESPONSE)}
        self.verdicts = {_key(row): row for row in _recover(folder / "verdicts.jsonl", _VERDICT)}
        self.correct = sum(row["correct"] for row in self.verdicts.values())

    def add_responses(self, rows: list[dict[str, Any]]) -> None:
        """Save responses, each with ``problem``, ``sample``, ``text``, ``tokens``, ``truncated``, ``seed``.

        Of two for one sample, the later one counts.
        """
        append_rows(self.folder / "responses.jsonl", rows)
        self.responses.update({_key(row): row for row in rows})

    def add_verdicts(self, rows: list[dict[str, Any]]) -> None:
        """Save verdicts, each with ``problem``, ``sample``, ``correct``, ``reason``, ``extracted``, ``seconds``."""
        append_rows(self.folder / "verdicts.jsonl", rows)
        for row in rows:
            self.correct += row["correct"] - self.verdicts.get(_key(row), {"correct": 0.0})["correct"]
            self.verdicts[_key(row)] = row

    def fault(self, key: Key) -> str:
        """Why a saved response is no answer; "" where it is one. Older runs saved an empty one without a word."""
        row = self.responses[key]
        return str(row.get("fault") or ("" if row["text"].strip() or row["truncated"] else "empty"))

    def write(self, name: str, value: dict[str, Any], *, lines: str | None = None) -> None:
        """Write a JSON file whole or not at all; the list under ``lines``, if any, comes last, one item a line."""
        text = json.dumps({key: item for key, item in value.items() if key != lines}, indent=1)
        if lines is not None:
            items = ",\n".join("  " + json.dumps(item) for item in value[lines])
            text = f'{text[:-2]},\n "{lines}": [\n{items}\n ]\n}}'
        write_text(self.folder / name, text + "\n")

    def write_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a JSONL file whole or not at all."""
        write_rows(self.folder / name, rows)


@contextlib.contextmanager
def open_run(folder: Path, settings: dict[str, Any]) -> Iterator[RunFolder]:
    """Open or resume the run in ``folder``.

    Args:
        settings: written while the folder holds no response, and compared (``COMPARED``) once it does.

    Raises:
        SettingsError: the folder's settings differ.
        ReadError: its files are damaged.
        InUseError: another process has it open.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"--out {folder} is no folder, and a run has several files; give the name of a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "sgpo eval", remedy="wait for it, or give another --out"):
        path = folder / "settings.json"
        if not path.exists() and any((folder / name).exists() for name in ("responses.jsonl", "results.json")):
            raise SettingsError(f"{folder} has results but no settings.json; give another --out.")
        run = RunFolder(folder)
        if run.responses:
            _compare(read_object(path), settings, folder)
        else:
            run.write("settings.json", settings)
        yield run


def settings_digest(settings: dict[str, Any]) -> str:
    """A short hash of what :data:`COMPARED` names."""
    text = json.dumps({name: settings.get(name) for name in COMPARED}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def _recover(path: Path, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a file that was being appended to. Raises ReadError for one that is not what is written here."""
    rows = []
    for where, row in recover_rows(path):
        if fault := _wrong(row, fields):
            raise ReadError(f"{where} {fault}; remove the line to have it made anew.")
        if "text" in row:  # an endpoint's list of parts was once saved as it came
            row["text"] = text_of(row["text"])
        rows.append(row)
    return rows


def _wrong(row: dict[str, Any], fields: tuple[str, ...]) -> str:
    """What a saved row lacks, "" where it lacks nothing."""
    if missing := [name for name in fields if name not in row]:
        return f"has no {missing[0]!r}"
    if not isinstance(row["problem"], str) or not isinstance(row["sample"], int):
        return "has a 'problem' that is no text, or a 'sample' that is no whole number"
    if "correct" in row and not isinstance(row["correct"], (int, float)):
        return f"has a 'correct' of {row['correct']!r}, which is no number"
    return ""
