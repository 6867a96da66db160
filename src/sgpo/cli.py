"""``sgpo``: the command line. Each command is a thin function over the package; nothing here imports torch."""

from typing import Any

import typer
from typer.core import TyperGroup

from sgpo import __version__
from sgpo.commands import compare, data, evaluate, init, lab, plan, report, strategies, train, verify
from sgpo.runs.processes import ended_tidily, mistakes_in_one_line
from sgpo.runs.progress import hush
from sgpo.runs.words import known_as


class _Commands(TyperGroup):
    """All commands. Of an unknown option it names ours for what other tools call so; click compares letters alone."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            name, at = getattr(error, "option_name", None), getattr(error, "ctx", None)
            if name and at and hasattr(error, "possibilities"):
                ours = (option for parameter in at.command.params for option in parameter.opts if option[:2] == "--")
                error.possibilities = known_as(name.strip("-"), ours) or error.possibilities
            raise


app = typer.Typer(
    name="sgpo",
    cls=_Commands,
    help="Strategy-Guided Policy Optimization (arXiv 2606.24064): teach a model how to reason.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # sgpo train spells its fields with underscores, as TRL does; whoever comes from there may do so everywhere.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
app.command("quickstart")(lab.quickstart)
app.command("init", epilog="Check a recipe of your own with sgpo train --config RECIPE --check.")(init.init)
app.command(
    "train",
    # The fields are those of TRL's parser; --help is ours, see sgpo.commands._train_help.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(train.train_command)
app.command("plan", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(plan.plan)
app.command("compare")(compare.compare_command)
app.command("verify")(verify.verify_command)
app.command("report")(report.report_command)
app.add_typer(evaluate.app, name="eval")
app.add_typer(strategies.app, name="strategies")
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"sgpo {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a mistake in what was asked for ends in one line and exit code 2."""
    hush()
    with mistakes_in_one_line(), ended_tidily():
        app()


if __name__ == "__main__":
    main()
