"""The folder of a run: settings, prompts, responses, verdicts, results.

``responses.jsonl`` and ``verdicts.jsonl`` are only ever appended to, one portion at a time, flushed to the disk before
the run goes on. What kill -9 can leave is a torn last line, which is cut off when the folder is opened again
(`sgpo.runs.files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgpo.evaluation.grading import Mark
from sgpo.models import Key
from sgpo.models.replies import text_of
from sgpo.runs.files import ReadError, append_rows, locked, read_object, recover_rows, write_text

COMPARED = ("sgpo", "model", "backend", "benchmark", "template", "guided_template", "sampling", "grader")
"""The parts of the settings that a resumed run must have in common with the saved ones."""

Settings = dict[str, Any]
"""What ``settings.json`` holds: JSON types, compared leaf by leaf."""


class SettingsError(ValueError):
    """A folder that belongs to another evaluation."""


@dataclass(frozen=True)
class SavedReply:
    """A line of ``responses.jsonl``: what the model said to a sample of a problem.

    Attributes:
        tokens: generated; None where an endpoint does not say.
        reasoning: what came apart from the text; not in the file where there is none.
        fault: why the reply is no answer, as it was seen then; not in the file where there is nothing to say.
    """

    problem: str
    sample: int
    seed: int | None
    text: str
    tokens: int | None
    truncated: bool
    reasoning: str = ""
    fault: str = ""

    @property
    def key(self) -> Key:
        return self.problem, self.sample

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SavedReply:
        """A row of the file. An endpoint's list of parts was once saved as it came."""
        reasoning, fault = (str(row.get(name) or "") for name in ("reasoning", "fault"))
        where = (row["problem"], row["sample"], row.get("seed"))
        return cls(*where, text_of(row["text"]), row["tokens"], row["truncated"], reasoning, fault)

    @property
    def no_answer(self) -> str:
        """Why the reply is no answer; "" where it is one. Older runs saved an empty reply without a word on it."""
        return self.fault or ("" if self.text.strip() or self.truncated else "empty")

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value or name not in ("reasoning", "fault")}


@dataclass(frozen=True)
class SavedMark:
    """A line of ``verdicts.jsonl``: the verdict on a sample of a problem."""

    problem: str
    sample: int
    mark: Mark

    @property
    def key(self) -> Key:
        return self.problem, self.sample

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SavedMark:
        seconds = row.get("seconds", 0.0)
        mark = Mark(row["correct"], row["reason"], row["extracted"], seconds, row["timed_out"])
        return cls(row["problem"], row["sample"], mark)

    def to_json(self) -> dict[str, Any]:
        return {"problem": self.problem, "sample": self.sample, **asdict(self.mark)}


_REPLY = ("problem", "sample", "text", "tokens", "truncated")
_MARK = ("problem", "sample", "correct", "reason", "extracted", "timed_out")


class RunFolder:
    """A run's folder, open for one process at a time; see :func:`open_run`.

    Attributes:
        responses, verdicts: what is saved, by problem and sample.
        correct: sum of the verdicts, for the running accuracy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        replies = [SavedReply.from_json(row) for row in _recover(folder / "responses.jsonl", _REPLY)]
        marks = [SavedMark.from_json(row) for row in _recover(folder / "verdicts.jsonl", _MARK)]
        self.responses = {reply.key: reply for reply in replies}
        self.verdicts = {saved.key: saved.mark for saved in marks}
        self.correct = sum(mark.correct for mark in self.verdicts.values())

    def add_responses(self, replies: list[SavedReply]) -> None:
        """Save responses. Of two for one sample, the later one counts."""
        append_rows(self.folder / "responses.jsonl", [reply.to_json() for reply in replies])
        self.responses.update({reply.key: reply for reply in replies})

    def add_verdicts(self, marks: list[SavedMark]) -> None:
        """Save verdicts. Of two for one sample, the later one counts."""
        append_rows(self.folder / "verdicts.jsonl", [saved.to_json() for saved in marks])
        for saved in marks:
            before = self.verdicts.get(saved.key)
            self.correct += saved.mark.correct - (before.correct if before else 0.0)
            self.verdicts[saved.key] = saved.mark

    def write(self, name: str, value: Mapping[str, Any], *, lines: str | None = None) -> None:
        """Write a JSON file whole or not at all; the list under ``lines``, if any, comes last, one item a line."""
        text = json.dumps({key: item for key, item in value.items() if key != lines}, indent=1)
        # One item a line: thousands of problems can still be compared by diff.
        if lines is not None:
            items = ",\n".join("  " + json.dumps(item) for item in value[lines])
            text = f'{text[:-2]},\n "{lines}": [\n{items}\n ]\n}}'
        write_text(self.folder / name, text + "\n")


@contextlib.contextmanager
def open_run(folder: Path, settings: Settings) -> Iterator[RunFolder]:
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
        # Without a response nothing would be mixed, so that an option may still be corrected.
        if run.responses:
            _check_same(read_object(path), settings, folder)
        else:
            run.write("settings.json", settings)
        yield run


def settings_digest(settings: Settings) -> str:
    """A short hash of what :data:`COMPARED` names."""
    text = json.dumps({name: settings.get(name) for name in COMPARED}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(saved: Settings, given: Settings) -> list[str]:
    """Lines ``name: saved, given`` for the leaves of :data:`COMPARED` that differ."""
    before, after = (
        _leaves({name: saved.get(name) for name in COMPARED}),
        _leaves({name: given.get(name) for name in COMPARED}),
    )
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{name}: {_short(before.get(name))} saved, {_short(after.get(name))} given" for name in names]


def _check_same(saved: Settings, settings: Settings, folder: Path) -> None:
    given = json.loads(json.dumps(settings))  # as it would be read back
    if found := differences(saved, given):
        raise SettingsError(
            f"{folder} holds an evaluation with other settings ({'; '.join(found)}). Give the saved settings to resume "
            "it, or another --out to start anew."
        )


def _leaves(value: Any, name: str = "") -> Settings:
    if not isinstance(value, dict):
        return {name: value}
    leaves: Settings = {}
    for key, inner in value.items():
        leaves.update(_leaves(inner, f"{name}.{key}" if name else key))
    return leaves


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _recover(path: Path, fields: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """The rows of a file that was being appended to. Raises ReadError for one that is not what is written here."""
    rows: list[Mapping[str, Any]] = []
    for where, row in recover_rows(path):
        if fault := _wrong(row, fields):
            raise ReadError(f"{where} {fault}; remove the line to have it made anew.")
        rows.append(row)
    return rows


def _wrong(row: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    """What a saved row lacks, "" where it lacks nothing."""
    if missing := [name for name in fields if name not in row]:
        return f"has no {missing[0]!r}"
    if not isinstance(row["problem"], str) or not isinstance(row["sample"], int):
        return "has a 'problem' that is no text, or a 'sample' that is no whole number"
    if "correct" in row and not isinstance(row["correct"], (int, float)):
        return f"has a 'correct' of {row['correct']!r}, which is no number"
    return ""
