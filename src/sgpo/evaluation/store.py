"""The folder of a run: settings, prompts, responses, verdicts, results.

``responses.jsonl`` and ``verdicts.jsonl`` are only ever appended to, one portion at a time, flushed to the disk before
the run goes on. What kill -9 can leave is a torn last line, which is cut off when the folder is opened again
(`sgpo.runs.files`).
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sgpo.models import Key
from sgpo.models.replies import text_of
from sgpo.runs.files import JsonObject, ReadError, append_rows, locked, read_json_object, recover_rows, write_text
from sgpo.runs.json_entry import EntryError, JsonEntry, boolean, finite, listing, optional, required, text, whole_number
from sgpo.runs.settings import differences, in_a_sentence

COMPARED = ("sgpo", "model", "backend", "benchmark", "template", "guided_template", "sampling", "grader")
"""The parts of the settings that a resumed run must have in common with the saved ones."""

Settings = JsonObject
"""What ``settings.json`` holds: JSON types, compared leaf by leaf."""


class SettingsError(ValueError):
    """A folder that belongs to another evaluation."""


@dataclass(frozen=True, kw_only=True)
class SavedSample(JsonEntry):
    """A line on one sample of a problem."""

    problem: str = required(text)
    sample: int = required(whole_number)

    @property
    def key(self) -> Key:
        return self.problem, self.sample


@dataclass(frozen=True, kw_only=True)
class SavedReply(SavedSample):
    """A line of ``responses.jsonl``: what the model said to a sample of a problem."""

    seed: int | None = optional(lambda value: value, written=True)
    text: str = required(text_of)  # an endpoint's list of parts was once saved as it came
    tokens: int | None = optional(whole_number, written=True)  # generated; None where an endpoint does not say
    truncated: bool = required(boolean)
    reasoning: str = listing(text_of, str)  # what came apart from the text
    fault: str = listing(text_of, str)  # why the reply is no answer, as it was seen then

    @property
    def no_answer(self) -> str:
        """Why the reply is no answer; "" where it is one. Older runs saved an empty reply without a word on it."""
        return self.fault or ("" if self.text.strip() or self.truncated else "empty")


@dataclass(frozen=True, kw_only=True)
class SavedMark(SavedSample):
    """A line of ``verdicts.jsonl``: the verdict on a sample of a problem, see `sgpo.evaluation.grading.Mark`."""

    correct: float = required(finite)
    reason: str = required(text)
    extracted: str | None = optional(text, written=True)
    seconds: float | None = optional(finite)
    timed_out: bool = required(boolean)


Saved = TypeVar("Saved", bound=SavedSample)


class RunFolder:
    """A run's folder, open for one process at a time; see :func:`open_run`.

    Attributes:
        responses, verdicts: what is saved, by problem and sample.
        correct: sum of the verdicts, for the running accuracy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Of two lines for one sample the later one counts: it answered where the first one had not.
        self.responses = {reply.key: reply for reply in _recover(folder / "responses.jsonl", SavedReply)}
        self.verdicts = {mark.key: mark for mark in _recover(folder / "verdicts.jsonl", SavedMark)}
        self.correct = sum(mark.correct for mark in self.verdicts.values())

    def add_responses(self, replies: list[SavedReply]) -> None:
        """Append responses to their file."""
        append_rows(self.folder / "responses.jsonl", [reply.to_json() for reply in replies])
        self.responses.update({reply.key: reply for reply in replies})

    def add_verdicts(self, marks: list[SavedMark]) -> None:
        """Append verdicts to their file."""
        append_rows(self.folder / "verdicts.jsonl", [mark.to_json() for mark in marks])
        for mark in marks:
            before = self.verdicts.get(mark.key)
            self.correct += mark.correct - (before.correct if before else 0.0)
            self.verdicts[mark.key] = mark

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
    """Open or resume the run in ``folder``; ``settings`` are written before the first response, and compared after it.

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
        # Without its settings nobody can say what the results are of, so nothing is added to them.
        if not path.exists() and any((folder / name).exists() for name in ("responses.jsonl", "results.json")):
            raise SettingsError(f"{folder} has results but no settings.json; give another --out.")
        run = RunFolder(folder)
        # Without a response nothing would be mixed, so that an option may still be corrected.
        if not run.responses:
            run.write("settings.json", settings)
        elif found := compared_differences(read_json_object(path), settings):
            raise SettingsError(
                f"{folder} holds an evaluation with other settings ({in_a_sentence(found)}). Give the saved settings "
                "to resume it, or another --out to start anew."
            )
        yield run


def settings_digest(settings: Settings) -> str:
    """A short hash of what :data:`COMPARED` names."""
    text = json.dumps(_compared(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compared_differences(saved: Settings, given: Settings) -> dict[str, tuple[str, str]]:
    """The differences in what :data:`COMPARED` names."""
    found = differences(_compared(saved), _compared(given))
    # What older versions did not save of every backend, so that nothing can be said of theirs.
    backend = saved.get("backend") or {}
    if "weights" not in backend:
        found.pop("backend.weights", None)
    if backend.get("revision") is None:
        found.pop("backend.revision", None)
    return found


def _compared(settings: Settings) -> Settings:
    return {name: settings.get(name) for name in COMPARED}


def _recover(path: Path, kind: type[Saved]) -> list[Saved]:
    """The lines of a file that was being appended to. Raises ReadError for one that is not what is written here."""
    lines = []
    for where, row in recover_rows(path):
        try:
            lines.append(kind.from_json(row))
        except EntryError as error:
            raise ReadError(f"{where}: {error}; remove the line to have it made anew.") from error
    return lines
