"""Evaluation of a model in memory: sample, grade, summarise. What training runs between steps and ``sgpo eval`` does
with files and endpoints around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sgpo.evaluation.results import EvalResult, Graded, ProblemResult, summarise
from sgpo.models.sampling import Progress, sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Grade = Callable[[list[str], list[Any]], Sequence[float]]
"""Completions and the gold answers, in the same order, to verdicts (bool, or 0 to 1)."""


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Mapping[str, Any]],
    *,
    grade: Grade,
    k: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    batch_size: int = 64,
    seed: int = 0,
    group: str = "family",
    extract: Callable[[str], str | None] | None = None,
    progress: Progress | None = None,
) -> EvalResult:
    """Accuracy of ``model`` on ``problems``, its interval and its parts.

    Args:
        problems: each with ``prompt`` (text or messages) and ``answer``; ``id`` and the ``group`` field are optional.
            For a guided evaluation put the guided prompt into ``prompt``.
        grade: verdicts of completions; called once, with ``P * k`` completions, the k of a problem side by side.
        k, temperature, top_p, max_new_tokens, batch_size, seed, progress: see :func:`sgpo.models.sampling.sample`.
        group: the field by which results are also reported apart.
        extract: the final answer of a completion, for the majority vote; without it ``maj_at_k`` is None.

    Raises:
        ValueError: for no problems, a problem without a prompt or an answer, and settings out of range.
    """
    if not problems:
        raise ValueError("There are no problems to evaluate; give at least one.")
    for i, problem in enumerate(problems):
        # Before the model: without an answer every completion would count as wrong.
        if missing := [name for name in ("prompt", "answer") if problem.get(name) is None]:
            raise ValueError(f"Problem {i} ({problem.get('id')!r}) has no {missing[0]!r}; it has {sorted(problem)}.")
    how: dict[str, Any] = {"k": k, "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}
    prompts = [problem["prompt"] for problem in problems]
    sampled = sample(model, tokenizer, prompts, **how, batch_size=batch_size, seed=seed, progress=progress)
    # One call for all of them: a grader that has processes of its own works on them side by side.
    texts = [one.text for row in sampled for one in row]
    verdicts = list(grade(texts, [problem["answer"] for problem in problems for _ in range(k)]))
    if len(verdicts) != len(texts):
        raise ValueError(
            f"grade returned {len(verdicts)} verdicts for {len(texts)} completions; it must return one each."
        )
    results = []
    for i, (problem, row) in enumerate(zip(problems, sampled, strict=True)):
        # The k completions of problem i lie side by side, as they were sampled.
        graded = [
            Graded(float(verdict), extract(one.text) if extract else None, one.tokens, one.truncated, text=one.text)
            for one, verdict in zip(row, verdicts[i * k : (i + 1) * k], strict=True)
        ]
        name = None if problem.get(group) is None else str(problem[group])
        results.append(ProblemResult(str(problem.get("id", i)), name, problem["answer"], graded))
    return summarise(results)
