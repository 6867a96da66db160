"""What of a PEFT model is refused: what is trained and not saved, what no loss sees, what moves beneath a reference."""

from typing import Any

from accelerate.utils import is_peft_model

from sgpo.models.folders import BY_CHANCE, OUT_OF_BASE
from sgpo.trainer.base_config import BaseConfig
from sgpo.trainer.shards import sharding

_SHOWN = 3  # parameters in an error


def trains_adapters(model: Any, peft_config: Any) -> bool:
    """Whether a model, or the path of one, is trained by adapters on top of its own weights."""
    return peft_config is not None or (not isinstance(model, str) and is_peft_model(model))


def check_adapters(model: Any, peft_config: Any, args: BaseConfig) -> None:
    """Raise ``ValueError`` for adapters that training would change in silence, or that nobody could load again.

    ``model`` is what the user gave, an adapter of its own in it or ``peft_config`` beside it. To be called before TRL
    adds its reference to the adapters, which may already change the base.
    """
    continued = not isinstance(model, str) and is_peft_model(model)
    for config in model.peft_config.values() if continued else filter(None, [peft_config]):
        start = getattr(config, "init_lora_weights", None)
        start = start if isinstance(start, str) else ""
        if start.startswith(BY_CHANCE):
            raise ValueError(
                f"init_lora_weights is {start!r}, which draws at random, or from a gradient, what it leaves of the "
                "base. That is not saved, so the adapter that is saved would be another model. Use 'pissa', which is "
                "computed again where it is read."
            )
        if continued and args.beta and start.startswith(OUT_OF_BASE):
            raise ValueError(
                f"beta is {args.beta}, for which TRL adds a copy of the adapter as its reference, and with "
                f"init_lora_weights={start!r} PEFT takes that copy's first weights out of the base once more: the "
                "policy itself would be another model. Merge the adapter (merge_and_unload) and begin a new one "
                "(peft_config), or set beta=0.0."
            )
        if continued and args.beta and model.active_adapters != ["default"]:
            raise ValueError(
                f"beta is {args.beta}, for which TRL makes a reference of the adapter 'default', but the one that is "
                f"trained is {', '.join(model.active_adapters)}. Load it under that name, or set beta=0.0."
            )
        if args.beta and getattr(config, "bias", "none") != "none":
            raise ValueError(
                f"beta is {args.beta}, but the adapter's bias={config.bias!r} trains biases of the model itself, which "
                "its reference has, too: it would follow the policy. Use bias='none', or set beta=0.0."
            )
        if getattr(config, "is_prompt_learning", False):
            raise ValueError(
                f"The adapter is a {type(config).__name__}, whose learned prompt stands before the padding of a batch, "
                "so that a sequence would score differently beside a longer one. Use adapters of layers (LoraConfig)."
            )


def check_trained(model: Any) -> None:
    """Raise ``ValueError`` if no weight is trained: with activation checkpointing a run would go through all the same.

    PEFT loads an adapter frozen, and says nothing.
    """
    if any(parameter.requires_grad for parameter in model.parameters()):
        return
    remedy = "Unfreeze some (requires_grad_())"
    if is_peft_model(model):
        remedy = "Load the adapter with PeftModel.from_pretrained(..., is_trainable=True), and no inference_mode"
    raise ValueError(
        f"No weight of the model is trained: of its {sum(1 for _ in model.parameters())} parameters none has "
        f"requires_grad, so the run would end with what it began with. {remedy}."
    )


def check_saved(model: Any) -> None:
    """Raise ``ValueError`` if parameters beside the adapter are trained: PEFT saves the adapter alone."""
    if not is_peft_model(model):
        return
    from peft import get_peft_model_state_dict

    saved = {
        tensor.data_ptr()
        for name in model.peft_config
        for tensor in get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False).values()
    }
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    # ZeRO-3 has taken the weights away, and PEFT's own adapters can be trusted.
    lost = [name for name, p in trained if p.numel() and p.data_ptr() not in saved]
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
        raise ValueError(
            f"{len(lost)} parameters beside the adapter are trained ({shown}), but only the adapter is saved: what "
            "they learn would be lost with every checkpoint, and at the end. Name their modules in modules_to_save of "
            "the LoraConfig, or freeze them (requires_grad_(False))."
        )


def check_merged(model: Any) -> None:
    """Raise ``ValueError`` for an adapter on embeddings that are the head, too.

    Merged into them it changes the head as well: that is another model than the trained one. TRL merges to give vLLM
    the weights, and users do to serve the model.
    """
    if not is_peft_model(model):
        return
    from peft.tuners.trainable_tokens import TrainableTokensLayer  # rows of both, so that merging changes nothing
    from peft.tuners.tuners_utils import BaseTunerLayer

    embeddings = model.get_base_model().get_input_embeddings()
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if tied and isinstance(embeddings, BaseTunerLayer) and not isinstance(embeddings, TrainableTokensLayer):
        raise ValueError(
            "target_modules of the adapter has the embeddings, which this model shares with its head: merged, the "
            "adapter would change both, and the model would be another one. Name embed_tokens in modules_to_save in "
            "its place, or leave it out."
        )


def check_head(model: Any, args: BaseConfig) -> None:
    """Raise ``ValueError`` if PEFT trains the head, or rows of it, where the loss, or vLLM, would not see that.

    TRL and the distillation read ``lm_head.weight``. With tied embeddings, ``trainable_token_indices`` for the
    embeddings goes for the head as well.
    """
    head = model.get_output_embeddings()
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if args.use_vllm and tied and head.weight is not model.get_input_embeddings().weight:
        raise ValueError(
            "The model's configuration ties the head to the embeddings, but its weights are apart, as modules_to_save "
            "of an adapter makes them. vLLM would take the embeddings for the head, and sample from another model. Set "
            "ensure_weight_tying=True in the adapter's configuration, or tie_word_embeddings=False in the model's."
        )
    # FSDP2 gathers the weights of a layer when it is called. PEFT's copy of the head never is, so the loss would meet
    # its parts, and each rank's gradient would stay its own: measured, 4% off after one step.
    if is_peft_model(model) and sharding(args).startswith("FSDP") and head.weight.requires_grad:
        raise ValueError(
            "modules_to_save trains a copy of the head, whose gradient FSDP would not average over the processes. "
            "Leave it out of modules_to_save, or train with DDP."
        )
    if hasattr(head, "token_adapter"):
        why = "the embeddings, which this model shares with its head" if tied else "the head"
        raise ValueError(
            f"trainable_token_indices trains rows of {why}, but the loss reads the head's weights directly, so these "
            "rows would not be trained. Name embed_tokens in modules_to_save in its place, or leave it out."
        )
