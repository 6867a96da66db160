"""Dropout wherever a model has it: in modules of its own, and in functions that read a rate from their module."""

import warnings
from collections.abc import Iterator

import torch

from sgpo.trainer.base_config import BaseConfig


def rates(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, float]]:
    """Each rate above 0 with the module that holds it and the name of the attribute."""
    for module in model.modules():
        held = {"p": module.p} if isinstance(module, torch.nn.modules.dropout._DropoutNd) else vars(module)
        for name, rate in held.items():
            if (name == "p" or "dropout" in name) and isinstance(rate, float) and rate > 0:
                yield module, name, rate


def disable_dropout(model: torch.nn.Module) -> None:
    """Set every rate to 0. TRL's ``disable_dropout`` leaves those of functions, as attention dropout is one."""
    for module, name, _ in list(rates(model)):
        setattr(module, name, 0.0)


def warn_of_dropout(model: torch.nn.Module, args: BaseConfig) -> None:
    """Warn where log-probabilities that the loss compares are computed apart, each under another dropout mask."""
    # As TRL decides: rollouts that outlive an optimizer step are compared with the policy that sampled them.
    apart = args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0
    joined = getattr(args, "guided_grpo_group", "own") == "joined"  # its ratio is to the guided policy, at any step
    compared = {
        "the importance ratio": apart or joined or (args.use_vllm and args.vllm_importance_sampling_correction),
        "the KL to the reference (beta)": args.beta != 0.0,
    }
    noise = [f"dropout ({rate:g})" for rate in sorted({rate for _, _, rate in rates(model)})]
    noise += ["noise on its embeddings (neftune_noise_alpha)"] if args.neftune_noise_alpha else []
    if noise and any(compared.values()):
        warnings.warn(
            f"The model has {', '.join(noise)}, and {' and '.join(name for name, holds in compared.items() if holds)} "
            "takes the difference of two masks for another policy: noise, and no signal. Set lora_dropout=0, or "
            "disable_dropout=True, and leave neftune_noise_alpha out.",
            stacklevel=2,
        )
