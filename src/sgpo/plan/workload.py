"""What a recipe asks of the machine, as plain numbers: read once from the parsed recipe, used by memory and duration.

Legend: B problems of a generation batch on one process, G1 autonomous and G2 guided rollouts, world = training
processes, micro-step = one forward and backward pass of `rows` rollouts.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sgpo.data.tables import count_rows, read_table
from sgpo.plan.architecture import Architecture
from sgpo.plan.assumptions import Assumptions
from sgpo.plan.hardware import Hardware

PAPER_PROBLEMS = 5667  # two thirds of the 8.5K problems of arXiv 2606.24064
# PEFT's defaults where lora_target_modules is not given: those of these that the model has.
LORA_DEFAULT = ("q_proj", "v_proj", "qkv_proj", "query_key_value")
# Adam's two moments, or what takes their place, in numbers per trained parameter.
OPTIMIZER_STATES = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "paged_adamw", "paged_adamw_32bit"), 2.0),
    **dict.fromkeys(("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit"), 0.5),
    "sgd": 0.0,
    "adafactor": 0.01,
}


@dataclass(frozen=True)
class Sharding:
    """How the training state is spread: ``kind`` is none, ddp, fsdp or zero, ``stage`` the ZeRO stage (FSDP: 3)."""

    kind: str = "none"
    stage: int = 0
    offload_optimizer: bool = False
    source: str = "one process"

    def share(self, what: str, world: int) -> int:
        """Number of processes by which the weights (stage 3), gradients (2) or optimizer states (1) are divided."""
        return world if self.stage >= {"optimizer": 1, "gradients": 2, "weights": 3}[what] else 1


@dataclass(frozen=True)
class Workload:
    """One recipe on one machine."""

    architecture: Architecture
    world: int
    server_devices: int
    server_tensor_parallel: int
    sharding: Sharding
    assumptions: Assumptions
    # lengths in tokens, counts
    max_completion: int
    rows: int
    micro_steps: int
    accumulation: int
    num_generations: int
    num_guided: int
    num_targets: int
    leaves_columns_out: bool
    kl_chunk_size: int | None
    trains_guided: bool
    guides_apart: bool
    max_guided_problems: int | None
    num_iterations: int
    problems: int
    steps: int  # of the optimizer in the run, at least those of one generation batch an epoch
    # numbers
    weight_bytes: float  # bytes of a number, where it is not quantized
    quantized_bytes: float  # of a number in the linear modules of the layers; 0: they are not quantized
    autocast: bool
    float32_weights: bool
    checkpointing: bool
    masked_attention: bool
    optimizer: str
    lora_rank: int
    lora_modules: tuple[str, ...]
    lora_dropout: bool
    teacher_copy: bool
    reference: bool
    guides: bool
    # generation
    vllm: str  # "", "colocate" or "server"
    vllm_share: float
    vllm_tensor_parallel: int
    vllm_sleeps: bool
    on_cpu: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def colocates(self) -> bool:
        """Whether vLLM generates on the training devices."""
        return self.vllm == "colocate"

    @property
    def problems_per_batch(self) -> int:
        """Problems of a generation batch on one process, B in the legend above."""
        return max(1, self.rows * self.micro_steps // self.num_generations)

    @property
    def problems_per_step(self) -> float:
        """Problems of an optimizer step, over all processes."""
        return self.rows * self.accumulation * self.world / self.num_generations

    @property
    def guided_problems(self) -> int:
        """Most problems of a generation batch with guided rollouts; on demand or by weight some may get none."""
        if not self.guides:
            return 0
        return min(self.problems_per_batch, self.max_guided_problems or self.problems_per_batch)

    @property
    def targets(self) -> int:
        """Distillation targets of the fullest micro-step, if every problem has one."""
        return math.ceil(self.guided_problems * self.num_targets / self.micro_steps)

    @property
    def trained_guided_rows(self) -> int:
        """Guided rows of the fullest micro-step that GRPO trains on."""
        return math.ceil(self.guided_rows / self.micro_steps) if self.trains_guided else 0

    @property
    def mean_completion(self) -> int:
        return min(self.assumptions.mean_completion_tokens or self.max_completion // 2, self.max_completion)

    @property
    def guided_prompt(self) -> int:
        return self.assumptions.prompt_tokens + self.assumptions.strategy_tokens

    @property
    def padded_prompt(self) -> int:
        """Tokens that transformers' ``generate`` holds of each prompt of a batch: as many as of the longest."""
        return self.guided_prompt if self.guided_rows else self.assumptions.prompt_tokens

    @property
    def guided_rows(self) -> int:
        return self.guided_problems * self.num_guided

    @property
    def generation_calls(self) -> list[int]:
        """Rollouts of one process in each generation call of a batch; on demand the guided ones wait for verdicts."""
        autonomous = self.rows * self.micro_steps
        return [autonomous, self.guided_rows] if self.guides_apart else [autonomous + self.guided_rows]

    @property
    def compute_bytes(self) -> int:
        """Bytes that a number takes in matrix products."""
        return 2 if self.autocast or not self.float32_weights else 4

    @property
    def model_bytes(self) -> float:
        """Bytes of all weights. Embedding, head and norms are never quantized: in a small model that is a third."""
        a = self.architecture
        quantized = a.layers * a.projection_parameters if self.quantized_bytes else 0
        return self.quantized_bytes * quantized + self.weight_bytes * (a.parameters - quantized)

    @property
    def adapter_parameters(self) -> int:
        widths = self.architecture.projections
        return self.architecture.layers * sum(self.lora_rank * sum(widths[m]) for m in self.lora_modules)

    @property
    def trained_parameters(self) -> int:
        return self.adapter_parameters if self.lora_rank else self.architecture.parameters

    @property
    def optimizer_states(self) -> float:
        """Numbers per trained parameter."""
        return OPTIMIZER_STATES.get(self.optimizer, 2.0)


def load_sharding(path: str | None, world: int) -> Sharding:
    """Sharding of an Accelerate config, by Accelerate's own loader; without one, a copy of everything per process."""
    if path is None:
        return Sharding() if world == 1 else Sharding("ddp", 0, source="no --accelerate: a copy on each device")
    from accelerate.commands.config.config_args import load_config_from_file

    if not Path(path).is_file():
        raise ValueError(f"--accelerate is {path!r}, but there is no such file.")
    try:
        config = load_config_from_file(path)
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"--accelerate is {path!r}, which Accelerate cannot read: {error}") from error
    kind = str(getattr(config.distributed_type, "value", config.distributed_type))
    if kind == "FSDP":
        offload = str((config.fsdp_config or {}).get("fsdp_offload_params")).lower() == "true"
        return Sharding("fsdp", 3, offload, source=path)
    if kind == "DEEPSPEED":
        zero = config.deepspeed_config or {}
        stage = int(zero.get("zero_stage") or 2)
        offload = zero.get("offload_optimizer_device") not in (None, "none")
        return Sharding("zero", stage, offload, source=path)
    return Sharding("ddp" if world > 1 else "none", source=path)


def server_split(hardware: Hardware, architecture: Architecture, devices: int | None) -> tuple[int, int]:
    """Devices kept for the vLLM server and its tensor-parallel size: one node of several, half of a single one."""
    if devices is None:
        devices = hardware.per_node if hardware.nodes > 1 else hardware.count // 2
    if not 0 < devices < hardware.count:
        raise ValueError(
            f"vllm_mode is 'server', but --server-gpus {devices} of {hardware.count} devices leaves none to "
            "train on or none to serve. Take more devices, or vllm_mode: colocate."
        )
    heads, kv = architecture.heads, architecture.kv_heads
    # vLLM divides the query heads; of keys and values it makes copies where there are fewer heads than devices.
    fits = [t for t in range(1, devices + 1) if heads % t == 0 and (kv % t == 0 or t % kv == 0)]
    return devices, max(fits)


def count_problems(dataset: str, assumptions: Assumptions) -> tuple[int, str]:
    """Problems of the training set and where the number is from; never downloads."""
    if assumptions.problems is not None:
        return assumptions.problems, "--problems"
    path = Path(dataset)
    if path.is_file() and path.suffix in (".parquet", ".jsonl", ".json", ".csv", ".gz"):
        rows = count_rows(path)
        return sum(1 for _ in read_table(path)) if rows is None else rows, f"rows of {dataset}"
    if dataset == "lab":
        from sgpo.lab.problems import load_problems

        return len(load_problems("train")), "the lab"
    return PAPER_PROBLEMS, "assumed, as in the paper; --problems N says otherwise"
