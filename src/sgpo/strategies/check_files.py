"""Verdicts of the leak check for a file: what `sgpo strategies check FILE --out OUT.jsonl` does.

The file holds strategies with their problems, as rows to train on have them or with the response beside them, or it is
the store itself. Two passes over it: the first looks at every row before anything is written, the second checks and
writes. Only one row is held at a time, so the file may be larger than memory.
"""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from sgpo.data.benchmarks import ANSWER_FIELDS, PROBLEM_FIELDS
from sgpo.data.messages import problem_text
from sgpo.data.tables import check_replaces, read_table
from sgpo.runs.files import JsonObject, ReadError, json_line, writing
from sgpo.strategies.check import Leak, check_strategy, checked_texts

_NEEDED = ("problem", "answer", "strategy")
_OPTIONAL = (
    "beside them id and response, if there are any; "
    f"{' or '.join(PROBLEM_FIELDS[1:])} may stand for problem, {' or '.join(ANSWER_FIELDS[1:])} for answer"
)
_SQLITE = b"SQLite format 3\0"


def _items(path: Path) -> Iterator[tuple[str, JsonObject]]:
    """Where each row stands, and the row with its problem and its response in the fields of these names."""
    if _is_store(path):
        yield from _stored(path)
        return
    for where, row in read_table(path):
        # The prompt of a row to train on holds the problem, and its expert, if any, is the response.
        item = {"response": row.get("expert"), **row}
        for field, usual in (("problem", PROBLEM_FIELDS), ("answer", ANSWER_FIELDS)):
            name = next((each for each in usual if each in row), field)
            if name != field:
                item[field] = problem_text(row[name]) if field == "problem" else row[name]
        yield where, item


def _is_store(path: Path) -> bool:
    with path.open("rb") if path.is_file() else io.BytesIO() as file:  # what is no file, its reader says
        return file.read(len(_SQLITE)) == _SQLITE


def _stored(path: Path) -> Iterator[tuple[str, JsonObject]]:
    from sgpo.strategies.store import Store

    with Store(path, create=False) as store:
        for problem, candidates in store.with_candidates():
            for candidate in candidates:
                row = {"id": problem.id, "candidate": candidate.number, "candidate_id": candidate.id}
                texts = {"problem": problem.problem, "answer": problem.answer, "response": problem.response}
                strategy = candidate.strategy.model_dump()
                yield f"{path}, candidate {candidate.number} of {problem.id}", {**row, **texts, "strategy": strategy}


def _look(item: JsonObject, where: str) -> None:
    """Raise for what `check_strategy` would not take, before any row is written."""
    if missing := [field for field in _NEEDED if field not in item]:
        needs = f"each row needs {', '.join(_NEEDED)}, and has {_OPTIONAL}"
        raise ReadError(f"{where}: no field {', '.join(map(repr, missing))}; {needs}")
    try:
        checked_texts(item["problem"], item["answer"], item["response"], item["strategy"])
    except ValueError as error:
        raise ReadError(f"{where}: {error}") from error


def check_file(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> JsonObject:
    """Write each strategy with `leak` and `reason` added, as JSON lines.

    Args:
        input_path: a data file (see `sgpo.data.tables`) whose rows have `problem` (or another of `PROBLEM_FIELDS`),
            `answer` (or another of `ANSWER_FIELDS`), `strategy` (text, an object with `problem_type`, `strategy`,
            `steps`, or null) and, if any, `response` (or `expert`; text or null); or a store, of which all candidates
            are checked. Other fields are kept.
        progress: called with the items done and the items in all.

    Returns:
        "items" (the strategies), "bare" (rows whose strategy is null), "leaks", "kinds" (a count by kind of leak), and
        "without_response", the number of strategies that only the rules on the answer and the problem could see.

    Raises:
        ReadError: before anything is written, with the row's place.
    """
    source = Path(input_path)
    check_replaces(Path(output_path), "leak")
    total = bare = 0
    for where, item in _items(source):
        if _bare(item):
            bare += 1
        else:
            _look(item, where)
        total += 1
    if total == bare:
        raise ReadError(f"{source} holds no strategies; give a file of them, an exported data set, or a store.")
    kinds: Counter[str] = Counter()
    without = 0
    with writing(output_path) as out:
        for done, (_, item) in enumerate(_items(source), 1):
            verdict = Leak(False, "no strategy")
            if not _bare(item):
                verdict = check_strategy(item["problem"], item["answer"], item["response"], item["strategy"])
                without += not item["response"]
            out.write(json_line({**item, "leak": verdict.leak, "reason": verdict.reason}, default=str))
            if verdict.leak:
                kinds[verdict.kind] += 1
            progress(done, total)
    counts = {"items": total - bare, "bare": bare, "leaks": kinds.total(), "kinds": dict(kinds)}
    return {**counts, "without_response": without}


def _bare(item: JsonObject) -> bool:
    """Whether a row is of a problem that trains without a strategy."""
    return "strategy" in item and item["strategy"] is None
