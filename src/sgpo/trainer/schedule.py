"""Which problems get guided rollouts under ``guided_rollouts="by_weight"``: what is remembered, and the draw of a step.

The mathematics is :mod:`sgpo.objectives.guiding`. The guided pass rate that it expects is here that of the problem's
last visit in an earlier epoch; at the first visit 1, the most, so that no strategy goes untried.

Shapes: B problems of this rank's generation batch.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor

from sgpo.objectives import capped_probabilities, guiding_probabilities, systematic_draw
from sgpo.runs.files import read_json, write_json
from sgpo.trainer.checks import STRATEGY_COLUMN
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.rollouts import GenerationBatch, Problem

FILE = "sgpo_guided_rates.json"  # in a checkpoint; the same on every rank, so one writes it


class GuidedSchedule:
    """The guided pass rates of earlier visits, and the draws that follow from them.

    Every rank knows the rates of all ranks, since a problem meets another rank in the next epoch.
    """

    def __init__(self, args: SGPOConfig):
        self._args = args
        self._rates: dict[str, float] = {}

    def draw(self, batch: GenerationBatch, candidates: Sequence[int], step: int, rank: int) -> list[int]:
        """Those of ``candidates`` (0..B-1) that are guided; their probabilities go into ``batch.guiding_probability``.

        The draw follows from the seed, ``step`` and ``rank`` alone: it takes no random number from the sampler, and a
        resumed run draws the same. ``max_guided_problems`` scales the probabilities down, and is held exactly.
        """
        args, most = self._args, self._args.max_guided_problems
        found = self.probabilities(batch.pass_rate, batch.problems)
        wanted = capped_probabilities(found[list(candidates)].tolist(), most)
        # Rounding can make a sum of `most` reach one more item; the cap is a promise about memory, so it is cut.
        chosen = systematic_draw(wanted, random.Random(f"{args.seed} {step} {rank}").random())[:most]
        batch.guiding_probability = torch.ones_like(batch.pass_rate)
        for k in chosen:
            batch.guiding_probability[candidates[k]] = wanted[k]
        return [candidates[k] for k in chosen]

    def probabilities(self, pass_rate: Tensor, problems: Sequence[Problem]) -> Tensor:
        """With which each of the problems is guided ``[B]``, before a cap, by what earlier visits have shown."""
        before = [self._rates.get(_key(problem), 1.0) for problem in problems]
        return guiding_probabilities(
            pass_rate,
            torch.tensor(before, device=pass_rate.device),
            rollouts=self._args.num_generations,
            floor=self._args.guided_probability_min,
            weight=self._args.alpha,
        )

    def learn(self, problems: Sequence[Problem], guided_pass_rate: Tensor) -> None:
        """Remember the guided pass rates ``[B]`` of all ranks; NaN for a problem without. Every rank calls it."""
        pairs = zip(map(_key, problems), guided_pass_rate.tolist(), strict=True)
        self._rates.update(gather_object([(key, rate) for key, rate in pairs if not math.isnan(rate)]))

    def save(self, directory: Path) -> None:
        """Write the rates into a checkpoint."""
        write_json(directory / FILE, self._rates)

    def load(self, directory: Path) -> None:
        """Read them back; a checkpoint of another way of guiding has none, and every problem is new."""
        if (directory / FILE).is_file():
            self._rates = read_json(directory / FILE)


def _key(problem: Problem) -> str:
    """What a problem and its strategy are remembered by: an ``id`` need not be unique, nor be there."""
    text = json.dumps([problem["prompt"], problem.get(STRATEGY_COLUMN)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
