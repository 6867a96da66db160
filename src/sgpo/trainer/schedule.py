"""Which problems get guided rollouts under ``guided_rollouts="by_weight"``: a draw that leaves the gradient unbiased.

Guided rollouts pay where they bring a weight ``alpha(q)``. Before they are sampled that weight is not known, but it can
be told: the autonomous pass rate ``p`` is there, and for the guided one stands that of the problem's last visit in an
earlier epoch (1, the most, at the first visit). Problem ``q`` is guided with the probability

    pi(q) = max(floor, alpha(p, p~ of before) / largest alpha of this form),     0 where no p~ gives a weight

and, where it is, its weight becomes ``alpha(q) / pi(q)`` (Horvitz and Thompson 1952). The mean of that over the draws
is ``alpha(q)``, whatever ``pi`` was, so the gradient is in expectation that of guiding every problem. The floor keeps
``1 / pi``, and with it the variance, within bounds, and lets a problem be looked at again whose strategy did not work
before. Source: ours.

Shapes: B problems of this rank's generation batch.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor

from sgpo.objectives import adaptive_weight
from sgpo.runs.files import read_json, write_json
from sgpo.trainer.checks import STRATEGY_COLUMN
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.rollouts import GenerationBatch, Problem

FILE = "sgpo_guided_rates.json"  # in a checkpoint; the same on every rank, so one writes it


class GuidedSchedule:
    """The probability of each problem, and what they follow from: the guided pass rates of earlier visits.

    Every rank knows the rates of all ranks, since a problem meets another rank in the next epoch.
    """

    def __init__(self, args: SGPOConfig):
        self._args = args
        self._rates: dict[str, float] = {}
        # The pass rates that a group can have; the largest weight among them has the probability 1.
        possible = torch.linspace(0, 1, args.num_generations + 1)
        self._largest = float(self._weights(possible, torch.ones_like(possible)).max())

    def draw(self, batch: GenerationBatch, candidates: Sequence[int], step: int, rank: int) -> list[int]:
        """Those of ``candidates`` (0..B-1) that are guided; their probabilities go into ``batch.guiding_probability``.

        The draw follows from the seed, ``step`` and ``rank`` alone: it takes no random number from the sampler, and a
        resumed run draws the same. ``max_guided_problems`` scales the probabilities down, and is held exactly.
        """
        args, most = self._args, self._args.max_guided_problems
        wanted = self.probabilities(batch.pass_rate, batch.problems)[list(candidates)].tolist()
        if most is not None and sum(wanted) > most:
            wanted = [value * most / sum(wanted) for value in wanted]
        chosen = systematic_draw(wanted, random.Random(f"{args.seed} {step} {rank}").random())[:most]
        batch.guiding_probability = torch.ones_like(batch.pass_rate)
        for k in chosen:
            batch.guiding_probability[candidates[k]] = wanted[k]
        return [candidates[k] for k in chosen]

    def probabilities(self, pass_rate: Tensor, problems: Sequence[Problem]) -> Tensor:
        """``pi(q)`` of each problem with the autonomous pass rates ``[B]``, in [0, 1]; ``[B]``."""
        before = [self._rates.get(_key(problem), 1.0) for problem in problems]
        expected = self._weights(pass_rate, torch.tensor(before, device=pass_rate.device)) / self._largest
        at_most = self._weights(pass_rate, torch.ones_like(pass_rate))
        floored = expected.clamp(self._args.guided_probability_min, 1.0)
        return torch.where(at_most > 0, floored, torch.zeros_like(floored))

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

    def _weights(self, pass_rate: Tensor, guided_pass_rate: Tensor) -> Tensor:
        args = self._args
        constants = {"alpha_0": args.alpha_0, "gamma": args.alpha_gamma, "alpha_max": args.alpha_max}
        return adaptive_weight(pass_rate, guided_pass_rate, form=args.alpha_form, **constants)


def systematic_draw(probabilities: Sequence[float], start: float) -> list[int]:
    """Numbers of the items drawn, each with its probability, by one random ``start`` in [0, 1) (systematic sampling).

    Their number is within one of the sum of the probabilities; with a draw for each item it would vary far more, and
    with it the time of a step.
    """
    ends = [math.floor(total + start) for total in accumulate(probabilities)]
    return [k for k, (before, end) in enumerate(zip([0, *ends], ends, strict=False)) if end > before]


def _key(problem: Problem) -> str:
    """What a problem and its strategy are remembered by: an ``id`` need not be unique, nor be there."""
    text = json.dumps([problem["prompt"], problem.get(STRATEGY_COLUMN)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
