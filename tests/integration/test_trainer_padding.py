"""A sequence has the same log-probabilities alone and beside a longer prompt, whatever the architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM

from sgpo.trainer.distillation import Target, collate
from sgpo.trainer.methods import KINDS

SIZE = {"vocab_size": len(kit.WORDS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
LLAMA_LIKE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
GPT_LIKE = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": 32}
NEOX_LIKE = {k: v for k, v in LLAMA_LIKE.items() if k not in ("num_key_value_heads", "head_dim")}
# model type -> fields of its configuration
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": GPT_LIKE,
    "gpt_bigcode": GPT_LIKE,
    "gpt_neo": {
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_size": 32,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 64,
        "window_size": 8,
    },
    "gptj": {**GPT_LIKE, "rotary_dim": 4},
    "codegen": {**GPT_LIKE, "n_head": 4, "rotary_dim": 4, "n_ctx": 64},
    "gpt_neox": NEOX_LIKE,
    "opt": {**NEOX_LIKE, "ffn_dim": 32, "word_embed_proj_dim": 16},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "alibi": True},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64},
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "llama": LLAMA_LIKE,
    "gemma": LLAMA_LIKE,
    "phi": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "expand": 2},
}
SHORT, LONG = [7, 8, 9], [10, 11, 12, 13, 14, 15, 16, 17, 18]
COMPLETION = [5, 6, 3, 4, 1]


def make(model_type: str, method: str, out: Path, **options: Any) -> Any:
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(model_type, **SIZE, initializer_range=0.5, **MODELS[model_type])
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # no positions or biases of zero
    data = kit.make_problems(4).add_column("expert", [" ok a"] * 4)
    args = kit.make_config(out, KINDS[method].config, **options)
    return KINDS[method].trainer(model, kit.has_digit, args, data, processing_class=kit.make_tokenizer())


def scores(trainer: Any, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """TRL's log-probabilities, and hidden states of the distillation, of the first row's completion."""
    targets = [Target(prompt, prompt, COMPLETION, 1.0) for prompt in prompts]
    share = collate(targets, 0, trainer.args.device)
    length = len(COMPLETION)
    trainer.model.eval()
    with torch.no_grad():
        logps, entropy, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, share.student_ids, share.student_mask, length, compute_entropy=True
        )
        hidden = trainer.model(
            input_ids=share.student_ids, attention_mask=share.student_mask, head_fn=lambda states, head: states
        )
    return torch.cat([logps[0], entropy[0]]), hidden[0, -length - 1 : -1]


@pytest.mark.parametrize("model_type", MODELS)
def test_a_sequence_scores_alike_in_any_company(model_type: str, out: Path) -> None:
    trainer = make(model_type, "sgpo", out)
    for alone, company in zip(scores(trainer, [SHORT]), scores(trainer, [SHORT, LONG]), strict=True):
        torch.testing.assert_close(company, alone, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("method", ["luffy", "hpt"])
@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neo"])
def test_so_do_those_of_the_baselines(model_type: str, method: str, out: Path) -> None:
    trainer = make(model_type, method, out)
    for alone, company in zip(scores(trainer, [SHORT]), scores(trainer, [SHORT, LONG]), strict=True):
        torch.testing.assert_close(company, alone, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_a_model_whose_rollouts_depend_on_their_company_is_refused(
    method: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "intermediate_size": 32}
    monkeypatch.setitem(MODELS, "rwkv", sizes)
    with pytest.raises(ValueError, match="samples from RwkvForCausalLM otherwise beside a longer prompt"):
        make("rwkv", method, out)


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_bigcode"])
def test_they_train(model_type: str, out: Path) -> None:
    trainer = make(model_type, "sgpo", out, alpha_form="constant", gradient_checkpointing=True)
    before = kit.weights_of(trainer.model)
    trainer.train()
    assert kit.largest_gap(kit.weights_of(trainer.model), before) > 0.0
