"""The embedded default task: a model small enough to train on one CPU core, and problems that separate the
methods.

SGPO (arXiv 2606.24064) needs a policy that can *carry out* a strategy it is given and seldom *finds* that
strategy alone. Here such a policy ships with the package: a 0.47M-parameter Llama-style model, pretrained from
nothing by ``python -m sgpo.lab.pretrain`` on ten families of small arithmetic word problems.

- Each family has one right approach and two plausible wrong ones; an instance on which a wrong approach hits
  the right answer is rejected, so the verdict on the answer is a verdict on the approach.
- Half of the pretraining text has a strategy in front of the problem (right or wrong, always carried out as
  told); the other half has none, and takes the right approach with the family's *prior*, from 0 to 0.25.
- Instances are split by hash: pretraining corpus, RL training, validation and evaluation share none.

Three families (`remainder`, `sumdiff`, `ratio`) have a prior of at most 0.001: reward alone practically never
finds their approach. Report results with and without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgpo.lab.problems import GUIDED_TEMPLATE, Problem, lab_reward, load_problems, verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["GUIDED_TEMPLATE", "Problem", "lab_reward", "load_base", "load_problems", "verify"]


def load_base(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a shipped base model in float32 and its tokenizer; see `sgpo.lab.model.load_base`."""
    from sgpo.lab.model import load_base as load

    return load(seed)
