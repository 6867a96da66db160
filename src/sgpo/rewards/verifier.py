r"""`verify`: is the final answer of a response the gold answer?

One verifier for training, evaluation and extraction. It cannot hang, cannot run a response's code, and never raises
because of what a response says: every response gets a `Verdict` with a reason. docs/verifier.md has the rules.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from sgpo.rewards import extract as extraction
from sgpo.rewards.golds import Gold, check_gold, gold_text, normal_form
from sgpo.rewards.normalize import Normal
from sgpo.rewards.pool import get_pool
from sgpo.rewards.quantities import in_named_base
from sgpo.rewards.worker import Question

DEFAULT_TIMEOUT = 2.0  # wall seconds an item may take in a worker

Tolerance = float | str
_DIGITS = re.compile(r"-?\d{1,400}(?:\.\d{1,400})?")


@dataclass(frozen=True)
class Verdict:
    """What the verifier says of one response.

    Attributes:
        correct: whether the extracted answer equals the gold.
        reason: exact or equivalent (correct); different, unparsable, too_complex, timeout, memory, crash,
            no_response, no_box, no_answer, empty_answer, answer_too_long, bad_gold (not correct).
        extracted: the answer as it stood in the response; None where none was found.
        seconds: wall time of the verdict, without waiting for a free worker.
    """

    correct: bool
    reason: str
    extracted: str | None
    seconds: float


@dataclass(frozen=True)
class _Pending:
    """An item that needs a worker."""

    question: Question
    extracted: str
    seconds: float


def _readings(normal: Normal) -> list[str]:
    return [normal.text] if normal.listed is None else [normal.text, normal.listed]


def _prepare(
    response: str | None, gold: Gold | None, *, require_box: bool, tolerance: str | None, max_chars: int
) -> Verdict | _Pending:
    """Everything that needs no worker: extraction, normal forms, equality of their spelling."""
    started = time.perf_counter()

    def verdict(correct: bool, reason: str, extracted: str | None) -> Verdict:
        return Verdict(correct, reason, extracted, time.perf_counter() - started)

    if response is not None and not isinstance(response, str):
        raise TypeError(f"response is a {type(response).__name__}; give a string, or None where there is none")
    text = gold_text(gold)
    right = None if check_gold(gold) else normal_form(text)
    if right is None:
        return verdict(False, "bad_gold", None)
    found = extraction.extract(response, require_box=require_box, max_chars=max_chars)
    if not found.boxed and not require_box and response is not None:
        sentence = re.split(r"(?<!\\)[.!?]\s+(?=[A-Z])", found.line)[0]
        for prose in (response, found.line, sentence):  # the gold word for word, whatever prose it holds
            whole = normal_form(prose) if 0 < len(prose) <= 2 * len(text) + 200 else None
            if whole is not None and whole.key == right.key:
                return verdict(True, "exact", prose.strip())
    if found.text is None:
        return verdict(False, found.reason, None)
    left, beside, listed = map(normal_form, (found.text, found.beside, found.listed))
    said = f"{found.text} or {found.beside}" if found.beside else found.text
    if left is None or beside is None or listed is None:
        return verdict(False, "too_complex", said)
    if not left.text:
        return verdict(False, "empty_answer", said)
    if found.boxed and in_named_base(left.text, response or "", right.text):
        left = right
    if left.key == right.key and beside.key in ("", right.key):
        return verdict(True, "exact", said)
    also = _readings(beside) if beside.text else []
    answer = _readings(left) + [listed.text] * bool(listed.text)
    question = Question(_readings(right), answer, tolerance, also=also)
    return _Pending(question, said, time.perf_counter() - started)


def tolerance_text(tolerance: Tolerance | None) -> str | None:
    """A tolerance as exact decimal text: 0.1 and "1e-1" alike are a tenth. An empty text is none.

    Raises:
        ValueError: it is no number, negative or not finite.
    """
    text = str(tolerance).strip() if tolerance is not None else ""
    if not text:
        return None
    try:
        value = float("nan") if isinstance(tolerance, bool) else float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise ValueError(
            f"tolerance is {tolerance!r}; it is an absolute difference and must be a number, finite and not negative"
        )
    return text


def verify(
    response: str | None,
    gold: Gold,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    require_box: bool = False,
    tolerance: Tolerance | None = None,
    max_chars: int = extraction.MAX_CHARS,
) -> Verdict:
    r"""Whether the final answer of a response is the gold answer.

    Args:
        response: the completion, or None for a request that failed.
        gold: the answer: text (bare, in `$...$`, in `\boxed{}`, or a solution that ends in one), a number, or a list
            of texts that are all required, in any order.
        timeout: wall seconds the item may take in its worker, which is killed then.
        require_box: True accepts an answer only in a box; False also one that is stated ("the answer is 5",
            "#### 5"), that is all the response holds, or that is the formula in the closing line.
        tolerance: numbers within this absolute distance of the gold are equal, a number or text such as "1e-1"; None
            asks for exact equality.
        max_chars: only so many characters at the end of the response are read.

    Returns:
        A `Verdict`. Nothing that a response says raises.

    Raises:
        TypeError: response or gold is of a type that holds no text.
        ValueError: an option is out of range.
        VerifierError: no worker process can be started.
    """
    verdicts = verify_batch(
        [response], [gold], timeout=timeout, require_box=require_box, tolerance=tolerance, max_chars=max_chars
    )
    return verdicts[0]


def verify_batch(
    responses: Sequence[str | None],
    golds: Sequence[Gold],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    require_box: bool = False,
    tolerance: Tolerance | Sequence[Tolerance | None] | None = None,
    max_chars: int = extraction.MAX_CHARS,
) -> list[Verdict]:
    """`verify` for many items at once, over all workers; verdicts come in the order of the responses.

    Args:
        responses, golds: of equal length.
        tolerance: one for all, or one per item.
        timeout, require_box, max_chars: as for `verify`.

    Raises:
        ValueError: the lengths differ, or an option is out of range.
        TypeError, VerifierError: as for `verify`.
    """
    if tolerance is None or isinstance(tolerance, (int, float, str)):
        tolerances = [tolerance_text(tolerance)] * len(responses)
    else:
        tolerances = [tolerance_text(one) for one in tolerance]
    if not len(responses) == len(golds) == len(tolerances):
        raise ValueError(f"{len(responses)} responses, {len(golds)} golds, {len(tolerances)} tolerances: give as many")
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}; it is the wall seconds an item may take and must be positive")
    if max_chars < 1:
        raise ValueError(f"max_chars is {max_chars}; at least one character must be read")
    items = [
        _prepare(response, gold, require_box=require_box, tolerance=allowed, max_chars=max_chars)
        for response, gold, allowed in zip(responses, golds, tolerances, strict=True)
    ]
    pool = get_pool()
    settled = [item for item in items if isinstance(item, Verdict)]
    pool.count(items=len(settled), exact=sum(item.correct for item in settled))

    def finished(item: Verdict | _Pending) -> Verdict:
        if isinstance(item, Verdict):
            return item
        judgement, seconds = pool.run(item.question, timeout)
        return Verdict(judgement.correct, judgement.reason, item.extracted, item.seconds + seconds)

    threads = min(pool.size, len(items) - len(settled))
    if threads <= 1:
        return list(map(finished, items))
    with ThreadPoolExecutor(threads, thread_name_prefix="sgpo-verify") as executor:
        return list(executor.map(finished, items))


def first_equals(answers: Sequence[str], *, timeout: float = DEFAULT_TIMEOUT) -> list[str]:
    """Each answer, as it was extracted, replaced by the first of them that it is equal to: `0.5` by `1/2`."""
    firsts: dict[str, Normal] = {}
    found = []
    for answer in answers:
        form = normal_form(answer)
        same = next((first for first, other in firsts.items() if form and _equal(other, form, timeout)), answer)
        if form and same == answer:
            firsts[answer] = form
        found.append(same)
    return found


def _equal(one: Normal, other: Normal, timeout: float) -> bool:
    if one.key == other.key or not (one.text and other.text):
        return one.key == other.key
    if _DIGITS.fullmatch(one.text) and _DIGITS.fullmatch(other.text):
        return Fraction(one.text) == Fraction(other.text)  # most answers are, and a worker takes a millisecond
    return get_pool().run(Question(_readings(one), _readings(other), None), timeout)[0].correct


async def averify(response: str | None, gold: Gold, **options: Any) -> Verdict:
    """`verify` without blocking the event loop; same arguments, same errors."""
    return await asyncio.to_thread(verify, response, gold, **options)


def stats() -> dict[str, int]:
    """Counts of this process: items, exact (settled by spelling), timeouts, crashes, memory, replaced, started."""
    return asdict(get_pool().stats)
