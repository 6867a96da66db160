"""Candidate strategies from a strong model's responses (arXiv 2606.24064, section 2: five for each problem)."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sgpo.data.messages import Messages
from sgpo.models import Schema, stream_seed
from sgpo.strategies.asking import Asking, Job, Tally, ask
from sgpo.strategies.ingest import ingest
from sgpo.strategies.parsing import parse_strategy
from sgpo.strategies.records import Key, Problem
from sgpo.strategies.schema import STRATEGY_SCHEMA
from sgpo.strategies.sources import Source
from sgpo.strategies.templates import PromptTemplate

CANDIDATES = 5


@dataclass
class Extraction:
    """What a run did: ``rows`` by what they came to, ``tally`` of the calls."""

    rows: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)


def messages_for(prompt: PromptTemplate, problem: Problem) -> Messages:
    """The question to the model about one problem."""
    return prompt.messages(problem=problem.shown, response=problem.response, answer=problem.answer)


def extract(
    source: Source,
    asking: Asking,
    *,
    n: int = CANDIDATES,
    keep_thinking: bool = False,
    report: Callable[[Extraction], None] = lambda done: None,
) -> Extraction:
    """Ask for ``n`` candidates of each usable problem; what the store has is not asked again.

    Raises ValueError where no problem is usable.
    """
    if n < 1:
        raise ValueError(f"--n {n} must be at least 1.")
    done = Extraction()
    setup = asking.setup("extract")

    def portions() -> Iterator[list[Job]]:
        done.rows.clear()
        for problems in ingest(source, asking.store, done.rows, keep_thinking=keep_thinking, limit=asking.limit):
            yield [
                Job(Key(setup.id, p.id, i), messages, stream_seed(asking.seed, p.id, i))
                for p in problems
                for messages in [messages_for(asking.prompt, p)]
                for i in range(n)
            ]

    def read(job: Job, text: str, finish: str) -> tuple[str, str | None]:
        parsed = parse_strategy(text, finish)
        return parsed.outcome, None if parsed.value is None else parsed.value.model_dump_json()

    def told(tally: Tally) -> None:
        done.tally = tally
        report(done)

    done.tally = ask(asking, setup, portions, schema=Schema("strategy", STRATEGY_SCHEMA), read=read, report=told)
    if not done.rows["ok"] and done.tally.stopped is None:
        skipped = ", ".join(f"{reason} {count}" for reason, count in done.rows.most_common())
        raise ValueError(f"{source.name} has no usable problem: {skipped}. Check --columns and the responses' answers.")
    return done
