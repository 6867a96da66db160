"""Blind answering: how often a model tells the answer from a strategy alone, without the problem. Ours.

A model gets a strategy and not its problem, and is asked for the final answer, n times. The chance is what the same
model says of *other* problems' strategies: each of their replies is graded against this answer too, which costs no
further call. A strategy from which the answer is told more often than that leaks, in whatever words. The rules of
`sgpo.strategies.leakage` see what a model overlooks, and the reverse. Replies are committed to the store before they
count, so a run that was stopped asks nothing again.
"""

import json
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from sgpo.models import Schema, stream_seed
from sgpo.rewards import verify_batch
from sgpo.rewards.reward import tolerances_of
from sgpo.strategies.asking import Asking, Job, Tally, ask
from sgpo.strategies.budget import Spend, prompt_bytes, usual_tokens
from sgpo.strategies.export import leaks
from sgpo.strategies.halving import Rate, difference_interval
from sgpo.strategies.options import AuditOptions
from sgpo.strategies.parsing import parse_answer
from sgpo.strategies.records import Candidate, Key, Problem, Setup
from sgpo.strategies.schema import ANSWER_SCHEMA
from sgpo.strategies.store import Store
from sgpo.strategies.templates import PromptTemplate

NOTE = "audit"
KNOWN = 0.2  # more often than by chance: the leaks that the leak check passes, one in seven or so, tell less
OTHERS = 8  # strategies of other problems whose replies are the chance
_PORTION = 16
_ASSUMED_TOKENS = 20  # of a reply: one short answer


@dataclass
class Audit:
    """What a run did.

    Attributes:
        candidates: by verdict ("leaks", "passes", "unread" without a usable reply).
        told, asked: replies that were the answer, and all of them: under candidates that the leak check "rejects",
            under those that it "passes", and by "chance".
    """

    candidates: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    told: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def shares(self) -> dict[str, Rate]:
        """How often the answer was told, for each of the three that was asked at all."""
        return {name: Rate(self.told[name], asked) for name, asked in self.asked.items() if asked}

    @property
    def knows_the_problems(self) -> bool:
        """Whether the model tells answers that no strategy gave away.

        It is taken to do so where the leak check passes a strategy and its answer is told, at 95%, `KNOWN` more often
        than by chance. A model that has read the problems remembers the answer, and a blind answer then says nothing.
        """
        shares = self.shares()
        return "passes" in shares and difference_interval(shares["passes"], shares["chance"])[0] > KNOWN


def audit(asking: Asking, *, n: int = 8, report: Callable[[Tally], None] = lambda tally: None) -> Audit:
    """Ask for the answer behind every candidate ``n`` times and note with each how often it was told.

    Raises ValueError for fewer than two problems with a candidate: the chance is that of other problems.
    """
    store, limit = asking.store, asking.limit
    _check(n, limit)
    require_others(store, limit)
    setup = asking.setup(NOTE)

    def portions() -> Iterator[list[Job]]:
        found = store.with_candidates(limit)
        while portion := list(islice(found, _PORTION)):
            yield [job for problem, candidates in portion for job in _jobs(asking, setup, problem, candidates, n)]

    tally = ask(asking, setup, portions, schema=Schema("answer", ANSWER_SCHEMA), read=_read, report=report)
    done = _noted(store, setup, n, limit)
    done.tally = tally
    return done


def estimate_audit(store: Store, prompt: PromptTemplate, options: AuditOptions) -> Spend:
    """What an audit would take, ``n`` calls for each candidate; asks nothing. Raises ValueError as `audit` does."""
    _check(options.n, options.limit)
    candidates = [each for _, found in store.with_candidates(options.limit) for each in found]
    bytes_ = [prompt_bytes(prompt.messages(strategy=each.strategy.text())) for each in candidates]
    calls = options.n * len(candidates)
    return options.spending.spend(calls, options.n * sum(map(usual_tokens, bytes_)), calls * _ASSUMED_TOKENS)


def _check(n: int, limit: int | None) -> None:
    if n < 1 or (limit is not None and limit < 2):
        raise ValueError(
            f"--n {n} must be at least 1, and --limit {limit} at least 2: the chance is of other problems."
        )


def _noted(store: Store, setup: Setup, n: int, limit: int | None) -> Audit:
    """Candidates by their verdicts from the replies in the store, which are noted with each.

    The note "audit": told and asked, chance (told, asked) of other problems' strategies, rate, low and high (interval
    of the difference to the chance, Newcombe's from Wilson's), leaks (low is over 0), model and setup.
    """
    done = Audit()
    said = {
        (problem.id, candidate.id): [
            str(reply)
            for number, reply in sorted(store.parsed(setup.id, problem.id, candidate.id).items())
            if number < n
        ]
        for problem, candidates in store.with_candidates(limit)
        for candidate in candidates
    }
    known = sorted(said)
    for problem, candidates in store.with_candidates(limit):
        for candidate in candidates:
            mine = said[problem.id, candidate.id]
            theirs = [reply for key in draw_others(NOTE, candidate, known) for reply in said[key]]
            if not mine or not theirs:
                done.candidates["unread"] += 1
                continue
            told, by_chance = _told(mine, problem), _told(theirs, problem)
            rate, chance = Rate(told, len(mine)), Rate(by_chance, len(theirs))
            low, high = difference_interval(rate, chance)
            note = {"told": told, "asked": len(mine), "chance": [by_chance, len(theirs)], "rate": rate.value}
            note |= {"low": low, "high": high, "leaks": low > 0, "model": setup.model, "setup": setup.id}
            store.note([(candidate.id, NOTE, note)])
            done.candidates["leaks" if low > 0 else "passes"] += 1
            group = "rejects" if leaks(store, problem, candidate) else "passes"
            done.told.update({group: rate.passed, "chance": chance.passed})
            done.asked.update({group: rate.n, "chance": chance.n})
    return done


def require_others(store: Store, limit: int | None) -> None:
    """Raise ValueError for fewer than two problems with a candidate: what is told is compared with other problems."""
    if sum(bool(candidates) for _, candidates in store.with_candidates(limit)) < 2:
        raise ValueError(f"{store.path} has fewer than two problems with a candidate; the chance needs another one.")


def draw_others(note: str, candidate: Candidate, known: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Some of the ``known`` candidates of other problems, at most `OTHERS`.

    The draw is the candidate's own: a later run, of more replies say, compares it with the same others.

    Args:
        known: (problem, candidate), sorted.
    """
    start, end = (search(known, candidate.problem, key=itemgetter(0)) for search in (bisect_left, bisect_right))
    many = len(known) - (end - start)
    drawn = random.Random(stream_seed(0, note, candidate.id)).sample(range(many), min(OTHERS, many))
    return [known[i if i < start else i + end - start] for i in drawn]


def _jobs(asking: Asking, setup: Setup, problem: Problem, candidates: list[Candidate], n: int) -> Iterator[Job]:
    for candidate in candidates:
        messages = asking.prompt.messages(strategy=candidate.strategy.text())
        for number in range(n):
            key = Key(setup.id, problem.id, number, candidate.id)
            yield Job(key, messages, stream_seed(asking.seed, NOTE, candidate.id, number))


def _read(job: Job, text: str, finish: str) -> tuple[str, str | None]:
    parsed = parse_answer(text, finish)
    return parsed.outcome, None if parsed.value is None else json.dumps(parsed.value)


def _told(replies: list[str], problem: Problem) -> int:
    """How many replies are the answer, as training judges it; equal replies are verified once."""
    counts = Counter(replies)
    (tolerance,) = tolerances_of([problem.columns.get("tolerance")], 1)
    verdicts = verify_batch(list(counts), [problem.answer] * len(counts), tolerance=tolerance)
    return sum(count for count, verdict in zip(counts.values(), verdicts, strict=True) if verdict.correct)
