"""How much likelier a local model finds the answer under a strategy than under other problems' strategies. Ours.

The cheap form of `sgpo.strategies.audit`: nothing is sampled. After the blind question with the strategy in it, the
log-likelihood of the answer's tokens is read off, and its mean under the strategies of other problems is taken away, so
that answers that are likely anyway (12, 1/2) gain nothing. In nats a token; above 0 the strategy tells something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sgpo.data.messages import Messages
from sgpo.rewards.golds import gold_text
from sgpo.strategies.audit import draw_others, require_others
from sgpo.strategies.store import Store
from sgpo.strategies.templates import PromptTemplate

if TYPE_CHECKING:
    from sgpo.models.local import LocalModel

NOTE = "likelihood"
OPENING = '{"answer": "'
"""What the reply begins with; the answer's tokens follow."""


def measure(
    store: Store,
    model: LocalModel,
    *,
    model_name: str,
    prompt: PromptTemplate,
    limit: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """The gain of each candidate, noted with it under "likelihood" (nats, others, model), in the order of the store.

    Raises ValueError for fewer than two problems with a candidate.
    """
    require_others(store, limit)
    found = list(store.with_candidates(limit))
    texts = {(problem.id, c.id): c.strategy.text() for problem, candidates in found for c in candidates}
    known = sorted(texts)
    gains: list[float] = []
    for problem, candidates in found:
        for candidate in candidates:
            drawn = draw_others(NOTE, candidate, known)
            asked = [prompt.messages(strategy=texts[key]) for key in ((problem.id, candidate.id), *drawn)]
            scores = [log_likelihood(model, messages, gold_text(problem.answer)) for messages in asked]
            gain = scores[0] - sum(scores[1:]) / len(scores[1:])
            store.note([(candidate.id, NOTE, {"nats": gain, "others": len(drawn), "model": model_name})])
            gains.append(gain)
            report(len(gains), len(texts))
    return gains


def blind_question(model: LocalModel, messages: Messages) -> list[int]:
    """The tokens of the blind question and of the reply's beginning, up to where the answer stands."""
    tokenizer = model.tokenizer
    if tokenizer.chat_template:
        variables = model.chat_template_kwargs
        shown = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **variables)
    else:
        shown = "\n\n".join(message["content"] for message in messages) + "\n"
    ids: list[int] = tokenizer(str(shown) + OPENING, add_special_tokens=not tokenizer.chat_template)["input_ids"]
    return ids


def log_likelihood(model: LocalModel, messages: Messages, answer: str) -> float:
    """The mean log-probability of the answer's tokens after the question, in nats."""
    from sgpo.models.scoring import mean_log_probability, response_logits

    tail = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
    (logits,) = response_logits(model.model, [blind_question(model, messages)], [tail])
    return mean_log_probability(logits, tail)
