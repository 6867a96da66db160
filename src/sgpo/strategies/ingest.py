"""From rows to problems in the store: duplicates out, answers verified, thinking stripped.

What a row came to is kept, so a run again verifies nothing twice. Verdicts that a busy machine may have caused
(time-outs, crashes) are not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from sgpo.rewards import check_gold, verify_batch
from sgpo.strategies.records import Problem, digest
from sgpo.strategies.sources import Row, Source, strip_thinking
from sgpo.strategies.store import Store

PORTION = 64  # rows verified, and written, at a time
_PASSING = ("timeout", "memory", "crash")


def ingest(
    source: Source, store: Store, counts: Counter[str], *, keep_thinking: bool = False, limit: int | None = None
) -> Iterator[list[Problem]]:
    """Usable problems in portions, each in the store before it is given out.

    Args:
        counts: gets the rows by what they came to: "ok", or why they are skipped. Of rows with one id the first
            counts; "changed" is one that the store holds with other texts.
        keep_thinking: leave the thinking part in the response.
        limit: end after so many usable problems.
    """
    seen: set[str] = set()
    rows = source.rows()
    given = 0
    while portion := list(islice(rows, PORTION)):
        fresh = []
        for row in portion:
            if row.id in seen:
                counts["duplicate_id"] += 1
                continue
            seen.add(row.id)
            fresh.append(row)
        usable = _settle(fresh, store, counts, keep_thinking)
        usable = usable if limit is None else usable[: limit - given]
        given += len(usable)
        counts["ok"] += len(usable)
        yield usable
        if given == limit:
            return


def _settle(rows: list[Row], store: Store, counts: Counter[str], keep_thinking: bool) -> list[Problem]:
    known = store.known(row.id for row in rows)
    problems = {row.id: _problem(row, keep_thinking) for row in rows}
    new = [problem for problem in problems.values() if problem.id not in known]
    verdicts = _verify([problem for problem in new if problem.status == "ok"], rows)
    settled = [verdicts.get(problem.id, problem) for problem in new]
    store.add_problems(problem for problem in settled if problem.status not in _PASSING)
    usable = []
    final = {problem.id: problem for problem in settled}
    for id, problem in problems.items():
        status = final[id].status if id in final else _status(problem, *known[id])
        if status == "ok":
            usable.append(problem)
        else:
            counts[status] += 1
    return usable


def _problem(row: Row, keep_thinking: bool) -> Problem:
    """A row as the store keeps it, as yet without a verdict."""
    response = row.response if keep_thinking else strip_thinking(row.response)
    fault = row.fault or ("" if response else "no_response") or ("bad_answer" if check_gold(row.answer) else "")
    if fault:
        return Problem(row.id, "", "", "", fault, digest(row.problem, row.answer, response))
    return Problem(row.id, row.problem, row.answer, response, "ok", digest(row.problem, row.answer, response))


def _status(problem: Problem, known_digest: str, known_status: str) -> str:
    return known_status if problem.digest == known_digest else "changed"


def _verify(problems: list[Problem], rows: list[Row]) -> dict[str, Problem]:
    """Problems whose response does not verify, without their texts and with the reason."""
    whole = {row.id: row.response for row in rows}
    verdicts = verify_batch([whole[p.id] for p in problems], [p.answer for p in problems])
    return {
        p.id: Problem(p.id, "", "", "", v.reason if v.reason in _PASSING else f"unverified:{v.reason}", p.digest)
        for p, v in zip(problems, verdicts, strict=True)
        if not v.correct
    }
