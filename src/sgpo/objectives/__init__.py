"""Pure torch maths of SGPO: tensors in, tensors out; no trainer, no logging, no global state.

Importing this package imports torch, and nothing else of sgpo.
"""

from .divergence import CLIP_FORMS, DIRECTIONS, clip_token_kl, distillation_loss, token_kl
from .fused import fused_linear_distillation_loss
from .groups import joined_advantages
from .guiding import capped_probabilities, guiding_probabilities, systematic_draw
from .records import Divergence, FusedLoss, Head, Kernel, Rows
from .selection import SELECTION_MODES, rank_targets, trimmed_logps
from .topk import fused_linear_top_k_kl, top_k_kl
from .weighting import WEIGHT_FORMS, adaptive_weight

__all__ = [
    "CLIP_FORMS",
    "DIRECTIONS",
    "SELECTION_MODES",
    "WEIGHT_FORMS",
    "Divergence",
    "FusedLoss",
    "Head",
    "Kernel",
    "Rows",
    "adaptive_weight",
    "capped_probabilities",
    "clip_token_kl",
    "distillation_loss",
    "fused_linear_distillation_loss",
    "fused_linear_top_k_kl",
    "guiding_probabilities",
    "joined_advantages",
    "rank_targets",
    "systematic_draw",
    "token_kl",
    "top_k_kl",
    "trimmed_logps",
]
