"""The embedded default task: a model small enough to train on one CPU core, and problems that separate the
methods.

SGPO (arXiv 2606.24064) needs a policy that can *carry out* a strategy it is given and seldom *finds* that
strategy alone. Here such a policy ships with the package: a 0.46M-parameter Llama-style model, pretrained from
nothing by ``python -m sgpo.lab.pretrain``.

- A problem is a number and two to four of sixteen operations, as in ``Q 47 ; plus 12 ; double ? A``; which
  operations in which order is its *type*. Its strategy names the operations in other words, without the numbers.
- An instance on which a misread operation hits the right answer is rejected, so the verdict on the answer is a
  verdict on the approach.
- Half of the pretraining text has a strategy in front of the problem (right or wrong, always carried out as told);
  the other half has none, and understands each operation with the operation's *prior*, from 0.0005 to 0.85.
- Instances are split by hash: pretraining corpus, RL training, validation and evaluation share none. Validation and
  evaluation have types that neither pretraining nor training has.

Held-out problems differ from those of training along five axes (`sgpo.lab.problems.AXES`), so that learning the
instances and learning the way can be told apart. Types with the operations `dial` or `unit`
(`sgpo.lab.catalog.UNSOLVED`) are practically never solved by reward alone.
"""

from sgpo.lab.model import load_base
from sgpo.lab.problems import AXES, GUIDED_TEMPLATE, Problem, lab_reward, load_problems, verify

__all__ = ["AXES", "GUIDED_TEMPLATE", "Problem", "lab_reward", "load_base", "load_problems", "verify"]
