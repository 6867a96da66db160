"""Memory of one training device, by phase of a step and by part, in bytes.

A step goes through phases that hold different things: generation, scoring, the forward passes of GRPO and of the
distillation, their backward passes, the optimizer. Every phase is a list of parts; the plan is the largest phase. The
counts follow what autograd saves in the layers of transformers, the tiles of TRL's fused head, and the chunks of
`sgpo.objectives.fused`; `benchmarks/plan_memory.py` compares them with measured peaks on a CPU. What only exists on a
GPU (CUDA context, NCCL, sharded working sets, vLLM) is reckoned from the libraries' defaults and was not measured.

Shapes: N rows, L tokens of a row, H hidden, V vocabulary, I intermediate width.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from sgpo.plan.architecture import LoRA, kept_by_a_layer
from sgpo.plan.hardware import GIB, Hardware
from sgpo.plan.workload import Workload

MIB = 1 << 20
RUNTIME_CPU = 24 * MIB  # what a training loop itself leaves behind
RUNTIME_GPU = 1.5 * GIB  # CUDA context, cuBLAS and NCCL workspaces
RESERVE = 0.05  # of a device, for fragmentation
# TRL's fused head: tokens and vocabulary entries of a tile, and how many such tiles exist at a time.
TILE_TOKENS, TILE_VOCABULARY = 4096, 32768
_TILES = {"cpu": (4.0, 8.25), "gpu": (1.0, 1.0)}  # forward, backward: on a CPU each operation makes a copy
# sgpo.objectives, _fused_chunks and _fused_products: logits of a chunk, and rows of the head that are gathered where
# columns are left out
_CHUNK_BYTES = {"cpu": 160 * MIB, "gpu": 512 * MIB}
_GATHERED_BYTES = {"cpu": 2 * MIB, "gpu": 128 * MIB}
_ZERO_BUCKET = 5e8  # DeepSpeed's reduce_bucket_size, numbers
_ZERO_LIVE = 1e9  # stage3_max_live_parameters

Parts = dict[str, float]


@dataclass(frozen=True)
class Memory:
    """Bytes by phase and part on a training device, and on a device of the vLLM server."""

    phases: dict[str, Parts]
    server: Parts

    @property
    def peak_phase(self) -> str:
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def peak(self) -> float:
        return sum(self.phases[self.peak_phase].values())


def memory(load: Workload, hardware: Hardware) -> Memory:
    """What each phase of an optimizer step holds, with optimizer states in place (from the second step on)."""
    a = load.architecture
    resident = _resident(load, hardware)
    trained = _gradients(load)
    carried = {"gradients": trained} if load.accumulation > 1 else {}
    autonomous = (load.rows, load.assumptions.prompt_tokens + load.max_completion)
    target = (load.targets, load.assumptions.prompt_tokens + load.max_completion)
    guided = (load.targets, load.guided_prompt + load.max_completion)
    stash, target_stash = _stash(load, *autonomous), _stash(load, *target)
    group = (load.trained_guided_rows, load.guided_prompt + load.max_completion)
    group_stash = _stash(load, *group) if load.trained_guided_rows else 0.0
    head_gradient = a.embedding_parameters * 4 if not load.lora_rank else 0.0
    scored = load.rows * (autonomous[1] - 1) if load.on_cpu else load.rows * load.max_completion
    tile_forward, tile_backward = (n * _tile(load, scored) for n in _TILES["cpu" if load.on_cpu else "gpu"])
    hidden_gradient = 4.0 * scored * a.hidden
    guided_side = {"guided side": guided[0] * guided[1] * a.hidden * load.compute_bytes} if load.targets else {}
    phases = {
        "generation": [resident, _generation(load, hardware)],
        "scoring": [resident, carried, {"activations": _transient(load, *autonomous), "logits": tile_forward}],
        "forward": [resident, carried, {"activations": stash + _transient(load, *autonomous), **guided_side}],
        "log-probabilities": [resident, carried, {"activations": stash, "logits": tile_forward, **guided_side}],
    }
    if load.trained_guided_rows:
        both = {"activations": stash + group_stash + _transient(load, *group), "logits": tile_forward, **guided_side}
        phases["guided group"] = [resident, carried, both]
        phases["guided group backward"] = [
            resident,
            {"gradients": trained + head_gradient},
            {"activations": stash + group_stash + _backward(load, *group)},
        ]
    if load.targets:
        kept = {"activations": stash + group_stash + target_stash, "fused KL": _fused(load), **guided_side}
        phases["guided forward"] = [resident, carried, {"guided side": _transient(load, *guided)}]
        phases["distillation"] = [resident, carried, kept]
        phases["distillation backward"] = [
            resident,
            {"gradients": max(trained if carried else 0.0, head_gradient)},
            {"activations": stash + group_stash + target_stash + _backward(load, *target)},
        ]
    # The distillation comes first in the backward pass, so that its gradients are there when GRPO's begin.
    early = {"gradients": trained} if carried or load.targets or load.trained_guided_rows else {}
    phases["GRPO backward, head"] = [
        resident,
        early,
        {"activations": stash, "logits": tile_backward + head_gradient + hidden_gradient},
    ]
    phases["GRPO backward, layers"] = [
        resident,
        {"gradients": trained + head_gradient * (1 if a.tied else 2)},
        {"activations": stash + _backward(load, *autonomous)},
    ]
    phases["optimizer"] = [resident, {"gradients": trained, "optimizer step": _step_buffers(load)}]
    return Memory({name: _sum(parts) for name, parts in phases.items()}, _server(load, hardware))


def _sum(parts: Iterable[Parts]) -> Parts:
    total: Parts = {}
    for part in parts:
        for name, size in part.items():
            total[name] = total.get(name, 0.0) + size
    return total


def _resident(load: Workload, hardware: Hardware) -> Parts:
    """What is held in every phase."""
    weights = load.model_bytes
    trained, sharding, world = load.trained_parameters, load.sharding, load.world
    parts: Parts = {"weights": weights}
    state = 4 if load.lora_rank or load.float32_weights else 2
    if load.lora_rank:
        parts["LoRA"] = 4.0 * load.adapter_parameters
    if sharding.kind in ("fsdp", "zero"):
        full = 2.0 * load.architecture.parameters  # computed in bfloat16, whatever is stored
        stored = 4.0 if sharding.kind == "fsdp" and not load.lora_rank else 2.0
        parts["weights"] = stored * load.architecture.parameters / sharding.share("weights", world)
        parts["gathered weights"] = 0.0 if sharding.stage < 3 else min(full, _working_set(load))
        state = 4
    master = 4.0 * trained if sharding.kind == "zero" else 0.0
    states = (state * load.optimizer_states * trained + master) / sharding.share("optimizer", world)
    parts["optimizer states"] = 0.0 if sharding.offload_optimizer else states
    if load.teacher_copy:
        # FSDP2 shards it; while it stands in the live weights' place, they are kept beside it.
        size = 2 * 4.0 if sharding.kind == "fsdp" else 4.0 if load.lora_rank else load.weight_bytes
        parts["teacher"] = trained * size / (world if sharding.kind == "fsdp" else 1)
    if load.reference:
        parts["reference model"] = weights / sharding.share("weights", world)
    parts["runtime"] = RUNTIME_CPU if load.on_cpu else RUNTIME_GPU
    if load.colocates and not load.vllm_sleeps:
        parts["vLLM"] = load.vllm_share * hardware.device.memory
    return parts


def _working_set(load: Workload) -> float:
    """Weights that a sharded model has whole at a time: FSDP's root (embedding, head) and two layers; ZeRO's limit."""
    a = load.architecture
    root = a.embedding_parameters * (1 if a.tied else 2)
    if load.sharding.kind == "fsdp":
        return 2.0 * (root + 2 * a.layer_parameters)
    return 2.0 * min(a.parameters, _ZERO_LIVE)


def _gradients(load: Workload) -> float:
    trained, sharding = load.trained_parameters, load.sharding
    size = 4.0 if load.lora_rank or load.float32_weights or sharding.kind == "fsdp" else 2.0
    held = size * trained / sharding.share("gradients", load.world)
    if sharding.kind == "ddp":
        return 2 * held  # DDP's buckets are a second copy
    if sharding.kind == "zero":
        return held + 2.0 * min(trained, _ZERO_BUCKET)
    if sharding.kind == "fsdp" and not load.lora_rank:
        a = load.architecture
        return held + 2.0 * (a.embedding_parameters * (1 if a.tied else 2) + a.layer_parameters)
    return held


def _stash(load: Workload, rows: int, length: int) -> float:
    """What autograd keeps of a forward pass: every layer's intermediate results, or with checkpointing its input."""
    a, tokens = load.architecture, rows * length
    stream = 4 if load.float32_weights else 2
    ends = tokens * a.hidden * (4 + 2 * stream + load.compute_bytes)
    if load.checkpointing:
        return tokens * a.layers * a.hidden * stream + ends
    copies = 2.0 * a.parameters if load.autocast and load.float32_weights else 0.0  # autocast's bfloat16 weights
    return a.layers * _layer(load, rows, length) + ends + copies


def _layer(load: Workload, rows: int, length: int) -> float:
    """What autograd keeps of one layer."""
    lora = LoRA(load.lora_modules, load.lora_rank, load.lora_dropout, load.on_cpu) if load.lora_rank else None
    per_token, per_pair = kept_by_a_layer(
        load.architecture.config,
        weights=torch.float32 if load.float32_weights else torch.bfloat16,
        autocast=load.autocast,
        masked=load.masked_attention,
        lora=lora,
    )
    return rows * length * (per_token + length * per_pair)


def _transient(load: Workload, rows: int, length: int) -> float:
    """The largest set of intermediate results inside one layer of a forward pass."""
    a = load.architecture
    mask = rows * length * length * (1 + load.compute_bytes) if load.masked_attention else 0
    return rows * length * load.compute_bytes * (3 * a.hidden + 3 * a.intermediate) + mask


def _backward(load: Workload, rows: int, length: int) -> float:
    """Beside the stash, while one layer's backward pass runs: gradients, and with checkpointing the layer itself."""
    a, c = load.architecture, load.compute_bytes
    again = _layer(load, rows, length) if load.checkpointing else 0.0
    return again + rows * length * c * (2 * a.hidden + 2 * a.intermediate)


def _tile(load: Workload, tokens: int) -> float:
    width = min(load.architecture.vocabulary, TILE_VOCABULARY) if load.on_cpu else TILE_VOCABULARY
    return min(tokens, TILE_TOKENS) * width * load.compute_bytes


def _fused(load: Workload) -> float:
    """Logits of one chunk, both sides, and the gradients that the forward pass already takes."""
    a = load.architecture
    kind = "cpu" if load.on_cpu else "gpu"
    tokens = load.targets * load.max_completion
    per_token = 2 * a.vocabulary * 4
    fits = max(16, _CHUNK_BYTES[kind] // per_token // 16 * 16)
    chunk = min(tokens, load.kl_chunk_size or fits) * per_token
    # The third buffer is one side's gradient in bfloat16; on a CPU it is a block that fits the cache.
    scratch = 0 if load.on_cpu else chunk / 4
    head = 0.0 if load.lora_rank else a.embedding_parameters * (4.0 + (2 if load.compute_bytes == 2 else 0))
    gathered = min(_GATHERED_BYTES[kind], 2.0 * a.embedding_parameters) if load.leaves_columns_out else 0.0
    return chunk + scratch + head + gathered + tokens * a.hidden * load.compute_bytes


def _generation(load: Workload, hardware: Hardware) -> Parts:
    a = load.architecture
    if load.colocates:
        return {"vLLM": load.vllm_share * hardware.device.memory} if load.vllm_sleeps else {}
    if load.vllm == "server":
        return {}
    rows = max(load.generation_calls)  # a call's cache is gone before the next one starts
    prompt = load.padded_prompt
    whole = 2.0 * a.parameters if load.sharding.stage == 3 else 0.0
    a_token = rows * kv_bytes_per_token(load)
    # While prompts are read, the cache holds no more than them; when it is full, a layer's is copied for each token.
    read = {"KV cache": prompt * a_token, "activations": whole + _transient(load, rows, prompt)}
    full = (prompt + load.max_completion) * a_token
    written = {"KV cache": full * (1 + 2 / a.layers), "activations": whole + 8.0 * rows * a.vocabulary * 4}
    return max(read, written, key=lambda phase: sum(phase.values()))


def kv_bytes_per_token(load: Workload) -> float:
    """Keys and values of one token in all layers, for generation."""
    return 2.0 * load.architecture.layers * load.architecture.kv_width * load.compute_bytes


def _server(load: Workload, hardware: Hardware) -> Parts:
    if load.vllm != "server":
        return {}
    weights = 2.0 * load.architecture.parameters / load.server_tensor_parallel
    return {"weights": weights, "runtime": RUNTIME_GPU, "KV cache": kv_room(load, hardware)}


def kv_room(load: Workload, hardware: Hardware) -> float:
    """Bytes that vLLM has for keys and values on one device; negative where its weights alone are too large."""
    total = hardware.device.memory
    share, parallel = (
        (0.9, load.server_tensor_parallel) if load.vllm == "server" else (load.vllm_share, load.vllm_tensor_parallel)
    )
    return share * total - 2.0 * load.architecture.parameters / parallel - RUNTIME_GPU


def _step_buffers(load: Workload) -> float:
    """AdamW's temporary results: none when fused, one parameter's on a CPU, all parameters' on a GPU."""
    if load.optimizer != "adamw_torch" or load.sharding.kind == "zero":
        return 0.0
    if load.on_cpu:
        return 2 * 4.0 * (load.architecture.embedding_parameters if not load.lora_rank else 0)
    return 4.0 * load.trained_parameters / load.sharding.share("optimizer", load.world)
