"""A recipe's plan: its memory and time on a machine, the first part that does not fit, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from sgpo.plan.assumptions import Assumptions
from sgpo.plan.duration import Duration, duration
from sgpo.plan.hardware import GIB, Hardware
from sgpo.plan.memory import RESERVE, Memory, kv_bytes_per_token, kv_room, memory
from sgpo.plan.reading import read_recipe
from sgpo.plan.workload import Sharding, Workload


@dataclass(frozen=True)
class Plan:
    """Everything that `sgpo plan` prints. ``misfit`` names the first part that does not fit, ``remedy`` what to do."""

    workload: Workload
    hardware: Hardware
    memory: Memory
    duration: Duration
    misfit: str | None
    remedy: str | None

    @property
    def fits(self) -> bool:
        return self.misfit is None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON types: bytes and seconds, unrounded."""
        w, d = self.workload, self.duration
        return {
            "schema": 1,
            "model": w.architecture.name,
            "parameters": w.architecture.parameters,
            "trained_parameters": w.trained_parameters,
            "sizes_from": w.architecture.source,
            "hardware": str(self.hardware),
            "training_devices": w.world,
            "server_devices": w.server_devices,
            "device_bytes": self.hardware.device.memory,
            "fits": self.fits,
            "does_not_fit": self.misfit,
            "remedy": self.remedy,
            "peak_bytes": self.memory.peak,
            "peak_phase": self.memory.peak_phase,
            "phases": self.memory.phases,
            "server": self.memory.server,
            "seconds_per_step": d.step,
            "seconds": d.seconds,
            "steps": d.steps,
            "problems_per_step": w.problems_per_step,
            "sampled_tokens_per_step": d.sampled_tokens_per_step,
            "sampled_tokens": d.sampled_tokens_per_step * d.steps,
            "hours": d.hours,
            "gpu_hours": d.device_hours,
            "assumptions": {
                "prompt_tokens": w.assumptions.prompt_tokens,
                "strategy_tokens": w.assumptions.strategy_tokens,
                "mean_completion_tokens": w.mean_completion,
                "problems": w.problems,
                "mfu": w.assumptions.mfu,
                "decode_efficiency": w.assumptions.decode_efficiency,
            },
            "notes": list(w.notes),
        }


def plan_recipe(
    argv: Sequence[str],
    hardware: Hardware,
    *,
    accelerate: str | None = None,
    server_devices: int | None = None,
    assumptions: Assumptions | None = None,
) -> Plan:
    """Plan the run ``sgpo train *argv`` on ``hardware``; reads at most a model's config, never its weights.

    Args:
        argv: ``["--config", FILE, "--field", "value", ...]``.
        accelerate: an Accelerate config, for how the training state is sharded.
        server_devices: devices of ``hardware`` kept for the vLLM server.

    Raises:
        ValueError: for what `sgpo train` would refuse, and for a model or a split that cannot be planned.
    """
    w = read_recipe(
        argv,
        hardware,
        accelerate=accelerate,
        server_devices=server_devices,
        assumptions=assumptions or Assumptions(),
    )
    misfit = first_misfit(w, hardware)
    remedy = find_remedy(w, hardware) if misfit else None
    return Plan(w, hardware, memory(w, hardware), duration(w, hardware), misfit, remedy)


def first_misfit(w: Workload, hardware: Hardware) -> str | None:
    """The part with which the memory of the largest phase goes over that of a device, in words; None if all fits.

    vLLM comes first: without room for one whole sequence it does not start.
    """
    longest = w.guided_prompt + w.max_completion
    if w.vllm:
        parallel = w.server_tensor_parallel if w.vllm == "server" else w.vllm_tensor_parallel
        need = kv_bytes_per_token(w) / parallel * longest
        if kv_room(w, hardware) < need:
            return (
                f"the KV cache of vLLM: it has {max(0.0, kv_room(w, hardware)) / GIB:.1f} GiB, and one sequence of "
                f"{longest} tokens takes {need / GIB:.1f} GiB"
            )
    plan, total = memory(w, hardware), 0.0
    limit = hardware.device.memory * (1 - RESERVE)
    for part, size in plan.phases[plan.peak_phase].items():
        total += size
        if total > limit:
            return (
                f"{part} ({size / GIB:.1f} GiB) in the phase '{plan.peak_phase}', which takes {plan.peak / GIB:.1f} "
                f"of {limit / GIB:.1f} GiB"
            )
    return None


def find_remedy(w: Workload, hardware: Hardware) -> str:
    """The first of the usual remedies, or of two together, with which everything fits."""
    for text, wanted, change in _REMEDIES:
        if wanted(w) and first_misfit(change(w), hardware) is None:
            return text
    for (text, wanted, change), (other, further_wanted, further) in combinations(_REMEDIES, 2):
        if wanted(w) and further_wanted(changed := change(w)) and first_misfit(further(changed), hardware) is None:
            return f"{text}, and {other}"
    return (
        "none of the usual settings is enough: take more devices with --accelerate recipes/accelerate/fsdp2.yaml, "
        "larger ones, or a smaller model"
    )


def _fewer_rows(rows: int) -> tuple[str, Callable[[Workload], bool], Callable[[Workload], Workload]]:
    """Smaller micro-steps, as many rollouts per optimizer step."""

    def change(w: Workload) -> Workload:
        factor = w.rows // rows
        return replace(w, rows=rows, accumulation=w.accumulation * factor, micro_steps=w.micro_steps * factor)

    def wanted(w: Workload) -> bool:
        return w.rows > rows and w.rows % rows == 0

    return f"per_device_train_batch_size {rows} with gradient_accumulation_steps raised to match", wanted, change


# (what to do, whether it applies, the workload with it done): the cheapest first.
_REMEDIES: list[tuple[str, Callable[[Workload], bool], Callable[[Workload], Workload]]] = [
    ("activation_checkpointing true", lambda w: not w.checkpointing, lambda w: replace(w, checkpointing=True)),
    (
        "vllm_enable_sleep_mode true",
        lambda w: w.vllm == "colocate" and not w.vllm_sleeps,
        lambda w: replace(w, vllm_sleeps=True),
    ),
    (
        "vllm_gpu_memory_utilization 0.6",
        lambda w: w.vllm == "colocate" and w.vllm_share < 0.6,
        lambda w: replace(w, vllm_share=0.6),
    ),
    (
        "vllm_gpu_memory_utilization 0.3",
        lambda w: w.vllm == "colocate" and w.vllm_share > 0.3,
        lambda w: replace(w, vllm_share=0.3),
    ),
    *(_fewer_rows(rows) for rows in (8, 4, 2, 1)),
    (
        "attn_implementation flash_attention_2 (no attention mask in memory)",
        lambda w: w.masked_attention and not w.on_cpu,
        lambda w: replace(w, masked_attention=False),
    ),
    (
        "--accelerate recipes/accelerate/fsdp2.yaml",
        lambda w: w.world > 1 and w.sharding.stage < 3,
        lambda w: replace(w, sharding=Sharding("fsdp", 3)),
    ),
    (
        "use_peft true with lora_r 32 (LoRA: no gradients and optimizer states of the base)",
        lambda w: not w.lora_rank,
        lambda w: replace(w, lora_rank=32, lora_modules=tuple(w.architecture.projections)),
    ),
    (
        "max_completion_length halved",
        lambda w: w.max_completion > 512,
        lambda w: replace(w, max_completion=w.max_completion // 2),
    ),
    (
        "load_in_4bit true (QLoRA)",
        lambda w: bool(w.lora_rank) and w.weight_bytes > 1 and not w.on_cpu,
        lambda w: replace(w, weight_bytes=0.55),
    ),
]
