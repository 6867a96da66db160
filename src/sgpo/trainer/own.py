"""What the trainers of this package keep on TRL's object beside TRL's own attributes: all of it under one name."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sgpo.runs.files import JsonObject
from sgpo.trainer.distillation import Target
from sgpo.trainer.metrics import DistillationSums
from sgpo.trainer.problem_log import ProblemLog
from sgpo.trainer.rollouts import GenerationBatch, GuidedRollouts
from sgpo.trainer.schedule import GuidedSchedule
from sgpo.trainer.teacher import TeacherWeights

if TYPE_CHECKING:
    from sgpo.trainer.measured import EvaluationMeans
    from sgpo.trainer.resumable import EpochSampler


@dataclass
class Own:
    """The attribute ``_sgpo`` of every trainer, so that no release of TRL can come to use one of these names.

    Shapes: B problems and G rollouts of each on this rank, N rows of a micro-step, T completion tokens.
    """

    base_model: str = ""  # name or folder of the model that training starts from, "" for one in memory
    sampler: "EpochSampler | None" = None  # TRL's sampler of the training set; None for a streamed one
    current_pass: tuple[int, int] = (0, 0)  # the pass over the data (from 0), and the step at which it began
    trained: JsonObject | None = None  # which weights are trained, by which optimizer; a checkpoint is held to it
    correctness: int | None = None  # the column of the reward that decides what is correct; None where there is none
    told_of_no_verdicts: bool = False  # whether it was said that this reward had no verdict on a whole batch
    unknown_ids: bool = False  # whether the tokenizer can make ids that the model has no embedding for
    context: tuple[float, str] = (math.inf, "")  # tokens of a prompt and its completion together, and whose limit it is
    shown_roles: set[str] = field(default_factory=set)  # of conversations that the chat template was seen to show
    measured: "EvaluationMeans | None" = None  # what an evaluation during training has seen, while it runs
    logps: Tensor | None = None  # of the last forward, [N, T], on its graph
    rewards: Tensor | None = None  # of the last generation batch, [B * G, functions]
    # What SGPO alone keeps.
    batch: GenerationBatch | None = None  # the rollouts, while TRL generates and scores the autonomous ones
    slots: list[list[Target]] = field(default_factory=list)  # targets of each micro-step until the next generation
    guided_slots: list[dict[str, Tensor]] = field(default_factory=list)  # guided rows of each, as TRL's batches are
    replayed: GuidedRollouts | None = None  # the guided rollouts, while TRL scores them
    sums: DistillationSums = field(default_factory=DistillationSums)  # metrics of the current optimizer step
    teacher: TeacherWeights | None = None  # the teacher, if it is not the live policy
    problem_log: ProblemLog | None = None  # the log of problems, if it is on
    schedule: GuidedSchedule | None = None  # what draws the problems that are guided, where they are drawn
    # What LUFFY and HPT alone keep.
    expert_rows: Tensor | None = None  # [N] bool, of the rows of a micro-step, while TRL computes their loss
    experts: list[list[int]] | None = None  # ids of each problem's expert response, while LUFFY samples the others


@contextmanager
def swapped(owner: Any, **values: Any) -> Iterator[None]:
    """Within the block ``owner`` has other values of some attributes; TRL's code then works on them as on its own."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
