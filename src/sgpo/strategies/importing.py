"""Strategies that are written already: from the rows of a file into the store, as candidates beside extracted ones.

Nothing is asked, and nothing is verified: a row has no response. A problem that the store has by its text gets the
strategies of the row, whatever its id; several rows may have strategies of one problem.
"""

from collections import Counter, defaultdict
from itertools import islice
from typing import Any

from sgpo.rewards import check_gold, first_equals
from sgpo.strategies.ingest import PORTION, text_key
from sgpo.strategies.parsing import parse_strategy
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup, digest
from sgpo.strategies.schema import Strategy, clean, plain_keys, written_strategy
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store

SETUP = Setup("extract", "imported", "imported", "", {})
"""Stands for who wrote the strategies; so they are candidates as those of a model are."""


def import_strategies(source: Source, store: Store) -> Counter[str]:
    """Rows by what they came to: "ok", "again" (the store has the strategy), or why nothing was imported."""
    store.add_setup(SETUP)
    counts: Counter[str] = Counter()
    problems = {text_key(problem): (id, answer) for id, problem, answer in store.texts()}
    owners = {id: text for text, (id, _) in problems.items()}
    written: dict[str, set[str]] = defaultdict(set)
    for id, subject in store.rows("SELECT problem, subject FROM calls WHERE setup = ?", SETUP.id):
        written[id].add(subject)
    rows = source.rows()
    while portion := list(islice(rows, PORTION)):
        new: list[Problem] = []
        calls: list[AnsweredCall] = []
        for row in portion:
            try:
                fault, strategy = row.fault or ("bad_answer" if check_gold(row.answer) else ""), _strategy(row.strategy)
            except ValueError:
                fault = "bad_strategy"
            if fault:
                counts[fault] += 1
                continue
            text = text_key(row.problem)
            if text not in problems:
                id = row.id if row.id not in owners else digest(row.problem, row.answer)
                problems[text], owners[id] = (id, row.answer), text
                new.append(Problem(id, row.problem, row.answer, "", "ok", text, row.turns, row.columns))
            id, answer = problems[text]
            if row.answer != answer and first_equals([answer, row.answer])[1] != answer:
                counts["other_answer"] += 1
            elif strategy is None:
                counts["no_strategy"] += 1
            elif (subject := digest(strategy.text())) in written[id]:
                counts["again"] += 1
            else:
                key = Key(SETUP.id, id, len(written[id]), subject)
                written[id].add(subject)
                calls.append(AnsweredCall(key, "ok", strategy.text(), strategy.dump(), 0, 0))
                counts["ok"] += 1
        store.add_problems(new)
        store.record(calls)
    return counts


def _strategy(cell: Any) -> Strategy | None:
    """The strategy of a cell, which enters prompts as it does in training; None for none.

    Raises ValueError as `written_strategy`.
    """
    text = written_strategy(cell)
    if text is None:
        return None
    if isinstance(cell, dict):
        return Strategy.model_validate(plain_keys(cell))
    text = clean(text).strip()
    parsed = parse_strategy(text).value
    return parsed if parsed is not None and parsed.text() == text else Strategy.of_text(text)
