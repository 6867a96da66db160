"""``sgpo plan --config FILE --hardware NAME[:COUNT] [--field value ...]``"""

import json
from typing import Annotated

import typer


def plan(
    context: typer.Context,
    config: Annotated[str, typer.Option(help="The recipe; its fields can be overridden as --field value.")],
    hardware: Annotated[str, typer.Option(help="NAME or NAME:COUNT per node: h100:8, h200, a100-40, rtx4090, cpu.")],
    nodes: Annotated[int, typer.Option(help="Machines of that kind.")] = 1,
    gpu_memory_gib: Annotated[float | None, typer.Option(help="Memory of a device, if not the usual.")] = None,
    accelerate: Annotated[str | None, typer.Option(help="Accelerate config: FSDP2 or DeepSpeed sharding.")] = None,
    server_gpus: Annotated[int | None, typer.Option(help="Devices of the vLLM server; by default a node.")] = None,
    prompt_tokens: Annotated[int, typer.Option(help="Of a prompt, with its chat template.")] = 256,
    strategy_tokens: Annotated[int, typer.Option(help="What a strategy adds to it.")] = 192,
    mean_completion_tokens: Annotated[int | None, typer.Option(help="By default half of the longest.")] = None,
    problems: Annotated[int | None, typer.Option(help="Of the training set, where it is not a local file.")] = None,
    mfu: Annotated[float, typer.Option(help="Share of the peak arithmetic that training reaches.")] = 0.35,
    decode_efficiency: Annotated[float, typer.Option(help="Share of the bandwidth that decoding reaches.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Memory, time and GPU hours of a recipe, and the first thing that will not fit; downloads no weights."""
    from sgpo.plan import plan_recipe
    from sgpo.plan.hardware import parse_hardware
    from sgpo.plan.render import render
    from sgpo.plan.workload import Assumptions

    result = plan_recipe(
        ["--config", config, *context.args],
        parse_hardware(hardware, nodes=nodes, memory_gib=gpu_memory_gib),
        accelerate=accelerate,
        server_devices=server_gpus,
        assumptions=Assumptions(
            prompt_tokens=prompt_tokens,
            strategy_tokens=strategy_tokens,
            mean_completion_tokens=mean_completion_tokens,
            problems=problems,
            mfu=mfu,
            decode_efficiency=decode_efficiency,
        ),
    )
    typer.echo(json.dumps(result.to_dict(), indent=2) if as_json else render(result))
