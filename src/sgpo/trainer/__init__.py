"""SGPO as a drop-in for TRL's ``GRPOTrainer``, and the baselines that train on an expert's response.

Each class has one concern, and extends the one above it with ``super()``:

========================  ===================  ========================================================================
``GRPOTrainer``           TRL                  rollouts, rewards, advantages, GRPO's loss
``ServedGRPOTrainer``     ``vllm_server.py``   deadlines for the requests to a vLLM server
``SoundTrainer``          ``sound.py``         finite numbers; what is trained is saved, and checkpoints are whole
``ResumingTrainer``       ``resuming.py``      going on from a whole checkpoint of the same weights and data
``ResumableGRPOTrainer``  ``resumable.py``     resuming to the bit
``MeasuredGRPOTrainer``   ``measured.py``      an evaluation counts each problem once
``BaseTrainer``           ``base.py``          construction, rewards, ids, the model card
``GuidedRolloutTrainer``  ``guided.py``        guided rollouts beside the autonomous ones
``GuidedGroupTrainer``    ``guided_group.py``  GRPO on the guided rollouts, too (off by default)
``SGPOTrainer``           ``sgpo_trainer.py``  targets, distillation, the loss
========================  ===================  ========================================================================

LUFFY and HPT extend ``ExpertTrainer`` (``expert.py``), and that ``BaseTrainer``. SFT (``sft.py``) is TRL's
``SFTTrainer`` with ``ResumingTrainer``. What they keep on the object is ``_sgpo`` (``own.py``); every private name of
TRL is in ``trl_seam.py``.
"""

from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.hpt import HPTConfig, HPTTrainer
from sgpo.trainer.luffy import LUFFYConfig, LUFFYTrainer
from sgpo.trainer.sgpo_trainer import SGPOTrainer

__all__ = ["HPTConfig", "HPTTrainer", "LUFFYConfig", "LUFFYTrainer", "SGPOConfig", "SGPOTrainer"]
