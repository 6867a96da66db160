"""What an extraction would take: calls, tokens, money and time, from a sample of the rows and without a call.

Prompt tokens come from lengths. Length and duration of replies come from the calls that the store already has of this
model; where it has few they are assumed, and the estimate says so.
"""

import random
from dataclasses import dataclass
from itertools import islice

from sgpo.models.thinking import strip_thinking
from sgpo.strategies.budget import Spend, prompt_bytes, usual_tokens
from sgpo.strategies.extract import messages_for
from sgpo.strategies.ingest import verified
from sgpo.strategies.options import ExtractOptions
from sgpo.strategies.records import Problem
from sgpo.strategies.sources import Row, Source
from sgpo.strategies.store import Store
from sgpo.strategies.templates import PromptTemplate

SAMPLE = 200
ASSUMED_TOKENS = 400  # of a reply: a strategy of a few hundred words
ASSUMED_SECONDS = 8.0  # at 50 tokens a second
_ENOUGH = 5  # calls to go by


@dataclass(frozen=True, kw_only=True)
class Estimate(Spend):
    """``seconds`` at the given concurrency; ``measured`` calls that replies go by."""

    rows: int
    sampled: int
    usable: int
    seconds: float
    measured: int


def estimate_extraction(
    source: Source, store: Store | None, prompt: PromptTemplate, options: ExtractOptions
) -> Estimate:
    """An estimate for the whole source, as if nothing had been asked yet; it goes by the store's calls of the model.

    Raises ValueError where the sample holds no usable problem.
    """
    sample, rows = _sample(source)
    checked = verified(list({row.id: row for row in sample}.values()))
    right = {id: said for id, (said, reason) in checked.items() if not reason}
    shown = {id: said if options.keep_thinking else strip_thinking(said) for id, said in right.items()}
    usable = [row for row in sample if shown.get(row.id)]
    if not usable:
        raise ValueError(f"{source.name}: none of {len(sample)} sampled rows is usable. Check --columns.")
    problems = round(rows * len(usable) / len(sample))
    problems = problems if options.limit is None else min(problems, options.limit)
    shown_rows = [Problem(r.id, r.problem, r.answer, shown[r.id], turns=r.turns) for r in usable]
    sizes = [prompt_bytes(messages_for(prompt, problem)) for problem in shown_rows]
    tokens_in: float = usual_tokens(sum(sizes) / len(sizes))
    measured, tokens_out, seconds = 0, float(ASSUMED_TOKENS), ASSUMED_SECONDS
    if store is not None:
        query = """SELECT count(*), avg(prompt_tokens), avg(completion_tokens), avg(seconds)
                   FROM calls c JOIN setups s ON s.id = c.setup WHERE s.kind = 'extract' AND s.model = ?"""
        found = store.rows(query, options.model)[0]
        if found[0] >= _ENOUGH:
            measured, tokens_in, tokens_out, seconds = found
    calls = problems * options.n
    return Estimate(
        **vars(options.spending.spend(calls, round(calls * tokens_in), round(calls * tokens_out))),
        rows=rows,
        sampled=len(sample),
        usable=problems,
        seconds=calls * seconds / options.access.calls_at_once,
        measured=measured,
    )


def _sample(source: Source) -> tuple[list[Row], int]:
    """Rows drawn from all of a file, the first ones of a hub data set; and the number of rows."""
    known = source.count()
    # A draw from all rows would download all of them.
    if not source.path.is_file() and known is not None:
        return list(islice(source.rows(), SAMPLE)), known
    draw = random.Random(0)
    sample: list[Row] = []
    total = 0
    for total, row in enumerate(source.rows(), 1):  # reservoir sampling
        if len(sample) < SAMPLE:
            sample.append(row)
        elif (place := draw.randrange(total)) < SAMPLE:
            sample[place] = row
    return sample, total
