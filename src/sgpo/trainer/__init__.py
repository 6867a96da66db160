"""SGPO as a drop-in for TRL's ``GRPOTrainer``."""

from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.sgpo_trainer import SGPOTrainer

__all__ = ["SGPOConfig", "SGPOTrainer"]
