"""Strategy-Guided Policy Optimization (SGPO, arXiv 2606.24064): teach a model how to reason.

Importing this package is cheap: the trainer, and with it torch, is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["HPTConfig", "HPTTrainer", "LUFFYConfig", "LUFFYTrainer", "SGPOConfig", "SGPOTrainer", "__version__"]

if TYPE_CHECKING:
    from sgpo.trainer import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer


def __getattr__(name: str) -> Any:
    if name in __all__:
        import sgpo.trainer

        return getattr(sgpo.trainer, name)
    raise AttributeError(f"module 'sgpo' has no attribute {name!r}")
