"""A plan as text for a terminal: the verdict first, then memory by part, time, and what was assumed."""

import textwrap

from sgpo.plan.estimate import Plan
from sgpo.plan.hardware import GIB


def render_plan(plan: Plan) -> str:
    """Lines for a terminal, at most 110 columns wide."""
    load = plan.workload
    trained = f"{_count(load.trained_parameters)} trained (LoRA)" if load.lora_rank else "all trained"
    devices = f"{load.world} training" + (f", {load.server_devices} serving" if load.server_devices else "")
    lines = [
        f"{load.architecture.name}: {_count(load.architecture.parameters)} parameters, {trained}; sizes from "
        f"{load.architecture.source}",
        f"{plan.hardware}: {devices}",
        "",
        *_verdict(plan),
        "",
        *_memory_table(plan),
        "",
        *_time_table(plan),
        "",
        *_assumptions(plan),
        "",
        f"In short: {plan_summary(plan)}",
    ]
    return "\n".join(lines)


def plan_summary(plan: Plan) -> str:
    """The plan in one line, as recipes quote it."""
    d, unit = plan.duration, "CPU" if plan.workload.on_cpu else "GPU"
    memory = f"{plan.memory.peak / GIB:.3g} of {plan.hardware.device.memory / GIB:.0f} GiB"
    return f"{memory}, {d.step:.3g} s a step, {d.steps} steps, {d.device_hours:.3g} {unit} hours"


def _verdict(plan: Plan) -> list[str]:
    peak = f"{_gib(plan.memory.peak)} of {_gib(plan.hardware.device.memory)} a device, in the phase " + repr(
        plan.memory.peak_phase
    )
    if plan.fits:
        return [f"Fits: {peak}."]
    return [f"DOES NOT FIT, first: {plan.misfit}.", f"Remedy: {plan.remedy}."]


def _memory_table(plan: Plan) -> list[str]:
    phase = plan.memory.peak_phase
    lines = [f"Memory of a training device in its largest phase ('{phase}')"]
    lines += [f"  {part:<24}{_gib(size):>12}" for part, size in plan.memory.phases[phase].items() if size]
    lines.append(f"  {'peak':<24}{_gib(plan.memory.peak):>12}")
    others = sorted(plan.memory.phases.items(), key=lambda item: -sum(item[1].values()))
    phases = ", ".join(f"{name} {_gib(sum(p.values()))}" for name, p in others[1:])
    lines += textwrap.wrap(f"Other phases: {phases}", 110, subsequent_indent="  ")
    if plan.memory.server:
        server = ", ".join(f"{part} {_gib(size)}" for part, size in plan.memory.server.items())
        lines.append(f"vLLM server, a device of {plan.workload.server_tensor_parallel} in tensor parallel: {server}")
        idle = plan.workload.server_devices - plan.workload.server_tensor_parallel
        if idle:
            lines.append(f"  {idle} of the {plan.workload.server_devices} server devices idle: the heads do not divide")
    return lines


def _time_table(plan: Plan) -> list[str]:
    load, d = plan.workload, plan.duration
    lines = [
        f"An optimizer step: {load.problems_per_step:.0f} problems, {d.sampled_tokens_per_step:,.0f} sampled tokens, "
        f"{d.step:.3g} s"
    ]
    lines += [f"  {part:<24}{seconds:>10.3g} s" for part, seconds in d.seconds.items() if seconds]
    lines.append(
        f"The run: {d.steps} steps, {d.sampled_tokens_per_step * d.steps:,.0f} sampled tokens, "
        f"{d.hours:.3g} hours, {d.device_hours:.3g} {'CPU' if load.on_cpu else 'GPU'} hours"
    )
    return lines


def _assumptions(plan: Plan) -> list[str]:
    load, a = plan.workload, plan.workload.assumptions
    return [
        f"Assumed: prompts of {a.prompt_tokens} tokens, strategies of {a.strategy_tokens}; completions of "
        f"{load.mean_completion} on average, of {load.max_completion} in memory;",
        f"every problem has a target; training at {a.mfu:.0%} of the peak arithmetic, decoding at "
        f"{a.decode_efficiency:.0%} of the bandwidth.",
        "Not counted: rewards, weight transfer, evaluation, saving, the wait for the longest rollout.",
        *(f"- {note}" for note in load.notes),
    ]


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB" if abs(size) >= GIB else f"{size * 1024 / GIB:.0f} MiB"


def _count(number: float) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.1f}M"
