"""Seconds of a step from a roofline: arithmetic at an assumed share of the peak, decoding at one of the bandwidth.

Training is bound by arithmetic: 2 operations per parameter and token forward, 4 backward (2 where the weights are
frozen), 2 more where checkpointing repeats the forward pass. Decoding reads all weights and the live keys and values
for each token that the whole batch gains; the rollouts of a batch decode together as far as the KV cache has room. Not
counted: rewards, weight transfer to vLLM, the wait for the longest rollout, saving.
"""

import math
from dataclasses import dataclass

from sgpo.plan.hardware import Hardware
from sgpo.plan.memory import kv_bytes_per_token, kv_room
from sgpo.plan.workload import Workload

# transformers' generate spends this long on launching the operations of one layer for one token, whatever the model.
_LAUNCH_SECONDS_GPU, _LAUNCH_SECONDS_CPU = 8e-4, 1e-3
# A backward pass, in forward passes: it has two products for each. On one core it took more than twice as long.
_BACKWARD_GPU, _BACKWARD_CPU = 2.0, 2.4
# AdamW reads weight, gradient and both moments, and writes all but the gradient; float32.
_OPTIMIZER_BYTES = 28


@dataclass(frozen=True)
class Duration:
    """Seconds of an optimizer step by part, and what a run adds up to."""

    seconds: dict[str, float]
    decoded_together: int
    steps: int
    sampled_tokens_per_step: float
    devices: int

    @property
    def step(self) -> float:
        return sum(self.seconds.values())

    @property
    def hours(self) -> float:
        return self.steps * self.step / 3600

    @property
    def device_hours(self) -> float:
        return self.hours * self.devices


def duration(load: Workload, hardware: Hardware) -> Duration:
    """Seconds of one optimizer step, by part; a generation batch that serves several steps is shared out among them."""
    # Generation batches that one optimizer step uses up; less than 1 where several steps share one.
    generations = load.accumulation / (load.micro_steps * load.num_iterations)
    mean = load.mean_completion
    prompt, guided_prompt = load.assumptions.prompt_tokens, load.guided_prompt
    autonomous_rows = load.rows * load.micro_steps  # of a generation batch, on one process
    targets = load.guided_problems * load.num_targets
    # A second call reads the weights as often as the first one, however few rows it has.
    decoded = [_decode(load, hardware, rows) for rows in load.generation_calls]
    # TRL's head takes the completion alone; its version without a GPU goes over the prompt's tokens, too.
    scored, scored_guided = (prompt + mean, guided_prompt + mean) if load.on_cpu else (mean, mean)
    row = _forward_seconds(load, hardware, 1, prompt + mean, scored)
    guided_row = _forward_seconds(load, hardware, 1, guided_prompt + mean, scored_guided)
    # Old log-probabilities: always with vLLM, and where a generation batch serves several optimizer steps.
    rescored = autonomous_rows if load.vllm or load.micro_steps * load.num_iterations > load.accumulation else 0
    contested = load.guided_rows if load.num_targets else 0
    guided_steps = generations * load.num_iterations * load.micro_steps
    # The server's devices do the rollouts of all processes.
    share = load.world / load.server_devices if load.vllm == "server" else 1.0
    read = _forward_seconds(load, hardware, autonomous_rows, prompt if load.vllm else load.padded_prompt, 1)
    read += _forward_seconds(load, hardware, load.guided_rows, guided_prompt, 1)
    distilled = _passes(load) * _forward_seconds(load, hardware, targets, prompt + mean, mean)
    distilled += _forward_seconds(load, hardware, targets, guided_prompt + mean, mean)
    trained = load.rows * load.accumulation * row + guided_steps * load.trained_guided_rows * guided_row
    states = _OPTIMIZER_BYTES * load.trained_parameters / load.sharding.share("optimizer", load.world)
    seconds = {
        "decode": generations * sum(seconds for _, seconds in decoded),
        "prefill": generations * share * read,
        "scoring": generations * (rescored + contested) * row,
        "GRPO": trained * _passes(load),
        "distillation": generations * load.num_iterations * distilled,
        "optimizer": states / hardware.device.bandwidth,
        "communication": _communication(load, hardware),
    }
    sampled = generations * sum(load.generation_calls) * mean * load.world
    return Duration(seconds, max(together for together, _ in decoded), load.steps, sampled, hardware.count)


def _passes(load: Workload) -> float:
    """Training pass in units of a forward pass; with frozen weights the backward pass has half of the products."""
    backward = _BACKWARD_CPU if load.on_cpu else _BACKWARD_GPU
    return 1.0 + (backward / 2 if load.lora_rank else backward) + (1.0 if load.checkpointing else 0.0)


def _forward_seconds(
    load: Workload, hardware: Hardware, rows: float, length: int, scored: int, *, seen: float | None = None
) -> float:
    """Seconds of a forward pass of ``rows`` rows of ``length`` tokens on one device.

    The head works on ``scored`` tokens of a row: with a large vocabulary and few layers it is a quarter of all. A token
    attends to ``seen`` others on average; by default to half of the row, as causal attention does.
    """
    a = load.architecture
    attention = 2 * a.query_width * (length / 2 if seen is None else seen)
    products = rows * (length * a.layers * (a.layer_parameters + attention) + scored * a.embedding_parameters)
    return 2 * products / (load.assumptions.mfu * hardware.device.flops)


def _decode(load: Workload, hardware: Hardware, rows: int) -> tuple[int, float]:
    """Rollouts that decode together on one engine, and seconds until all rollouts of a generation batch are done."""
    a, device = load.architecture, hardware.device
    mean, prompt = load.mean_completion, load.assumptions.prompt_tokens if load.vllm else load.padded_prompt
    engines, parallel = load.world, 1
    if load.vllm:
        parallel = load.server_tensor_parallel if load.vllm == "server" else load.vllm_tensor_parallel
        engines = 1 if load.vllm == "server" else max(1, load.world // parallel)
    share = math.ceil(rows * load.world / engines)  # rollouts of one engine
    together = share
    if load.vllm:
        per_row = kv_bytes_per_token(load) / parallel * (prompt + mean)
        together = int(max(1, min(share, max(0.0, kv_room(load, hardware)) / per_row)))
    length = mean if load.vllm else load.max_completion  # without vLLM every row waits for the longest
    weights = 2 if load.vllm else load.compute_bytes
    # While a row grows to its length, half of it is there on average.
    read = weights * a.parameters + together * (prompt + length / 2) * kv_bytes_per_token(load)
    moved = read / parallel / (load.assumptions.decode_efficiency * device.bandwidth)
    computed = _forward_seconds(load, hardware, together, 1, 1, seen=prompt + length / 2) / parallel
    launch = 0.0 if load.vllm else a.layers * (_LAUNCH_SECONDS_CPU if load.on_cpu else _LAUNCH_SECONDS_GPU)
    # A GPU does the three side by side, one core one after the other.
    token = moved + computed + launch if load.on_cpu else max(moved, computed, launch)
    return together, share / together * length * token


def _communication(load: Workload, hardware: Hardware) -> float:
    """Exchange of weights and gradients that arithmetic does not hide, reckoned as a tenth of it all."""
    if load.world == 1:
        return 0.0
    link = hardware.device.intra_node if load.world <= hardware.per_node else hardware.device.inter_node
    gradients = 2 * 2.0 * load.trained_parameters
    weights = 3 * 2.0 * load.architecture.parameters * load.accumulation if load.sharding.stage == 3 else 0.0
    reduced = gradients * (load.accumulation if load.sharding.stage >= 2 else 1)
    return 0.1 * (weights + reduced) / link
