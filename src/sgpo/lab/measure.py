"""How a trained model is measured on the lab: the same for every method, during training and at its end."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sgpo.evaluation import EvalResult, evaluate
from sgpo.lab.evaluate import sample
from sgpo.lab.problems import MAX_COMPLETION, Split, guided_prompt, lab_reward, load_problems, verify
from sgpo.runs.files import write_rows

_KEPT = ("id", "family", "strategy", "answer")


def measure(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    k: int,
    split: Split = "eval",
    guided: bool = False,
    temperature: float = 1.0,
    seed: int = 1234,
) -> EvalResult:
    """Accuracy on held-out problems, ``k`` samples each, with the strategy in the prompt if ``guided``."""
    rows = [{**p, "prompt": guided_prompt(p) if guided else p["prompt"]} for p in load_problems(split)]
    return evaluate(
        model,
        tokenizer,
        rows,
        grade=lambda completions, answers: lab_reward(completions, answers),
        k=k,
        temperature=temperature,
        max_new_tokens=MAX_COMPLETION,
        batch_size=300,
        seed=seed,
    )


def write_samples(model: PreTrainedModel, tokenizer: Any, split: Split, path: Path, per_family: int = 2) -> None:
    """A few responses to held-out problems, with and without the strategy in the prompt, for the report."""
    seen: dict[str, int] = {}
    chosen = []
    for problem in load_problems(split):
        if seen.setdefault(problem["family"], 0) < per_family:
            seen[problem["family"]] += 1
            chosen.append(problem)
    texts = {
        name: sample(model, tokenizer, [guided_prompt(p) if name == "guided" else p["prompt"] for p in chosen])
        for name in ("autonomous", "guided")
    }
    rows = []
    for i, problem in enumerate(chosen):
        row: dict[str, Any] = {name: value for name, value in problem.items() if name in _KEPT}
        row["problem"] = problem["prompt"]
        for name, completions in texts.items():
            row |= {name: completions[i], f"{name}_correct": verify(completions[i], problem["answer"])}
        rows.append(row)
    write_rows(path, rows)


def summary(result: EvalResult) -> dict[str, Any]:
    """The part of a results.json entry that comes from the evaluation."""
    return {
        "accuracy": result.accuracy,
        "accuracy_ci95": list(result.ci95),
        "n_problems": result.n_problems,
        "k": result.k,
        "per_family": result.per_group,
    }
