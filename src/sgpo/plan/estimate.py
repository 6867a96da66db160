"""A recipe's plan: its memory and time on a machine, the first part that does not fit, and what would make it fit."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from sgpo.plan.assumptions import Assumptions
from sgpo.plan.duration import Duration, duration
from sgpo.plan.hardware import GIB, Hardware
from sgpo.plan.memory import RESERVE, Memory, kv_bytes_per_token, kv_room, memory
from sgpo.plan.reading import read_recipe
from sgpo.plan.workload import Sharding, Workload
from sgpo.runs.files import JsonObject


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

    def to_dict(self) -> JsonObject:
        """The plan as JSON types: bytes and seconds, unrounded."""
        load, d = self.workload, self.duration
        return {
            "schema": 1,
            "model": load.architecture.name,
            "parameters": load.architecture.parameters,
            "trained_parameters": load.trained_parameters,
            "sizes_from": load.architecture.source,
            "hardware": str(self.hardware),
            "training_devices": load.world,
            "server_devices": load.server_devices,
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
            "problems_per_step": load.problems_per_step,
            "sampled_tokens_per_step": d.sampled_tokens_per_step,
            "sampled_tokens": d.sampled_tokens_per_step * d.steps,
            "hours": d.hours,
            "gpu_hours": d.device_hours,
            "assumptions": asdict(
                replace(load.assumptions, mean_completion_tokens=load.mean_completion, problems=load.problems)
            ),
            "notes": list(load.notes),
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

    ``accelerate`` is an Accelerate config, for how the training state is sharded; ``server_devices`` of ``hardware``
    are kept for the vLLM server. Raises ValueError for what `sgpo train` would refuse, and for what cannot be planned.
    """
    load = read_recipe(argv, hardware, accelerate, server_devices, assumptions or Assumptions())
    misfit = first_misfit(load, hardware)
    remedy = find_remedy(load, hardware) if misfit else None
    return Plan(load, hardware, memory(load, hardware), duration(load, hardware), misfit, remedy)


def first_misfit(load: Workload, hardware: Hardware) -> str | None:
    """The part with which the memory of the largest phase goes over that of a device, in words; None if all fits.

    vLLM comes first: without room for one whole sequence it does not start.
    """
    longest = load.guided_prompt + load.max_completion
    if load.vllm:
        parallel = load.server_tensor_parallel if load.vllm == "server" else load.vllm_tensor_parallel
        need = kv_bytes_per_token(load) / parallel * longest
        if kv_room(load, hardware) < need:
            return (
                f"the KV cache of vLLM: it has {max(0.0, kv_room(load, hardware)) / GIB:.1f} GiB, and one sequence of "
                f"{longest} tokens takes {need / GIB:.1f} GiB"
            )
    # Parts stand in the order in which they are held, so what goes over the limit is what came last, not the largest.
    plan, total = memory(load, hardware), 0.0
    limit = hardware.device.memory * (1 - RESERVE)
    for part, size in plan.phases[plan.peak_phase].items():
        total += size
        if total > limit:
            return (
                f"{part} ({size / GIB:.1f} GiB) in the phase '{plan.peak_phase}', which takes {plan.peak / GIB:.1f} "
                f"of {limit / GIB:.1f} GiB"
            )
    return None


def find_remedy(load: Workload, hardware: Hardware) -> str:
    """The first of the usual remedies, or of two together, with which everything fits."""
    for several in (1, 2):
        for remedies in combinations(_REMEDIES, several):
            changed: Workload | None = load
            for _, wanted, change in remedies:
                changed = change(changed) if changed is not None and wanted(changed) else None
            if changed is not None and first_misfit(changed, hardware) is None:
                return ", and ".join(text for text, _, _ in remedies)
    return (
        "none of the usual settings is enough: take more devices with --accelerate recipes/accelerate/fsdp2.yaml, "
        "larger ones, or a smaller model"
    )


_Remedy = tuple[str, Callable[[Workload], bool], Callable[[Workload], Workload]]


def _set(text: str, wanted: Callable[[Workload], bool], **fields: Any) -> _Remedy:
    """A remedy that gives fields of the workload another value."""
    return text, wanted, lambda load: replace(load, **fields)


def _fewer_rows(rows: int) -> _Remedy:
    """Smaller micro-steps, as many rollouts per optimizer step."""

    def change(load: Workload) -> Workload:
        factor = load.rows // rows
        return replace(load, rows=rows, accumulation=load.accumulation * factor, micro_steps=load.micro_steps * factor)

    text = f"per_device_train_batch_size {rows} with gradient_accumulation_steps raised to match"
    return text, lambda load: load.rows > rows and load.rows % rows == 0, change


# (what to do, whether it applies, the workload with it done): the cheapest first.
_REMEDIES: tuple[_Remedy, ...] = (
    _set("activation_checkpointing true", lambda load: not load.checkpointing, checkpointing=True),
    _set("vllm_enable_sleep_mode true", lambda load: load.colocates and not load.vllm_sleeps, vllm_sleeps=True),
    _set("vllm_gpu_memory_utilization 0.6", lambda load: load.colocates and load.vllm_share < 0.6, vllm_share=0.6),
    _set("vllm_gpu_memory_utilization 0.3", lambda load: load.colocates and load.vllm_share > 0.3, vllm_share=0.3),
    *map(_fewer_rows, (8, 4, 2, 1)),
    _set(
        "attn_implementation flash_attention_2 (no attention mask in memory)",
        lambda load: load.masked_attention and not load.on_cpu,
        masked_attention=False,
    ),
    _set(
        "--accelerate recipes/accelerate/fsdp2.yaml",
        lambda load: load.world > 1 and load.sharding.stage < 3,
        sharding=Sharding("fsdp", 3),
    ),
    (
        "use_peft true with lora_r 32 (LoRA: no gradients and optimizer states of the base)",
        lambda load: not load.lora_rank,
        lambda load: replace(load, lora_rank=32, lora_modules=tuple(load.architecture.projections)),
    ),
    (
        "max_completion_length halved",
        lambda load: load.max_completion > 512,
        lambda load: replace(load, max_completion=load.max_completion // 2),
    ),
    _set(
        "load_in_4bit true (QLoRA)",
        lambda load: bool(load.lora_rank) and not load.quantized_bytes and not load.on_cpu,
        quantized_bytes=0.55,
    ),
)
