"""Ranks the candidates of each problem by a model's scores on four criteria (arXiv 2606.24064, section 2).

All candidates of a problem are scored in one call, in an order that is shuffled anew for each repetition, so that a
model that favours the first one is found out: repetitions then disagree, and the agreement is reported.

The order of candidates never depends on chance. First comes the one with the higher sum over criteria and repetitions;
of equal ones the one that scores higher on the first criterion of `TIES` that tells them apart; of entirely equal ones
the one that was written first.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from statistics import mean

from sgpo.models import Schema, stream_seed
from sgpo.runs.files import JsonObject
from sgpo.strategies.asking import Asking, Job, Tally, ask
from sgpo.strategies.parsing import parse_scores
from sgpo.strategies.records import Candidate, Key, Problem, Setup, digest
from sgpo.strategies.schema import CRITERIA, SCORES_SCHEMA
from sgpo.strategies.store import Store

NOTE = "rank"
_PORTION = 16
TIES = ("instance_free", "faithful", "executable", "general")
"""What gives the answer away does most harm, then what is wrong, then what cannot be followed."""

Repetition = Mapping[str, Mapping[str, int]]
"""``{candidate: {criterion: score}}`` with every candidate in it."""

_NO_RESPONSE = "(None was kept. Take a candidate for faithful where its approach solves the problem.)"


@dataclass
class Ranking:
    """What a run did.

    Attributes:
        problems: "ranked", "single" (one candidate, nothing to rank), "scored" (one candidate, with scores), "unranked"
            (no usable scores; the candidates stay in the order of their numbers), "none" (no candidate).
        winner_agreement: mean over problems of the share of repetitions whose winner is the most frequent one; None
            with fewer than two repetitions.
        tau: mean over problems of the mean Kendall's tau-b between repetitions.
    """

    problems: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    winner_agreement: float | None = None
    tau: float | None = None


def rank(
    asking: Asking, *, repeats: int = 1, singles: bool = False, report: Callable[[Tally], None] = lambda tally: None
) -> Ranking:
    """Score the candidates of each problem ``repeats`` times, order them, and note place and scores with each.

    ``singles`` scores the only candidate of a problem, too, for gates such as ``export --min-instance-free``.
    """
    store, limit = asking.store, asking.limit
    if repeats < 1:
        raise ValueError(f"--repeats {repeats} must be at least 1.")
    setup = asking.setup(NOTE)

    def portions() -> Iterator[list[Job]]:
        problems = store.with_candidates(limit)
        while portion := list(islice(problems, _PORTION)):
            wanted = [(p, found) for p, found in portion if len(found) > (0 if singles else 1)]
            yield [job for p, found in wanted for job in _jobs(asking, setup, p, found, repeats)]

    tally = ask(asking, setup, portions, schema=Schema("scores", SCORES_SCHEMA), read=_read, report=report)
    ranking = _noted(store, setup, repeats, limit)
    ranking.tally = tally
    return ranking


def _noted(store: Store, setup: Setup, repeats: int, limit: int | None) -> Ranking:
    """Orders from the scores in the store, noted with each candidate: place, sums, whether it is kept."""
    ranking = Ranking()
    shares, taus = [], []
    for problem, candidates in store.with_candidates(limit):
        ids = [c.id for c in candidates]
        found = store.parsed(setup.id, problem.id, _subject(candidates))
        repetitions = [found[number] for number in sorted(found) if number < repeats]
        kind = _kind(len(ids), scored=bool(repetitions))
        ranking.problems[kind] += 1
        # Where no scores came this time, the places of an earlier ranking are better than none.
        if repetitions or not any(NOTE in c.notes for c in candidates):
            places = order(ids, repetitions)
            store.note((id, NOTE, _note(setup, repetitions, id, place)) for place, id in enumerate(places, 1))
        if len(ids) < 2:
            continue
        if (share := winner_agreement(ids, repetitions)) is not None:
            shares.append(share)
        if (tau := mean_tau(ids, repetitions)) is not None:
            taus.append(tau)
    ranking.winner_agreement = mean(shares) if shares else None
    ranking.tau = mean(taus) if taus else None
    return ranking


def _kind(candidates: int, *, scored: bool) -> str:
    if candidates < 2:
        return "none" if not candidates else "scored" if scored else "single"
    return "ranked" if scored else "unranked"


def _jobs(asking: Asking, setup: Setup, problem: Problem, candidates: list[Candidate], repeats: int) -> Iterator[Job]:
    for number in range(repeats):
        stream = stream_seed(asking.seed, NOTE, problem.id, number)
        shuffled = random.Random(stream).sample(candidates, len(candidates))
        shown = "\n\n".join(
            f'<candidate number="{i}">\n{c.strategy.text()}\n</candidate>' for i, c in enumerate(shuffled, 1)
        )
        fields = {"problem": problem.shown, "response": problem.response or _NO_RESPONSE}
        key = Key(setup.id, problem.id, number, _subject(candidates))
        yield Job(
            key,
            asking.prompt.messages(**fields, answer=problem.answer, candidates=shown),
            stream,
            tuple(c.id for c in shuffled),
        )


def _read(job: Job, text: str, finish: str) -> tuple[str, str | None]:
    parsed = parse_scores(text, len(job.context), finish)
    if parsed.value is None:
        return parsed.outcome, None
    return parsed.outcome, json.dumps(dict(zip(job.context, parsed.value, strict=True)), sort_keys=True)


def _subject(candidates: list[Candidate]) -> str:
    """What is ranked: other candidates are another ranking."""
    return digest(*sorted(c.id for c in candidates))


def _note(setup: Setup, repetitions: list[Repetition], id: str, place: int) -> JsonObject:
    scores = {name: mean(r[id][name] for r in repetitions) for name in CRITERIA} if repetitions else {}
    judged = {"score": sum(scores.values()) if scores else None, "scores": scores, "repetitions": len(repetitions)}
    asked = {"model": setup.model, "prompt": setup.prompt, "setup": setup.id}
    return {"place": place, "kept": place == 1, **judged, **asked}


def order(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> list[str]:
    """``candidates`` from best to worst; as they are where there are no repetitions."""
    summed = {c: {name: sum(r[c][name] for r in repetitions) for name in CRITERIA} for c in candidates}

    def key(candidate: str) -> tuple[int, ...]:
        scores = summed[candidate]
        return (-sum(scores.values()), *(-scores[name] for name in TIES))

    return sorted(candidates, key=key)  # stable


def winner_agreement(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> float | None:
    """Share of the repetitions whose winner is the most frequent one; None for fewer than two."""
    if len(repetitions) < 2:
        return None
    winners = Counter(order(candidates, [repetition])[0] for repetition in repetitions)
    return max(winners.values()) / len(repetitions)


def mean_tau(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> float | None:
    """Mean of Kendall's tau-b over the pairs of repetitions, on the sums over criteria; None where none has one."""
    totals = [[sum(repetition[c].values()) for c in candidates] for repetition in repetitions]
    taus = [tau for a, b in combinations(totals, 2) if (tau := kendall_tau(a, b)) is not None]
    return mean(taus) if taus else None


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's tau-b of two scorings (M. Kendall, Biometrika 33, 1945); None where one of them ties everything."""
    score = untied_a = untied_b = 0
    for (a1, b1), (a2, b2) in combinations(zip(a, b, strict=True), 2):
        da, db = (a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)
        score += da * db
        untied_a += da != 0
        untied_b += db != 0
    return score / math.sqrt(untied_a * untied_b) if untied_a and untied_b else None
