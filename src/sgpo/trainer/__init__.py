"""SGPO as a drop-in for TRL's ``GRPOTrainer``, and the two baselines that train on an expert's response."""

from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.hpt import HPTConfig, HPTTrainer
from sgpo.trainer.luffy import LUFFYConfig, LUFFYTrainer
from sgpo.trainer.sgpo_trainer import SGPOTrainer

__all__ = ["HPTConfig", "HPTTrainer", "LUFFYConfig", "LUFFYTrainer", "SGPOConfig", "SGPOTrainer"]
