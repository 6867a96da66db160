"""Sampling, scores and intervals, and the evaluation of models on benchmarks.

The names below are imported on first use: `sgpo.evaluation.options` needs neither numpy nor torch, and
`sgpo.evaluation.metrics` and `sgpo.evaluation.results` no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgpo.evaluation.evaluator import evaluate
    from sgpo.evaluation.metrics import (
        avg_at_k,
        bootstrap_interval,
        maj_at_k,
        paired_interval,
        paired_t_interval,
        pass_at_k,
        problem_interval,
        t_interval,
    )
    from sgpo.evaluation.results import EvalResult, Graded, ProblemResult, summarise
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
    "problem_interval",
    "sample",
    "summarise",
    "t_interval",
]
_HOMES = {
    **dict.fromkeys(("EvalResult", "Graded", "ProblemResult", "summarise"), "sgpo.evaluation.results"),
    "evaluate": "sgpo.evaluation.evaluator",
    "sample": "sgpo.models.sampling",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(_HOMES.get(name, "sgpo.evaluation.metrics")), name)
    raise AttributeError(f"module 'sgpo.evaluation' has no attribute {name!r}")
