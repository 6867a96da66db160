"""Options as dataclasses: the command line that follows from them, and one object from what was typed."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.commands._options import takes_options
from sgpo.compare.options import CompareOptions, MeasureOptions
from sgpo.evaluation.options import EvalOptions
from sgpo.models.options import ModelOptions
from sgpo.options import from_flat, group, like, option

SNAPSHOT = Path(__file__).with_name("command_options.txt")
COMMAND = typer.main.get_command(app)


def parameters(command: Any = COMMAND, name: str = "sgpo") -> Iterator[tuple[str, Any]]:
    """Each command's name, with each of its options and arguments."""
    for sub, each in getattr(command, "commands", {}).items():
        yield from parameters(each, f"{name} {sub}")
    if not hasattr(command, "commands"):
        yield from ((name, parameter) for parameter in command.params)


def described(name: str, parameter: Any) -> str:
    """One line: command, names, default, whether it is required or repeatable, environment variable."""
    is_option = parameter.param_type_name == "option"
    names = sorted([*parameter.opts, *parameter.secondary_opts]) if is_option else [parameter.name.upper()]
    default = str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
    line = f"{name} {' '.join(names)} = {default!r}"
    line += " required" if parameter.required else ""
    line += " repeatable" if getattr(parameter, "multiple", False) or parameter.nargs != 1 else ""
    return line + (f" ${parameter.envvar}" if parameter.envvar else "")


def test_every_option_has_the_name_and_default_that_users_know() -> None:
    """An option that is added or changed on purpose is added to or changed in the file."""
    found = sorted(described(name, parameter) for name, parameter in parameters())
    assert found == SNAPSHOT.read_text().splitlines()


def test_names_may_have_underscores_as_the_fields_of_training_have(tmp_path: Path) -> None:
    for word in ("--min_instance_free", "--min-instance-free"):
        done = CliRunner().invoke(app, ["strategies", "export", str(tmp_path / "x.jsonl"), word, "9"])
        assert "--min-instance-free 9.0 is a score" in str(done.exception), done.output


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "sgpo", "--version"], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout[:5]) == (0, "sgpo "), done.stderr


def test_a_misspelt_command_of_eval_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["eval", "dif", "a", "b"])
    assert "There is no command 'dif' (did you mean sgpo eval diff?)" in str(done.exception)
    (tmp_path / "dif").mkdir()  # a model of that name
    assert "No problems" in str(CliRunner().invoke(app, ["eval", "dif"]).exception)


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("eval m --tasks gsm8k", "--benchmark, --data"),
        ("eval m --num_samples 4", "--k"),
        ("eval m --max_tokens 4", "--max-new-tokens"),
        ("eval m --temp 1", "--temperature"),
        ("strategies extract x --num-candidates 4", "--n"),
        ("report x --output y", "--out"),
    ],
)
def test_what_other_tools_call_an_option_is_named(words: str, ours: str) -> None:
    said = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"}).output
    assert f"(Possible options: {ours})" in said


def test_what_is_written_is_no_store() -> None:
    said = CliRunner().invoke(app, ["strategies", "export", "--out", "x"], env={"COLUMNS": "200"}).output
    assert "No such option: --out" in said
    assert "Possible" not in said, "an export reads what is in --store"


def test_help_says_what_a_value_does() -> None:
    """No option has a help that only its author understands: a phrase without a subject, or fewer than three words."""
    bad = [
        f"{name} {parameter.name}: {parameter.help!r}"
        for name, parameter in parameters()
        if len((parameter.help or "").split()) < 3
        or re.match(r"(Of|Over|For|By|What|Default)\b(?!.*\b(judges|runs)\b)", parameter.help)
        or not parameter.help.endswith(".")
    ]
    assert bad == []


def test_help_needs_nothing_heavy() -> None:
    commands = [name.split()[1:] for name in sorted({"sgpo train", *(name for name, _ in parameters())})]
    code = (
        f"import sys; from sgpo.cli import app\nfor command in {commands}:\n"
        "    app([*command, '--help'], standalone_mode=False)\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'trl', 'numpy', 'sympy', 'openai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage:") == len(commands)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    """A group with one option of each kind, and a field that is none."""

    tries: int = option(3, help="How often it is tried.")
    body: dict[str, Any] = option(default_factory=dict, help="JSON object to send.")
    words: tuple[str, ...] = option((), flags=("--word", "-w"), help="Word to leave out.")
    check: bool = option(True, flags=("--no-check",), negated=True, help="Leave the check out.")
    plots: bool = option(True, help="Write the plots too.")
    hidden: int = 7

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"--tries {self.tries} must be at least 1.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    """A command's options, with another default for one in its group."""

    path: Path = option(argument=True, help="File to read from.")
    inner: Inner = group(Inner(tries=8, hidden=9))


def given(*arguments: str) -> Any:
    """The object that a command gets for some arguments; raises what the command line raises."""
    seen: list[Outer] = []
    program = typer.Typer()

    @program.command()
    @takes_options
    def command(context: typer.Context, options: Outer) -> None:
        assert context.info_name is not None
        seen.append(options)

    result = CliRunner().invoke(program, list(arguments), catch_exceptions=False)
    return seen[0] if seen else result.output


def test_a_command_gets_one_object_with_its_groups_in_it() -> None:
    assert given("f") == Outer(path=Path("f"), inner=Inner(tries=8, hidden=9))
    typed = given("f", "--tries", "2", "--body", '{"a": 1}', "-w", "x", "--word", "y", "--no-check", "--no-plots")
    inner = Inner(tries=2, body={"a": 1}, words=("x", "y"), check=False, plots=False, hidden=9)
    assert typed == Outer(path=Path("f"), inner=inner)


def test_what_is_wrong_is_said_by_the_class_or_by_the_parser() -> None:
    with pytest.raises(ValueError, match="--tries 0 must be at least 1"):
        given("f", "--tries", "0")
    with pytest.raises(ValueError, match="--body must be a JSON object"):
        given("f", "--body", "[]")
    assert "hidden" in given("f", "--hidden", "1")  # no such option
    assert "Missing argument" in given()


def test_from_flat_fills_groups_and_refuses_unknown_names() -> None:
    assert from_flat(Outer, {"path": Path("f"), "tries": 1}).inner == Inner(tries=1, hidden=9)
    with pytest.raises(ValueError, match="There is no option 'trise'"):
        from_flat(Outer, {"path": Path("f"), "trise": 1})


def test_like_keeps_what_is_not_changed() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(ModelOptions):
        retries: int = like(ModelOptions, "retries", default=8)
        extra_body: dict[str, Any] = like(ModelOptions, "extra_body", help="Another help text.")

    changed, kept = ({field.name: field for field in dataclasses.fields(each)} for each in (Other, ModelOptions))
    assert changed["retries"].metadata == kept["retries"].metadata
    assert (Other().retries, ModelOptions().retries, Other().extra_body) == (8, 5, {})
    assert changed["extra_body"].metadata["help"] == "Another help text."


def test_a_comparison_measures_with_the_options_of_eval() -> None:
    measure = MeasureOptions(eval_preset="greedy", k=1, backend="vllm", tensor_parallel=2)
    options = from_flat(EvalOptions, measure.as_eval_options())
    assert (options.preset, options.k, options.access.backend, options.access.tensor_parallel) == (
        "greedy",
        1,
        "vllm",
        2,
    )
    assert from_flat(EvalOptions, MeasureOptions().as_eval_options()) == EvalOptions()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "x"}, "preset 'x' is unknown"),
        ({}, "Name the methods with --methods"),
        ({"methods": ("sgpo",), "measure": MeasureOptions(k=1)}, "--k is for a comparison on a recipe"),
        ({"methods": ("sgpo",), "tune": "fast"}, "--tune 'fast' is no list of learning rates"),
    ],
)
def test_mistakes_of_a_comparison_are_said_by_its_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompareOptions(**options)


def test_a_backend_that_is_none_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ValueError, match="--backend 'x' is unknown; choose from transformers, vllm, endpoint"):
        ModelOptions(backend="x")
