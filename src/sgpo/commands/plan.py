"""``sgpo plan --config FILE --hardware NAME[:COUNT] [--field value ...]``: memory and time of a recipe."""

import json
from dataclasses import dataclass

import typer

from sgpo.commands._options import takes_options
from sgpo.options import group, option
from sgpo.plan.assumptions import Assumptions


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The options of ``sgpo plan``: a recipe, a machine, and what is assumed of both."""

    config: str = option(help="YAML recipe of sgpo train; its fields can be overridden as --field value.")
    hardware: str | None = option(
        None,
        help="Devices of a node, NAME or NAME:COUNT: h100:8, h200, a100-40, rtx4090 or cpu. Default: this machine.",
    )
    nodes: int = option(1, help="Number of nodes that have these devices.")
    gpu_memory_gib: float | None = option(
        None, help="Memory of one device in GiB. Default: what a device of that name usually has."
    )
    accelerate: str | None = option(
        None,
        help="Config file of accelerate, whose FSDP2 or DeepSpeed sharding is taken. "
        "Default: a copy of the model on each device.",
    )
    server_gpus: int | None = option(
        None,
        help="Devices that a vLLM server takes, where the recipe has one. "
        "Default: one node of several, half of a single one.",
    )
    assumptions: Assumptions = group(Assumptions())
    as_json: bool = option(False, flags=("--json",), help="Print the plan as one JSON object.")


@takes_options
def plan(context: typer.Context, options: PlanOptions) -> None:
    """Estimate memory, time and GPU hours of a recipe, and name what will not fit; downloads no weights."""
    from sgpo.plan.hardware import parse_hardware

    machine = parse_hardware(options.hardware, nodes=options.nodes, memory_gib=options.gpu_memory_gib)
    from sgpo.plan import plan_recipe  # imports torch
    from sgpo.plan.render import render_plan

    result = plan_recipe(
        ["--config", options.config, *context.args],
        machine,
        accelerate=options.accelerate,
        server_devices=options.server_gpus,
        assumptions=options.assumptions,
    )
    typer.echo(json.dumps(result.to_dict(), indent=2) if options.as_json else render_plan(result))
