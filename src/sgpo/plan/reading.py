"""From a recipe, parsed as `sgpo train` parses it, to a :class:`Workload`."""

from collections.abc import Sequence

from trl import ModelConfig

from sgpo.plan.architecture import Architecture, load_architecture
from sgpo.plan.assumptions import Assumptions
from sgpo.plan.hardware import Hardware
from sgpo.plan.workload import LORA_DEFAULT, OPTIMIZER_STATES, Workload, count_problems, load_sharding, server_split
from sgpo.recipe import model_path, parse, written_fields
from sgpo.recipe.schedule import Schedule
from sgpo.trainer import SGPOConfig


def read_recipe(
    argv: Sequence[str],
    hardware: Hardware,
    accelerate: str | None,
    server_devices: int | None,
    assumptions: Assumptions,
) -> Workload:
    """The workload of ``--config FILE [--field value ...]`` on ``hardware``.

    Raises:
        ValueError: for whatever `sgpo train` refuses, and for a model, a sharding or a split that cannot be.
    """
    run, config, model = parse(argv)
    named = written_fields(argv)  # a default may depend on the machine that parses
    on_cpu = hardware.device.is_cpu
    architecture = load_architecture(model_path(model), model.model_revision)
    vllm = config.vllm_mode if config.use_vllm else ""
    serving, parallel = server_split(hardware, architecture, server_devices) if vllm == "server" else (0, 1)
    world = hardware.count - serving
    sharding = load_sharding(accelerate, world)
    problems, source = count_problems(run.dataset_name, assumptions)
    notes = [f"problems: {problems} ({source})", f"sharding: {sharding.source}", *_upper_bounds(config)]
    autocast = config.bf16 if "bf16" in named else not (on_cpu or config.fp16)
    if not on_cpu and config.use_cpu and "use_cpu" in named:
        notes.append("the recipe says use_cpu: true; this plan is for the device all the same")
    optimizer = str(getattr(config.optim, "value", config.optim))
    if optimizer not in OPTIMIZER_STATES:
        notes.append(f"optimizer {optimizer} is not known here: counted as AdamW, two numbers per trained weight")
    quantized = (config.model_init_kwargs or {}).get("quantization_config") or {}
    four, eight = (getattr(model, name) or quantized.get(name) for name in ("load_in_4bit", "load_in_8bit"))
    bits = 0.55 if four else 1.0 if eight else 0.0  # 4 bit: with its scales
    # FSDP and DeepSpeed compute in the mixed precision's bfloat16 and keep what is trained in float32 themselves.
    low = autocast and sharding.kind in ("fsdp", "zero")
    _check_context(config, architecture, assumptions)
    schedule = Schedule.of(config)
    return Workload(
        architecture=architecture,
        world=world,
        server_devices=serving,
        server_tensor_parallel=parallel,
        sharding=sharding,
        assumptions=assumptions,
        max_completion=config.max_completion_length,
        rows=config.per_device_train_batch_size,
        micro_steps=config.steps_per_generation,
        accumulation=config.gradient_accumulation_steps,
        num_generations=config.num_generations,
        num_guided=config.num_guided_generations,
        num_targets=config.num_targets if config.distills else 0,
        leaves_columns_out=config.kl_gradient_tolerance > 0,
        kl_chunk_size=config.kl_chunk_size,
        trains_guided=config.guided_grpo_weight > 0,
        guides_apart=config.guides and config.guided_on_demand,
        max_guided_problems=config.max_guided_problems if config.guided_on_demand else None,
        num_iterations=config.num_iterations,
        problems=problems,
        steps=schedule.steps(max(problems, schedule.batch(world)), world),
        weight_bytes=4.0 if model.dtype == "float32" else 2.0,
        quantized_bytes=bits,
        autocast=bool(autocast),
        float32_weights=model.dtype == "float32" and not low,
        checkpointing=bool(config.activation_checkpointing),
        masked_attention="flash" not in (model.attn_implementation or ""),
        optimizer=optimizer,
        lora_rank=model.lora_r if model.use_peft else 0,
        lora_modules=_lora_modules(model, architecture) if model.use_peft else (),
        lora_dropout=model.lora_dropout > 0,
        teacher_copy=config.teacher != "live",
        reference=config.beta != 0 and not model.use_peft,
        guides=config.guides,
        vllm=vllm,
        vllm_share=config.vllm_gpu_memory_utilization,
        vllm_tensor_parallel=config.vllm_tensor_parallel_size,
        vllm_sleeps=config.vllm_enable_sleep_mode,
        on_cpu=on_cpu,
        notes=tuple(notes),
    )


def _upper_bounds(config: SGPOConfig) -> list[str]:
    """What follows from pass rates or distributions, which nobody knows before the run, and is counted at its most."""
    notes = []
    if config.guides and config.guided_rollouts == "by_weight":
        notes.append(
            "guided rollouts are drawn by weight, and counted as if every problem were drawn: an upper bound, reached "
            "where nothing is solved; of the problems that guidance can help, at least "
            f"{config.guided_probability_min:.0%} are drawn"
        )
    elif config.guides and config.guided_on_demand:
        notes.append("guided rollouts are on demand, and counted as if no problem were solved: an upper bound")
    if config.distills and config.kl_gradient_tolerance > 0:
        notes.append(
            f"kl_gradient_tolerance is {config.kl_gradient_tolerance}, and distillation is counted as if no column "
            "were left out: an upper bound"
        )
    return notes


def _lora_modules(model: ModelConfig, architecture: Architecture) -> tuple[str, ...]:
    targets = model.lora_target_modules or [name for name in LORA_DEFAULT if name in architecture.projections]
    if targets in ("all-linear", ["all-linear"]):
        return tuple(architecture.projections)
    names = [targets] if isinstance(targets, str) else list(targets)
    unknown = [name for name in names if name not in architecture.projections]
    if unknown:
        raise ValueError(
            f"lora_target_modules names {unknown[0]!r}, which {architecture.name} does not have; its linear modules "
            f"are {', '.join(architecture.projections)}, or all-linear for all of them."
        )
    return tuple(names)


def _check_context(config: SGPOConfig, architecture: Architecture, assumptions: Assumptions) -> None:
    longest = assumptions.prompt_tokens + assumptions.strategy_tokens + config.max_completion_length
    if architecture.context and longest > architecture.context:
        raise ValueError(
            f"A prompt of {assumptions.prompt_tokens} tokens, a strategy of {assumptions.strategy_tokens} and "
            f"max_completion_length {config.max_completion_length} do not fit into the context of {architecture.name}, "
            f"{architecture.context}. Say with --prompt-tokens and --strategy-tokens how long yours are (sgpo train "
            "--config RECIPE --check counts them), or lower max_completion_length."
        )
