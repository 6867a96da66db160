"""From rows to problems in the store: duplicates out, answers verified, thinking stripped.

What a row came to is kept, so a run again verifies nothing twice. Verdicts that a busy machine may have caused
(time-outs, crashes) are not kept.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from sgpo import __version__
from sgpo.models.thinking import strip_thinking
from sgpo.rewards import check_gold, first_equals, verify_batch
from sgpo.strategies.records import Problem, digest
from sgpo.strategies.sources import Row, Source
from sgpo.strategies.store import Store

PORTION = 64  # rows verified, and written, at a time
_MOST_LATER = 16 * PORTION  # rows that wait for one with their id
PASSING = ("timeout", "memory", "crash")  # verdicts that a busy machine may have caused


def ingest(
    source: Source, store: Store, counts: Counter[str], *, keep_thinking: bool = False, limit: int | None = None
) -> Iterator[list[Problem]]:
    """Usable problems in portions, each in the store before it is given out; at most ``limit`` of them.

    ``counts`` gets the rows by what they came to: "ok", or why they are skipped. Of rows with one id the first usable
    one counts, and of several problems with one text, whatever their ids; "changed" is a row that the store holds with
    other texts.
    """
    taken: dict[str, str] = {}
    texts = {text_key(problem): (id, answer) for id, problem, answer in store.texts()}
    changed: Counter[str] = Counter()
    given = 0
    for portion in _portions(source.rows(), taken, counts):
        settled = _settle(portion, store, texts, keep_thinking)
        counts.update(problem.status for problem in settled if problem.status != "ok")
        changed.update(problem.id for problem in settled if problem.status == "changed")
        usable = [problem for problem in settled if problem.status == "ok"]
        # Of the rows of one id the store may hold a later one, and then nothing has changed.
        others = sum(changed.pop(problem.id, 0) for problem in usable)
        counts.update({"changed": -others, "duplicate_id": others} if others else {})
        usable = usable if limit is None else usable[: limit - given]
        given += len(usable)
        counts["ok"] += len(usable)
        taken |= {problem.id: text_key(problem.problem) for problem in usable}
        yield usable
        if given == limit:
            return


def _portions(rows: Iterator[Row], taken: dict[str, str], counts: Counter[str]) -> Iterator[list[Row]]:
    """Rows in portions whose ids differ, without those of ids that are ``taken``, which the caller adds to.

    Args:
        taken: ids with their problems' `text_key`.

    A row with the id of one before it waits for that one: where its response is wrong, this one's may be right, as in
    data sets that have a row for each response.
    """
    later: list[Row] = []
    while True:
        portion: dict[str, Row] = {}
        waiting, later = iter(later), []
        for given in chain(waiting, rows):
            row = _renamed(given, taken, portion)
            if row.id in taken:
                counts["duplicate_id"] += 1
            elif row.id in portion:
                later.append(row)
            else:
                portion[row.id] = row
            if len(portion) == PORTION or len(later) == _MOST_LATER:
                break
        later += waiting
        if not portion:
            return
        yield list(portion.values())


def _renamed(row: Row, taken: dict[str, str], portion: dict[str, Row]) -> Row:
    """A row; under a hash for its id where another problem has it, as in data sets that number each part anew."""
    other = taken.get(row.id) or (text_key(portion[row.id].problem) if row.id in portion else None)
    same = other is None or not row.problem or other == text_key(row.problem)
    return row if same else replace(row, id=digest(row.problem, row.answer))


def verified(rows: list[Row], keep_thinking: bool = True) -> dict[str, tuple[str, str]]:
    """By the row's id: its first right response with "", or the first of all with why none is right.

    A response that is nothing but thinking is left out, unless that is kept. Ids must differ.
    """
    said = [(row, response) for row in rows if not row.fault for response in row.responses]
    pairs = [(row, response) for row, response in said if keep_thinking or strip_thinking(response)]
    found: dict[str, tuple[str, str]] = {}
    golds, tolerances = [row.answer for row, _ in pairs], [row.tolerance for row, _ in pairs]
    verdicts = verify_batch([response for _, response in pairs], golds, tolerance=tolerances)
    for (row, response), verdict in zip(pairs, verdicts, strict=True):
        reason = "" if verdict.correct else verdict.reason
        if row.id not in found or (not reason and found[row.id][1]):
            found[row.id] = response, reason
    return found


def _settle(rows: list[Row], store: Store, texts: dict[str, tuple[str, str]], keep_thinking: bool) -> list[Problem]:
    """What rows come to, as the store keeps it from now on; ``texts`` are the problems that are used, by their text."""
    problems = {row.id: _problem(row, keep_thinking) for row in rows}
    # A row that was skipped is as good as new where its texts were mended, or the verifier may have been: nothing was
    # asked about it.
    there = store.known(problems).items()
    known = {id: (by, status) for id, (by, status) in there if status == "ok" or by == _stamp(problems[id].digest)}
    new = [row for row in rows if row.id not in known]
    judged = [row for row in new if problems[row.id].status == "ok"]
    for id, (response, reason) in verified(judged, keep_thinking).items():
        problem = problems[id]
        if reason:
            status = reason if reason in PASSING else f"unverified:{reason}"
            problems[id] = Problem(id, "", "", "", status, problem.digest)
        else:
            twin, answer = texts.setdefault(text_key(problem.problem), (id, problem.answer))
            if twin == id:
                problems[id] = replace(problem, response=response if keep_thinking else strip_thinking(response))
                continue
            same = first_equals([answer, problem.answer])[1] == answer
            status = "duplicate_problem" if same else "other_answer"
            problems[id] = Problem(id, "", "", "", status, problem.digest)
    # Earlier versions looked at no tolerance: a response that was right without one is right within it, too.
    exact = {row.id: _problem(replace(row, tolerance=None), keep_thinking).digest for row in rows if row.tolerance}
    for id, (known_by, status) in known.items():
        if status != "ok":
            problems[id] = replace(problems[id], status=status)
        elif known_by not in (problems[id].digest, exact.get(id)):
            problems[id] = replace(problems[id], status="changed")
    # A problem that changed has answers under its old texts, so that the store keeps those.
    kept = [problem for problem in problems.values() if problem.status not in (*PASSING, "changed")]
    store.add_problems(p if p.status == "ok" else replace(p, digest=_stamp(p.digest)) for p in kept)
    # Which of several responses was right stands in the store alone: the source does not say it.
    several = [r.id for r in rows if r.id in known and len(r.responses) > 1 and problems[r.id].status == "ok"]
    problems |= {problem.id: problem for problem in store.problems(several)} if several else {}
    return list(problems.values())


def _stamp(known_by: str) -> str:
    """By which a row that was skipped is known again: by its texts, and by the version that skipped it."""
    return digest(known_by, __version__)


def text_key(problem: str) -> str:
    """By which a problem is known again, however it is spaced."""
    return digest(" ".join(problem.split()))


def _problem(row: Row, keep_thinking: bool) -> Problem:
    """A row as the store keeps it, as yet without a verdict; of several responses the first one."""
    responses = row.responses if keep_thinking else [strip_thinking(response) for response in row.responses]
    fault = row.fault or ("" if any(responses) else "no_response") or ("bad_answer" if check_gold(row.answer) else "")
    rules = () if row.tolerance is None else (row.tolerance,)
    known_by = digest(row.problem, row.answer, *(responses or ("",)), *rules)
    if fault:
        return Problem(row.id, "", "", "", fault, known_by)
    first = next(response for response in responses if response)
    return Problem(row.id, row.problem, row.answer, first, "ok", known_by, row.turns, row.columns)
