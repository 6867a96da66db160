"""``sgpo eval MODEL ...`` and ``sgpo eval diff A B``."""

import difflib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sgpo.commands._options import takes_options
from sgpo.evaluation.options import EvalOptions
from sgpo.options import group, option


class DefaultToRun(TyperGroup):
    """A group in which ``run`` need not be named: whatever is no command is the first argument of ``run``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands:
            near = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.8)
            if near and not Path(args[0]).exists():
                raise ValueError(
                    f"There is no command {args[0]!r} (did you mean sgpo eval {near[0]}?). For a model of that name "
                    f"write sgpo eval run {args[0]}."
                )
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=DefaultToRun, help="Evaluate models, and compare evaluations.", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class EvalCommand:
    """The options of ``sgpo eval``: a model, benchmarks and a folder, and how they are evaluated."""

    model: str = option(
        argument=True,
        help="Folder of a model or adapter, a hub id, or 'lab' (the embedded base); of an endpoint, the name served.",
    )
    benchmark: tuple[str, ...] = option(
        (),
        flags=("--benchmark", "-b"),
        help="Benchmark to run: math500, amc23, olympiadbench, aime24, aime25, gsm8k or lab; repeatable.",
    )
    out: Path = option(
        Path("runs/eval"),
        help="Folder of the run, with one folder each for several benchmarks; run again with it to resume.",
    )
    evaluation: EvalOptions = group(EvalOptions())


@app.command(epilog="sgpo eval diff A B compares two runs. The settings that --out holds must be kept to resume it.")
@takes_options
def run(options: EvalCommand) -> None:
    """Evaluate a model on benchmarks; every response, verdict and setting is saved, and the run can be resumed."""
    from sgpo.commands import _evaluate as work

    work.print_results(work.run_benchmarks(options))
    typer.echo(f"written: {options.out}")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="Folder of a finished run of sgpo eval.")],
    b: Annotated[Path, typer.Argument(help="Folder of another finished run; the difference is B minus A.")],
    common: Annotated[
        bool, typer.Option("--common", help="Compare only the problems that both runs have, instead of refusing.")
    ] = False,
    show: Annotated[int, typer.Option(help="Most flipped problems to print of each kind.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object, all flipped problems included.")
    ] = False,
) -> None:
    """Print the paired difference of two evaluations with its interval, and the problems that flipped."""
    from sgpo.commands._evaluate import print_diff
    from sgpo.evaluation.diff import eval_difference

    found = eval_difference(a, b, common=common)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        print_diff(found, show)
