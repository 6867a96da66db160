"""The student's own responses as the source of strategies: a folder that ``sgpo eval`` wrote, with no strong model.

The idea is that of SAGE (arXiv 2602.03143) and the future work that arXiv 2606.24064 names: a model writes strategies
from what it once got right itself. The form is ours.
"""

from collections.abc import Iterator
from pathlib import Path

from sgpo.runs.files import JsonObject, read_rows

_FILES = ("prompts.jsonl", "responses.jsonl", "verdicts.jsonl")


def is_eval_folder(path: Path) -> bool:
    """Whether ``sgpo eval`` has saved responses in this folder."""
    return all((path / name).is_file() for name in _FILES)


def eval_rows(folder: Path) -> Iterator[JsonObject]:
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
