"""6. Changing the method.

Three parts of SGPO are functions in a table: the form of the weight alpha, the form of the KL clip, and how the target
is selected. A function of your own becomes a choice as soon as it stands in its table. This tutorial adds a weight and
a clip, checks them by hand, and trains with them beside the defaults.

To keep a form, put it into the table in the source: CONTRIBUTING.md, "Where to change what", says where, and the tests
of the other forms then run on yours, too. `sgpo train` and `sgpo compare` know it from then on.

The words of this tutorial are defined in docs/terms.md.
"""

from pathlib import Path

import torch
from torch import Tensor
from tutorial_kit import steps, train_on_lab

from sgpo.objectives import CLIP_FORMS, WEIGHT_FORMS, adaptive_weight, clip_token_kl

STEPS = steps(60)
OUT = Path("runs/tutorials/6")


def root_gap(p: Tensor, p_guided: Tensor, alpha_0: float, gamma: float) -> Tensor:
    """A weight that is already large for a small gap, and the same for hard and easy problems. Rates are ``[B]``."""
    return alpha_0 * (p_guided - p).clamp(min=0).sqrt()


def soft(kl: Tensor, threshold: float) -> Tensor:
    """The factor on each token's gradient. It falls smoothly from 1, in place of a bend at the threshold."""
    return 1 / (1 + kl.clamp(min=0) / threshold)


WEIGHT_FORMS["root_gap"] = root_gap
CLIP_FORMS["soft"] = soft


def check_by_hand() -> None:
    """What a form does on a few values. Do this before any training: it takes no time and finds most mistakes."""
    p, p_guided = torch.tensor([0.0, 0.5, 0.9]), torch.tensor([1.0, 1.0, 0.8])
    print("autonomous pass rates", p.tolist(), "guided", [round(x, 2) for x in p_guided.tolist()])
    for form in ("relative_gap", "root_gap"):
        print(f"  alpha by {form:13}", [round(x, 3) for x in adaptive_weight(p, p_guided, form=form).tolist()])
    for form in ("rescale", "soft"):
        kl = torch.tensor([0.1, 1.0, 4.0], requires_grad=True)
        clip_token_kl(kl, 1.0, form).sum().backward()
        print(f"  gradient at KL 0.1, 1, 4 by {form:8}", [round(x, 3) for x in kl.grad.tolist()])


def train(name: str, **fields: object) -> None:
    """One short run on the lab, and how its weight went."""
    run = train_on_lab(OUT / name, STEPS, **fields)
    alphas = [row["sgpo/alpha"] for row in run.log if "sgpo/alpha" in row]
    print(f"{name:8} alpha {alphas[0]:.2f} to {alphas[-1]:.2f}, accuracy {run.accuracy:.1f} %", flush=True)


def main() -> None:
    check_by_hand()
    print("\none run each, which ranks nothing: 5_compare_methods.py says why")
    train("default")
    train("both", alpha_form="root_gap", kl_clip_form="soft")


if __name__ == "__main__":
    main()
