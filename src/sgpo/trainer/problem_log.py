"""What became of each problem of each generation batch, a JSON line each. Means over a batch do not say on which
problems lose their alpha, nor which strategies lift. ``docs/report.md`` lists the fields.

Each process appends to a file of its own, without a collective: ``problems.jsonl``, or ``problems-rank{i}.jsonl``
where there are several. A resumed run drops the rows that were written after its checkpoint, and writes them anew.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sgpo.runs.files import append_rows
from sgpo.trainer.checks import STRATEGY_COLUMN
from sgpo.trainer.distillation import Target
from sgpo.trainer.rollouts import GenerationBatch

PROBLEMS = "problems.jsonl"


class ProblemLog:
    """The log of process ``rank`` of ``world_size`` in ``output_dir``; what was written is in the file at once.

    A disk that cannot be written to ends the log with a warning, not the training.
    """

    def __init__(self, output_dir: str | None, rank: int = 0, world_size: int = 1):
        name = PROBLEMS if world_size == 1 else f"problems-rank{rank}.jsonl"
        self.path = Path(output_dir or ".") / name
        self._broken = False
        if _is_of_others(self.path):
            self._broken = True
            warnings.warn(
                f"{self.path} holds no log of problems, and stays as it is: no problem is logged. Give another "
                "output_dir, or another name to that file.",
                stacklevel=2,
            )

    def write(
        self,
        step: int,
        batch: GenerationBatch,
        guided_pass_rate: Tensor,
        alpha: Tensor,
        targets: Mapping[int, Sequence[Target]],
    ) -> None:
        """Append the B problems of a verified batch.

        ``guided_pass_rate`` (NaN: no guided rollouts) and ``alpha`` are ``[B]``; ``targets`` are by problem (0..B-1).
        """
        if self._broken:
            return
        rates = (batch.pass_rate.tolist(), guided_pass_rate.tolist(), alpha.tolist())
        rows = [
            {
                "step": step,
                "id": problem_id(problem),
                **({"family": problem["family"]} if "family" in problem else {}),
                "autonomous_pass_rate": autonomous,
                "guided_pass_rate": None if math.isnan(guided) else guided,
                "alpha": weight,
                "target_tokens": sum(len(target.completion_ids) for target in targets.get(i, ())),
                "strategy": problem.get(STRATEGY_COLUMN),
            }
            for i, (problem, autonomous, guided, weight) in enumerate(zip(batch.problems, *rates, strict=True))
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_rows(self.path, rows, sync=False, default=str)
        except OSError as error:
            self._broken = True
            warnings.warn(f"{self.path} cannot be written ({error}); no more problems are logged.", stacklevel=2)

    def rewind(self, step: int) -> None:
        """Drop what was written after optimizer step ``step``: the rows behind the last one of that step or before."""
        if self._broken or not self.path.is_file():
            return
        end = whole = 0
        with self.path.open("rb") as file:
            for line in file:
                whole += len(line)
                if line.endswith(b"\n") and _step(line) <= step:
                    end = whole
        if end < whole:
            os.truncate(self.path, end)


def _is_of_others(path: Path) -> bool:
    """Whether a file of that name is something else, such as the training data: its first row names no step."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline()
    return first.endswith(b"\n") and _step(first) == math.inf


def _step(line: bytes) -> float:
    """The optimizer step of a row; infinity for a line that is none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut off where a run ended: after any checkpoint


def problem_id(problem: Mapping[str, Any]) -> str:
    """The ``id`` of a row of the data set as text, else the first 8 hex digits of its prompt's SHA-256."""
    if problem.get("id") is not None:
        return str(problem["id"])
    prompt = json.dumps(problem["prompt"], sort_keys=True, default=str)
    return hashlib.sha256(prompt.encode()).hexdigest()[:8]
