"""A library of strategies: those that say the same are one, and serve problems that have no response of their own.

Of each problem the candidate that `sgpo.strategies.export` would take counts. Two of them are the same where their
texts are alike beyond a threshold; sameness is passed on (union-find), so a chain of small rewordings is one strategy.
A new problem gets the strategy of the problems most like it, by a vote of the nearest. Ours; the paper
(arXiv 2606.24064) gives each problem a strategy from its own response.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.data.leaks import contains_answer
from sgpo.data.prompts import Prompt
from sgpo.rewards.golds import gold_text
from sgpo.runs.files import JsonObject
from sgpo.strategies.check import check_strategy
from sgpo.strategies.export import choose, why_none
from sgpo.strategies.likeness import MakeIndex, TfidfIndex, without_numbers
from sgpo.strategies.options import ORDERS
from sgpo.strategies.records import Candidate
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

Report = Callable[[int, int], None]


@dataclass
class Entry:
    """One strategy of the library.

    Attributes:
        strategy: the wording of the member with the greatest lift, or the first one where none is measured.
        candidate: the id of that member in the store.
        served: ids of the problems whose strategies were merged into it.
        texts: of these problems, with their problem types, by which new ones are compared; in the order of `served`.
        measured: how many of them have a measured lift.
        lift, low, high: mean lift over these, with its interval; None where none is measured.
    """

    strategy: Strategy
    candidate: str
    served: list[str]
    texts: list[str] = field(repr=False)
    measured: int = 0
    lift: float | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> JsonObject:
        """The entry as JSON types, without the problems' texts."""
        rest = {name: getattr(self, name) for name in ("candidate", "served", "measured", "lift", "low", "high")}
        return {**self.strategy.model_dump(), "serves": len(self.served), **rest}


def build_library(
    store: Store,
    *,
    threshold: float = 0.8,
    by: str = "rank",
    index: MakeIndex = TfidfIndex,
    report: Report = lambda done, total: None,
) -> list[Entry]:
    """Merge the strategies of a store; those that serve most come first. The same store gives the same library.

    Args:
        threshold: cosine, by ``index``, from which two strategies are the same.
        by: which candidate of a problem counts, see `sgpo.strategies.export.choose`.
        report: called with strategies compared, and all.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"--threshold {threshold} must lie in (0, 1]; 0.8 merges rewordings.")
    if by not in ORDERS:
        raise ValueError(f"--by {by!r} must be one of {', '.join(ORDERS)}.")
    chosen: list[tuple[Candidate, str]] = []
    counts: Counter[str] = Counter()
    for problem in store.problems():
        candidate, kind = choose(store, problem, by=by)
        counts[kind] += 1
        if candidate is not None:
            chosen.append((candidate, problem.problem))
    if not chosen:
        raise ValueError(f"{store.path} has no strategy to give: {why_none(counts)}")
    texts = ["\n".join((c.strategy.problem_type, c.strategy.strategy, *c.strategy.steps)) for c, _ in chosen]
    groups = merge(texts, threshold, index, report)
    entries = [_entry([chosen[i] for i in group]) for group in groups]
    return sorted(entries, key=lambda entry: (-len(entry.served), entry.served[0]))


def merge(
    texts: Sequence[str], threshold: float, index: MakeIndex, report: Report = lambda done, total: None
) -> list[list[int]]:
    """Groups of texts that are alike, directly or through others; each in order, groups by their first member."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    known = index(texts)
    for i, text in enumerate(texts):
        for j in np.flatnonzero(known.scores(text)[:i] >= threshold - 1e-9):
            # The earlier text stays the root, so that groups do not depend on the order of merging.
            low, high = sorted((root(i), root(int(j))))
            parent[high] = low
        report(i + 1, len(texts))
    groups: dict[int, list[int]] = {}
    for i in range(len(texts)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def pooled_lift(notes: Sequence[JsonObject]) -> tuple[float, float, float] | None:
    """Mean lift of measured strategies and its interval, from their notes; None for none.

    The limits of the parts are combined by the method of variance estimates recovery (Zou and Donner 2008,
    "Construction of confidence limits about effect measures", Statistics in Medicine 27:1693-1702). The problems count
    as given: the interval says nothing about other problems.
    """
    if not notes:
        return None
    m = len(notes)
    lift = fmean(note["lift"] for note in notes)
    below = math.hypot(*(note["lift"] - note["low"] for note in notes)) / m
    above = math.hypot(*(note["high"] - note["lift"] for note in notes)) / m
    return lift, lift - below, lift + above


def assign(
    entries: Sequence[Entry],
    problems: Sequence[BenchmarkProblem],
    *,
    index: MakeIndex = TfidfIndex,
    neighbours: int = 5,
    floor: float = 0.1,
    make_prompt: Callable[[str], Prompt] = lambda problem: problem,
    counts: Counter[str] | None = None,
    report: Report = lambda done, total: None,
) -> Iterator[JsonObject]:
    """Rows for the trainer: each problem with the strategy that serves its kind.

    The `neighbours` served problems most like it vote with their likeness. A strategy that gives this problem's answer
    away is passed over for the next one.

    Args:
        floor: a neighbour less like it than this has no vote.
        counts: filled with problems by what they came to: "assigned", "none_like_it", "all_leak".
        report: called with the problems done, and all.
    """
    if neighbours < 1 or not 0 <= floor <= 1 or not entries:
        raise ValueError(
            f"--neighbours {neighbours} must be at least 1, --floor {floor} must lie in [0, 1], and there must be "
            f"strategies to give ({len(entries)} are there)."
        )
    counts = Counter() if counts is None else counts
    owners = np.array([i for i, entry in enumerate(entries) for _ in entry.texts])
    known = index([text for entry in entries for text in entry.texts])
    for done, problem in enumerate(problems, 1):
        scores = known.scores(without_numbers(problem.problem))
        # By likeness, then by owner: the same store gives the same library on every machine.
        nearest = [int(i) for i in np.lexsort((owners, -scores))[:neighbours] if scores[i] >= max(floor, 1e-12)]
        votes: Counter[int] = Counter()
        for i in nearest:
            votes[int(owners[i])] += float(scores[i])  # type: ignore[assignment]
        ranked = sorted(votes, key=lambda i: (-votes[i], i))
        found = next((i for i in ranked if not _leaks(problem, entries[i].strategy)), None)
        counts["assigned" if found is not None else "all_leak" if ranked else "none_like_it"] += 1
        if found is not None:
            best = max(float(scores[i]) for i in nearest if owners[i] == found)
            yield _row(problem, entries[found], best, make_prompt)
        report(done, len(problems))


def _entry(members: Sequence[tuple[Candidate, str]]) -> Entry:
    measured = [candidate for candidate, _ in members if "lift" in candidate.notes]
    pooled = pooled_lift([candidate.notes["lift"] for candidate in measured])
    shown = max(measured, key=lambda c: c.notes["lift"]["lift"]) if measured else members[0][0]
    served = [candidate.problem for candidate, _ in members]
    texts = [f"{c.strategy.problem_type}\n{without_numbers(problem)}" for c, problem in members]
    lift, low, high = pooled or (None, None, None)
    return Entry(shown.strategy, shown.id, served, texts, len(measured), lift, low, high)


def _leaks(problem: BenchmarkProblem, strategy: Strategy) -> bool:
    found = check_strategy(problem.problem, problem.answer, None, strategy.model_dump())
    return found.leak or contains_answer(strategy.text(), gold_text(problem.answer))


def _row(problem: BenchmarkProblem, entry: Entry, likeness: float, make_prompt: Callable[[str], Prompt]) -> JsonObject:
    prompt, strategy = problem.prompt or make_prompt(problem.problem), entry.strategy
    row: JsonObject = {"prompt": prompt, "strategy": strategy.text(), "answer": problem.answer, "id": problem.id}
    row |= {"problem_type": strategy.problem_type, "candidate_id": entry.candidate, "serves": len(entry.served)}
    row |= {"likeness": round(likeness, 6), "lift": entry.lift}
    more = {"family": problem.group, "tolerance": problem.tolerance}
    return row | {name: value for name, value in more.items() if value is not None}
