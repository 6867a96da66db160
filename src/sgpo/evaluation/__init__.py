"""Sampling, scores and intervals, and the evaluation of models on benchmarks.

:mod:`sgpo.evaluation.metrics` and :mod:`sgpo.evaluation.results` do without torch, which is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from sgpo.evaluation.metrics import (
    avg_at_k,
    bootstrap_interval,
    maj_at_k,
    paired_interval,
    paired_t_interval,
    pass_at_k,
    t_interval,
)
from sgpo.evaluation.results import EvalResult, Graded, ProblemResult, summarise

if TYPE_CHECKING:
    from sgpo.evaluation.evaluator import evaluate
    from sgpo.models.sampling import sample

__all__ = [
    "EvalResult",
    "Graded",
    "ProblemResult",
    "avg_at_k",
    "bootstrap_interval",
    "evaluate",
    "maj_at_k",
    "paired_interval",
    "paired_t_interval",
    "pass_at_k",
    "sample",
    "summarise",
    "t_interval",
]
_LAZY = {"evaluate": "sgpo.evaluation.evaluator", "sample": "sgpo.models.sampling"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'sgpo.evaluation' has no attribute {name!r}")
