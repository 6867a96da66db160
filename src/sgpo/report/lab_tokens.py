"""The token view of a lab run: N held-out problems, a response to each, read by the model before and after training.

The response is what distillation would train on: of a few that the model before training samples WITH the strategy,
the first correct one (the first, if none is). Reading one response with both models shows what training took over
from the strategy: where the KL is gone, the policy does by itself what it was told to do before.
"""

from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from transformers.utils.logging import disable_progress_bar

from sgpo.lab.benchmark import LAB
from sgpo.lab.measure import by_axis
from sgpo.lab.model import base_path, load
from sgpo.lab.problems import MAX_COMPLETION, Problem, load_problems, verify, with_strategy
from sgpo.lab.tokenizer import vocabulary
from sgpo.models.sampling import sample
from sgpo.report.run import Run
from sgpo.report.tokens import token_view
from sgpo.runs.files import JsonObject, write_rows
from sgpo.runs.json_entry import mapping
from sgpo.runs.provenance import starts_of

SAMPLES = 4  # guided responses a problem, of which one is shown


def write_tokens(run: Run, count: int) -> Path:
    """Write the token view of ``count`` responses, from the axes in turn, as tokens.jsonl into the run's directory.

    Raises ValueError where it has no model, or one that was not trained on the lab.
    """
    disable_progress_bar()
    trained, start = _models(run)
    torch.set_num_threads(1)
    after, tokenizer = load(trained)
    if set(tokenizer.get_vocab()) != set(vocabulary()):
        raise ValueError(
            f"the model in {trained} does not have the lab's vocabulary, and --tokens has problems for the lab alone. "
            "For another model write tokens.jsonl with sgpo.report.tokens.token_view (docs/report.md)."
        )
    before, _ = load(start)
    rows: list[JsonObject] = []
    models = (("before training", before), ("after training", after))
    chosen = _problems(count)
    responses = _responses(before, tokenizer, chosen)
    pairs = list(zip(chosen, responses, strict=True))
    for problem, response in track(pairs, "token view", transient=True):
        rows += [_row(problem, response, name, model, tokenizer) for name, model in models]
    out = run.path / "tokens.jsonl"
    write_rows(out, rows)
    return out


def _models(run: Run) -> tuple[Path, Path]:
    """The model of the first SGPO cell that has one, else of any cell, and the one that it began from."""
    cells = sorted(run.cells, key=lambda cell: cell.method != "sgpo")
    for cell in cells:
        if (cell.path / "model" / "config.json").is_file():
            base = int(cell.base_seed or 0)
            copied = run.path / f"start-base{base}"  # of sgpo compare, which may have begun from other bases
            return cell.path / "model", copied if copied.is_dir() else base_path(base)
    if (run.path / "config.json").is_file():
        # Of a training run its first start says it: later ones went on from a checkpoint.
        first = mapping(next(iter(starts_of(run.path)), None))
        name = mapping(mapping(first.get("config")).get("model")).get("model_name_or_path")
        return run.path, base_path() if name in (None, LAB.name) else Path(name)
    raise ValueError(f"{run.path} has no saved model (model/config.json in a cell), which --tokens needs.")


def _problems(count: int) -> list[Problem]:
    """One problem of each axis in turn."""
    turns = zip(*by_axis(load_problems("eval")).values(), strict=True)
    return [problem for turn in turns for problem in turn][:count]


def _responses(model: Any, tokenizer: Any, problems: list[Problem]) -> list[str]:
    """One guided response to each problem: the first correct one of ``SAMPLES``, or the first where none is."""
    prompts = [with_strategy(problem) for problem in problems]
    rows = sample(model, tokenizer, prompts, k=SAMPLES, max_new_tokens=MAX_COMPLETION)
    texts = [[one.text for one in row] for row in rows]
    return [
        next((text for text in own if verify(text, problem["answer"])), own[0])
        for problem, own in zip(problems, texts, strict=True)
    ]


def _row(problem: Problem, response: str, name: str, model: Any, tokenizer: Any) -> JsonObject:
    view = token_view(model, tokenizer, problem["prompt"], with_strategy(problem), response)
    facts = {key: value for key, value in problem.items() if key in ("id", "family", "strategy", "answer")}
    verdict = {"response": response, "correct": verify(response, problem["answer"])}
    return {**facts, "problem": problem["prompt"], **verdict, "model": name, "tokens": view}
