"""Strategy-Guided Policy Optimization (SGPO, arXiv 2606.24064): teach a weaker language model how to reason.

The trainers (`SGPOTrainer`, ...), and the commands as functions (`sgpo.api`): `extract`, `rank`, `export`, `train`,
`evaluate`, `compare`, `report`. Importing this package is cheap: each name, and with it torch, is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
_TRAINERS = ("HPTConfig", "HPTTrainer", "LUFFYConfig", "LUFFYTrainer", "SGPOConfig", "SGPOTrainer")
_FUNCTIONS = ("evaluate", "export", "extract", "rank", "train")
_PACKAGES = ("compare", "report")  # functions that are packages, too: see sgpo._callable
__all__ = [
    "HPTConfig",
    "HPTTrainer",
    "LUFFYConfig",
    "LUFFYTrainer",
    "SGPOConfig",
    "SGPOTrainer",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "extract",
    "rank",
    "report",
    "train",
]

if TYPE_CHECKING:
    from sgpo.api import evaluate, export, extract, rank, train
    from sgpo.trainer import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer

    from . import compare, report


def __getattr__(name: str) -> Any:
    if name in _TRAINERS:
        return getattr(import_module("sgpo.trainer"), name)
    if name in _FUNCTIONS:
        return getattr(import_module("sgpo.api"), name)
    if name in _PACKAGES:
        return import_module(f"sgpo.{name}")
    raise AttributeError(f"module 'sgpo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
