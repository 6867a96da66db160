"""Rows of problems with responses: a hub id, a parquet, JSONL, JSON or CSV file, or a folder of `sgpo eval`.

Columns are found by their usual names, the three of Elliott/Openr1-Math-46k-8192 (``prompt``, ``target``,
``reward_model.ground_truth``) and those of open-r1/OpenR1-Math-220k (``problem``, ``generations``, ``answer``) among
them, or named by ``columns``; a dot goes into a nested column. ``solution`` is a response only where it is named: data
sets keep a human's there. A cell may hold text, a number, or messages (`sgpo.data.messages`). Of messages the problem
is what was said before the last answer, the response is that answer. A response may be a list of texts, of which the
first counts that verifies.

A folder that ``sgpo eval`` wrote has the student's own responses, so that no strong model is needed. The idea is that
of SAGE (arXiv 2602.03143) and the future work that arXiv 2606.24064 names: a model writes strategies from what it once
got right itself. The form is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from sgpo.data.messages import (
    Messages,
    as_messages,
    asked,
    before_answer,
    has_tools,
    last_answer,
    problem_text,
    unpacked,
)
from sgpo.data.tables import check_text, count_rows, gold_texts, number_text, read_table
from sgpo.rewards.reward import tolerances_of
from sgpo.runs.files import JsonObject, ReadError, read_rows
from sgpo.runs.words import first_line
from sgpo.strategies.records import digest
from sgpo.strategies.schema import clean

FIELDS = ("problem", "answer", "response", "id")
OF_STRATEGIES = ("problem", "answer", "strategy", "id")  # of a file that is imported
USUAL = {
    "problem": ("problem", "question", "prompt"),
    "answer": ("reward_model.ground_truth", "answer", "ground_truth", "gold"),
    "response": ("target", "response", "completion", "generation", "generations", "responses", "output"),
    "strategy": ("strategy",),
    "id": ("id", "uuid", "problem_id", "unique_id"),
}
_IMAGES = ("image", "images")  # columns that TRL takes for what is shown beside the prompt
_COMPLETE = ("is_reasoning_complete", "finish_reasons")  # lists beside ``generations`` that say which of them ended,
_CORRECT = ("correctness_math_verify", "correctness_llama")  # and which are right
_FORMATS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".jsonl.gz", ".json.gz", ".csv.gz")
_MAX_ID = 200
_OF_EVAL = ("prompts.jsonl", "responses.jsonl", "verdicts.jsonl")


@dataclass(frozen=True)
class Row:
    """A row, not verified yet.

    Attributes:
        responses: the strong model's, the one to be preferred first.
        strategy: the cell of a file of strategies, as it is.
        fault: why the row cannot be used; the texts are then empty.
        turns: the prompt's messages where it has a system message or several turns.
        columns: the source's other columns, as JSON types.
        tolerance: numbers within it are right, as in training; None for the gold itself.
    """

    id: str
    problem: str = ""
    answer: str = ""
    responses: tuple[str, ...] = ()
    strategy: Any = None
    fault: str = ""
    turns: Messages | None = None
    columns: JsonObject = field(default_factory=dict)
    tolerance: str | None = None


class Source:
    """A file or hub data set that rows come from.

    Args:
        name: a path, or a hub id. A folder is one of ``sgpo eval``: the student's own right responses.
        columns: field to column, for those of ``fields`` that are not found by their usual names.
        split: of a hub data set.
        fields: what is sought in a row; all but ``id`` must be there.
    """

    def __init__(
        self,
        name: str,
        *,
        columns: Mapping[str, str] | None = None,
        split: str = "train",
        fields: Sequence[str] = FIELDS,
    ) -> None:
        self.name, self.split, self.path, self.fields = name, split, Path(name), fields
        self._hub: Any = None
        given = dict(columns or {})
        if unknown := set(given) - set(fields):
            raise ValueError(f"--columns names {sorted(unknown)}; the fields are {', '.join(fields)}.")
        if self.path.is_dir():
            if not _is_eval_folder(self.path):
                raise ValueError(f"{name} is a folder without responses of `sgpo eval`; give one that has, or a file.")
        elif not self.path.is_file():
            if name.lower().endswith(_FORMATS) or self.path.exists():
                raise ValueError(f"{name} is not a file; give a parquet, JSONL, JSON or CSV file, or a hub id.")
            self._hub = _load_hub(name, split)
        else:
            check_text(name)  # before money is spent on the rows that come first
        self.columns = self._find(given)

    def count(self) -> int | None:
        """Rows, or None where that is known only after reading them all."""
        if self._hub is not None:
            splits = self._hub.info.splits or {}
            return splits[self.split].num_examples if self.split in splits else None
        if self.path.is_dir():
            return sum(1 for _ in _eval_rows(self.path))
        return count_rows(self.path)

    def describe(self) -> str:
        """A sentence for the user: which column is taken for which field."""
        used = ", ".join(f"{name} from {column}" for name, column in self.columns.items())
        first = self._first()
        other = [name for name in first if name not in self.columns.values()]
        lost = [name for name in other if json_cell(first[name]) is LOST]
        text = f"columns: {used}"
        if "response" in self.columns and _several(unpacked(_get(first, self.columns["response"]))):
            text += "; of several responses the first that verifies, complete and correct ones first"
        if kept := [name for name in other if name not in lost]:
            text += f"; kept for export: {', '.join(kept)}"
        return text + (f"; left out, as it holds bytes: {', '.join(lost)}" if lost else "")

    def rows(self) -> Iterator[Row]:
        """All rows in order, from the beginning each time. A row that cannot be read has a fault."""
        for number, raw in enumerate(self._raw(), 1):
            yield _row(raw, self.columns, number)

    def _find(self, given: dict[str, str]) -> dict[str, str]:
        first, found = self._first(), {}
        for name in self.fields:
            usual = (given[name],) if name in given else USUAL[name]
            there = [column for column in usual if _get(first, column, LOST) is not LOST]
            filled = [column for column in there if _get(first, column) is not None]
            column = next(iter(filled or there), None)
            if column is not None:
                found[name] = column
            elif name != "id" or name in given:
                human = "; 'solution' is often a human's: name it if the strong model wrote it"
                sought = (
                    f" {given[name]!r} for the {name}" if name in given else f" for the {name} ({', '.join(usual)})"
                )
                raise ValueError(
                    f"{self.name} has no column{sought}; its columns are "
                    f"{', '.join(sorted(first))}. Name it with --columns {name}=COLUMN (a dot goes into a nested column"
                    f"{human if name == 'response' and 'solution' in first else ''})."
                )
        return found

    def _first(self) -> JsonObject:
        broken: list[ReadError] = []
        for raw in self._raw():
            if not isinstance(raw, ReadError):
                return raw
            broken.append(raw)
        if self.path.is_dir():
            raise ValueError(f"{self.name}: no problem was solved, so there is nothing to learn from. Raise --k.")
        raise broken[0] if broken else ValueError(f"{self.name} has no rows; give one JSON object a line.")

    def _raw(self) -> Iterator[JsonObject | ReadError]:
        """Rows, and of one that cannot be read the reason."""
        if self._hub is not None or self.path.is_dir():
            yield from self._hub if self._hub is not None else _eval_rows(self.path)
            return
        broken: list[ReadError] = []
        for _, row in read_table(self.path, skip=broken.append):
            # Each as a row of its own, so that a row keeps its number whatever stands before it.
            yield from broken
            broken.clear()
            yield row
        yield from broken


def parse_columns(text: str | None) -> dict[str, str]:
    """``problem=question,answer=gold`` as a mapping. Raises ValueError."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    for name, equals, column in pairs:
        if not (name.strip() and equals and column.strip()):
            raise ValueError(f"--columns {text!r}: write field=column pairs, such as problem=question,answer=gold.")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _row(raw: JsonObject | ReadError, columns: Mapping[str, str], number: int) -> Row:
    if isinstance(raw, ReadError):
        return Row(f"row {number}", fault="unreadable_row")
    prompt = _get(raw, columns["problem"])
    messages = as_messages(prompt)
    if messages and columns["problem"] == columns.get("response"):
        prompt = before_answer(messages)
    problem = clean(problem_text(prompt) or "").strip()
    answer = clean(", ".join(gold_texts(_get(raw, columns["answer"])))).strip()
    sought = "response" in columns
    responses = _responses(_get(raw, columns["response"]), raw) if sought else ()
    given = _get(raw, columns["id"]) if "id" in columns else None
    if isinstance(given, (str, int)) and not isinstance(given, bool) and str(given).strip():
        id = clean(str(given).strip())
        id = id if 0 < len(id) <= _MAX_ID else digest(id)
    else:
        id = digest(problem, answer) if problem else f"row {number}"
    faults = {"no_problem": problem, "no_answer": answer, "no_response": responses or not sought}
    fault = next((name for name, text in faults.items() if not text), "")
    fault = "tool_turns" if messages and has_tools(messages) else fault
    fault = "image" if any(raw.get(name) for name in _IMAGES) else fault  # what it shows is part of what is asked
    try:
        (tolerance,) = tolerances_of([json_cell(raw.get("tolerance"))], 1)
    except ValueError:
        fault = fault or "bad_tolerance"
    if fault:
        return Row(id, fault=fault)
    other = {name: json_cell(value) for name, value in raw.items() if name not in columns.values()}
    return Row(
        id,
        problem,
        answer,
        responses,
        _get(raw, columns["strategy"]) if "strategy" in columns else None,
        turns=_turns(prompt),
        columns={name: value for name, value in other.items() if value is not LOST},
        tolerance=tolerance,
    )


def _turns(prompt: Any) -> Messages | None:
    """The messages of a prompt that is more than one message of the user's."""
    turns = asked(as_messages(prompt) or [])
    named = [{"role": m["role"] or "user", "content": clean(m["content"])} for m in turns]
    return named if len(named) > 1 else None


def _responses(cell: Any, raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of a cell. Of several those come first that the row says are complete, and then correct."""
    cell = unpacked(cell)
    if _several(cell):

        def marks(names: tuple[str, ...], i: int) -> list[bool]:
            """Which of the row's lists of these names, as long as the cell, say no of its response ``i``."""
            lists = [raw.get(name) for name in names]
            return [_denied(each[i]) for each in lists if isinstance(each, list) and len(each) == len(cell)]

        def faults(i: int) -> tuple[bool, bool]:
            correct = marks(_CORRECT, i)
            return any(marks(_COMPLETE, i)), bool(correct) and all(correct)

        cell = [cell[i] for i in sorted(range(len(cell)), key=faults)]
    else:
        cell = [cell]
    texts = (clean(text).strip() for text in map(_response, cell) if text is not None)
    return tuple(dict.fromkeys(text for text in texts if text))


def _several(cell: Any) -> bool:
    """Whether a cell is a list of responses, and not one conversation."""
    if not isinstance(cell, list):
        return False
    return not any(isinstance(part, Mapping) and ("role" in part or "from" in part) for part in cell)


def _response(part: Any) -> str | None:
    """The text of one response: as it is, of messages, or in the field of an object."""
    found = last_answer(part) or number_text(part)
    if found is None and isinstance(part, Mapping):
        found = next((part[name] for name in ("text", "generated_text", "response") if name in part), None)
    return found if isinstance(found, str) else None


def _denied(mark: Any) -> bool:
    """Whether a mark says no: false, nothing, or a reply that its limit cut."""
    return not mark or str(mark).lower() in ("false", "length", "max_tokens")


LOST = object()


def json_cell(value: Any) -> Any:
    """A cell of a data set as JSON types, with dates and decimal numbers as text; `LOST` where it holds anything else,
    such as bytes."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (date, time, Decimal)):
        return str(value)
    if isinstance(value, (list, tuple)):
        parts = [json_cell(part) for part in value]
        return LOST if any(part is LOST for part in parts) else parts
    if isinstance(value, Mapping):
        fields = {clean(str(name)): json_cell(part) for name, part in value.items()}
        return LOST if any(part is LOST for part in fields.values()) else fields
    return LOST


def _get(raw: Any, column: str, missing: Any = None) -> Any:
    if isinstance(raw, dict) and column in raw:
        return raw[column]
    head, dot, rest = column.partition(".")
    return _get(raw[head], rest, missing) if dot and isinstance(raw, dict) and head in raw else missing


def _load_hub(name: str, split: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the hub's client raises families of its own and of its transport
        raise ValueError(
            f"{name!r} is no file, and the hub has no split {split!r} of it to give ({first_line(error)}). "
            "Give a hub id, or a parquet, JSONL or CSV file."
        ) from error


def _is_eval_folder(path: Path) -> bool:
    """Whether ``sgpo eval`` has saved responses in this folder."""
    return all((path / name).is_file() for name in _OF_EVAL)


def _eval_rows(folder: Path) -> Iterator[JsonObject]:
    """One row a problem that was solved at least once: ``id``, ``problem``, ``answer`` the right ``responses``, and
    ``family`` and ``tolerance`` of a problem that has them.

    A problem that the data hold as messages is these messages. The shortest right response comes first: of two that
    are right, the one that wanders less shows the way better. A folder of an earlier version holds no bare problem;
    there the prompt, with its template, stands for it.
    """
    verdicts, said = (_last(folder / name) for name in ("verdicts.jsonl", "responses.jsonl"))
    found: dict[str, list[str]] = {}
    for key, row in said.items():
        if verdicts.get(key, {}).get("correct") == 1 and not row.get("truncated"):
            found.setdefault(row["problem"], []).append(row["text"])
    for _, row in read_rows(folder / "prompts.jsonl"):
        if row["id"] in found:
            responses = sorted(dict.fromkeys(found[row["id"]]), key=len)
            problem = row.get("messages") or row.get("problem", row["prompt"])
            known = {"id": row["id"], "problem": problem, "answer": row["gold"], "responses": responses}
            yield known | {name: row[name] for name in ("family", "tolerance") if name in row}


def _last(path: Path) -> dict[tuple[str, int], JsonObject]:
    """The line of each sample. Of two the later one counts: what was no answer, such as half of one, is asked again."""
    return {(row["problem"], row["sample"]): row for _, row in read_rows(path)}
