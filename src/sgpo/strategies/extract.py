"""Candidate strategies from a strong model's responses (arXiv 2606.24064, section 2: five for each problem)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sgpo.models import Model, Schema, stream_seed
from sgpo.strategies.asking import Job, Tally, ask
from sgpo.strategies.budget import Budget
from sgpo.strategies.ingest import ingest
from sgpo.strategies.parsing import parse_strategy
from sgpo.strategies.records import Key, Problem, Setup
from sgpo.strategies.schema import STRATEGY_SCHEMA
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store
from sgpo.strategies.templates import Messages, PromptTemplate

CANDIDATES = 5


@dataclass
class Extraction:
    """What a run did: ``rows`` by what they came to, ``tally`` of the calls."""

    rows: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)


def setup_of(client: Model, model: str, prompt: PromptTemplate, kind: str, seed: int) -> Setup:
    """The identity of what is asked. Its names are those under which sampling has always been stored."""
    sampling, settings = client.sampling, client.settings()
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_new_tokens}
    kept = {name: value for name, value in drawn.items() if name not in settings.get("omit", ())}
    return Setup(kind, model, prompt.name, prompt.sha256, {**kept, **settings, "seed": seed})


def messages_for(prompt: PromptTemplate, problem: Problem) -> Messages:
    """The question to the model about one problem."""
    return prompt.messages(problem=problem.shown, response=problem.response, answer=problem.answer)


def extract(
    source: Source,
    store: Store,
    client: Model,
    *,
    model: str,
    prompt: PromptTemplate,
    n: int = CANDIDATES,
    seed: int = 0,
    keep_thinking: bool = False,
    limit: int | None = None,
    retry_unreadable: bool = False,
    budget: Budget | None = None,
    give_up: int = 20,
    report: Callable[[Extraction, Budget], None] | None = None,
) -> Extraction:
    """Ask for ``n`` candidates of each usable problem; what the store has is not asked again.

    Args:
        model: its name, for the provenance.
        limit: usable problems to take, from the beginning.
        retry_unreadable: ask once more where a reply was paid for and nothing of use could be read in it.
        give_up: see `sgpo.strategies.asking.Asker`.
        report: called after each call.

    Raises:
        ValueError: settings out of range, no usable problem, or a client that cannot be asked.
        StoreError: a store that cannot be written.
    """
    if n < 1 or (limit is not None and limit < 1):
        raise ValueError(f"--n {n} and --limit {limit} must be at least 1.")
    done = Extraction()
    setup = setup_of(client, model, prompt, "extract", seed)

    def portions() -> Iterator[list[Job]]:
        done.rows.clear()
        for problems in ingest(source, store, done.rows, keep_thinking=keep_thinking, limit=limit):
            yield [
                Job(Key(setup.id, p.id, i), messages, stream_seed(seed, p.id, i))
                for p in problems
                for messages in [messages_for(prompt, p)]
                for i in range(n)
            ]

    def read(job: Job, text: str, finish: str) -> tuple[str, str | None]:
        parsed = parse_strategy(text, finish)
        return parsed.outcome, None if parsed.value is None else parsed.value.model_dump_json()

    def told(tally: Tally, budget: Budget) -> None:
        done.tally = tally
        if report is not None:
            report(done, budget)

    done.tally = ask(
        client,
        store,
        setup,
        portions,
        schema=Schema("strategy", STRATEGY_SCHEMA),
        read=read,
        retry_unreadable=retry_unreadable,
        budget=budget,
        give_up=give_up,
        report=told,
    )
    if not done.rows["ok"] and done.tally.stopped is None:
        skipped = ", ".join(f"{reason} {count}" for reason, count in done.rows.most_common())
        raise ValueError(f"{source.name} has no usable problem: {skipped}. Check --columns and the responses' answers.")
    return done
