"""What goes into the fused loss and what comes out of it, with the shape of every tensor.

Shapes: N rows (one selected response each), T tokens, H hidden, V vocabulary; a teacher of its own has H2 hidden.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from ._registry import lookup
from .divergence import DIRECTIONS, check_temperature


@dataclass(frozen=True)
class Head:
    """A language-model head: `logits = softcap(scale * (hidden @ weight.T + bias))`.

    `softcap` is None for none, else it caps the logits by `softcap * tanh(logits / softcap)`. A bias of -inf masks a
    vocabulary entry. Weight and bias get a gradient if they require one.

    Raises:
        ValueError: scale or softcap is not positive and finite.
    """

    weight: Float[Tensor, "V H"]
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("logit scale", self.scale), ("softcap", self.softcap)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"{name} is {value}, but it must be positive and finite; take it from the model's configuration "
                    "(a scale of 1.0 and a softcap of None change nothing)"
                )


@dataclass(frozen=True)
class Rows:
    """The selected responses of one micro-step, as both policies see them.

    `student_hidden` are the last hidden states of the unguided policy and get a gradient; `teacher_hidden` those of
    the guided one on the same tokens, and get none. `mask` is True at response tokens, `weights` is alpha(q) of each
    row, `normalizer` the number of problems of the whole optimizer step (see `distillation_loss`). `teacher_weight`
    is the head of a teacher with weights of its own; None: it shares the student's.
    """

    student_hidden: Float[Tensor, "N T H"]
    teacher_hidden: Float[Tensor, "N T H2"]
    mask: Bool[Tensor, "N T"]
    weights: Float[Tensor, " N"]
    normalizer: float | Tensor
    teacher_weight: Float[Tensor, "V H2"] | None = None


@dataclass(frozen=True)
class Divergence:
    """The choice of a KL: its kind, its temperature and its clip; see `token_kl` and `clip_token_kl`.

    The last two change the target, past the paper. With guided probabilities p and unguided ones s, both at
    `temperature`, it is

        p^(1 / teacher_temperature), renormalised, which is sharper below 1; then
        p^(1 - teacher_mix) * s^teacher_mix, renormalised, with s held constant: a shorter step from the student.

    The mixture is geometric: an arithmetic one would only scale the forward KL's gradient by 1 - teacher_mix.

    Raises:
        ValueError: the direction is unknown, a temperature is not positive, or the mix outside [0, 1) (the clip is
            checked where it is applied).
    """

    direction: str = "forward"
    temperature: float = 1.0
    clip: float | None = 1.0
    clip_form: str = "rescale"
    teacher_temperature: float = 1.0
    teacher_mix: float = 0.0

    def __post_init__(self) -> None:
        lookup(DIRECTIONS, self.direction, "direction")
        check_temperature(self.temperature)
        check_temperature(self.teacher_temperature)
        if not 0 <= self.teacher_mix < 1:
            raise ValueError(
                f"teacher_mix is {self.teacher_mix}, but it is the student's share of the target, so it must be within "
                "[0, 1); 0.0 is the guided policy alone, and at 1 there would be nothing to learn"
            )


@dataclass(frozen=True)
class Kernel:
    """How the fused loss is computed. The defaults are exact.

    `chunk_size` is the number of tokens whose logits exist at one time; None takes what fits 160 MiB (CPU) or 512 MiB.

    `tolerance` lets each chunk leave columns of the vocabulary out of the products that give the gradients of the
    hidden states and the head: those with the smallest sums of |d loss / d logit| over the chunk's tokens, as long as
    they hold at most this share of the whole sum. The loss and its metrics stay exact. With `d` the gradient of the
    logits of one token, and sums over the tokens of a chunk, the changes of the gradients are bounded by

        sum |change of d loss / d hidden|  <=  tolerance * sum |d|_1 * max over v of |weight_v - mean of weight|
        sum |change of d loss / d weight|  <=  tolerance * sum |d|_1 * max over tokens of |hidden|

    Where more than half of the columns would stay, all of them do, and the chunk is exact.

    Raises:
        ValueError: an option is out of its range.
    """

    chunk_size: int | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(
                f"chunk_size is {self.chunk_size}, but a chunk holds at least 1 token; use None to have it chosen"
            )
        if not 0 <= self.tolerance <= 0.5:
            raise ValueError(
                f"tolerance is {self.tolerance}, but it is a share of the gradient that may be left out, so it must be "
                "within [0, 0.5]; 0.0 is exact, and 0.01 to 0.02 is what pays on a trained model's vocabulary"
            )


class FusedLoss(NamedTuple):
    """The scalar loss, its metrics (sums over the counted tokens, see `distillation_loss`), and the KL of each token.

    `token_kl` is in nats, without graph, unclipped, and 0 where nothing is counted.
    """

    loss: Float[Tensor, ""]
    sums: dict[str, Tensor]
    token_kl: Float[Tensor, "N T"]
