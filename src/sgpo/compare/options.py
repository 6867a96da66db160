"""What ``sgpo compare`` can be told; imports nothing heavy. `sgpo.commands.compare` makes a plan of it."""

import dataclasses
from pathlib import Path
from typing import Any

from sgpo.evaluation.options import EvalModelOptions, EvalOptions
from sgpo.options import group, like, option
from sgpo.runs.files import JsonObject
from sgpo.runs.methods import PRESETS


def given(options: Any) -> dict[str, Any]:
    """The options of a group that are not at their defaults."""
    # By their defaults, since typer does not say which options were typed.
    pairs = ((each, getattr(options, each.name)) for each in dataclasses.fields(options))
    return {each.name: value for each, value in pairs if value != each.default}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabOptions:
    """The options of a comparison on the embedded lab alone."""

    generations: int | None = option(None, help="Lab: generation batches that each run trains on. Default: 80.")
    base: tuple[Path, ...] = option(
        (),
        help="Lab: folder of a base model, made by sgpo.lab.pretrain, to start from; repeatable, and several alternate "
        "over the seeds. Default: the shipped ones.",
    )
    expert: str | None = option(
        None,
        help="Lab: who wrote the solutions that SFT, HPT and LUFFY learn from: plain (the student's own style), gentle "
        "(right and complete, in another phrasing), terse (half of them skip steps) or faulty (a tenth is wrong). "
        "Default: gentle.",
    )
    reuse: Path | None = option(
        None,
        help="Lab: directory of a comparison with another --expert, whose runs of methods that see no expert are taken "
        "over.",
    )
    tune_balance: bool = option(
        False,
        flags=("--tune-balance",),
        help="Lab: also search each baseline's own balance at its best rate: HPT's SFT coefficient, LUFFY's shaping "
        "gamma, SFT's epochs.",
    )

    def __post_init__(self) -> None:
        if (self.generations or 0) < 0:
            raise ValueError(f"generations is {self.generations}, but must be 0 (the default) or more.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options of a comparison on a recipe alone."""

    set_: tuple[str, ...] = option(
        (), flags=("--set",), help="Recipe: FIELD=VALUE to use in place of what the recipe says; repeatable."
    )
    benchmark: tuple[str, ...] = option(
        (),
        flags=("--benchmark", "-b"),
        help="Recipe: what to measure the models by, a benchmark or a file, as sgpo eval takes them; repeatable.",
    )
    validation: Path | None = option(
        None,
        help="Recipe: file of the problems to search learning rates on. Default: 5% of the training problems, "
        "held out.",
    )
    launcher: str | None = option(
        None, help="Recipe: command that starts each run, put in front of -m: 'accelerate launch --config_file FILE'."
    )


def _measured(name: str, **changes: Any) -> Any:
    """An option of ``sgpo eval``, which keeps its default there where it is not given here."""
    owner = EvalOptions if name in EvalOptions.__dataclass_fields__ else EvalModelOptions
    return like(owner, name, default=None, **changes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """The options by which a recipe's models are measured; those that are None are as in ``sgpo eval``."""

    eval_preset: str | None = _measured("preset")
    k: int | None = _measured("k")
    temperature: float | None = _measured("temperature")
    top_p: float | None = _measured("top_p")
    max_new_tokens: int | None = _measured("max_new_tokens")
    template: str | None = _measured("template")
    grader: str | None = _measured("grader")
    limit: int | None = _measured("limit")
    backend: str | None = _measured(
        "backend", help="What runs the models that are measured: transformers or vllm. Default: transformers."
    )
    batch_size: int | None = _measured("batch_size")
    tensor_parallel: int | None = _measured(
        "tensor_parallel", help="Number of GPUs over which vLLM splits the model. Default: 1."
    )
    max_model_len: int | None = _measured("max_model_len")

    def as_eval_options(self) -> JsonObject:
        """Those that were given, by their names among `EvalOptions`."""
        return {"preset" if name == "eval_preset" else name: value for name, value in given(self).items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The options of ``sgpo compare``."""

    more: tuple[str, ...] = option(
        (), argument=True, metavar="[METHOD]...", help="Methods to compare, in the form that --methods takes."
    )
    methods: tuple[str, ...] = option(
        (),
        help="Methods to compare, separated by blanks or commas; fields may follow a colon: "
        "sgpo:kl_clip=0.3,teacher=ema.",
    )
    preset: str = option("", help=f"Ready list of methods to compare: {', '.join(PRESETS)}.")
    seeds: int = option(5, help="Training runs of each method; on the lab they alternate between the bases.")
    out: Path = option(Path("runs/compare"), help="Directory of the results; an unfinished comparison in it goes on.")
    tune: str | None = option(
        None,
        help="Learning rates to search for each method; '' for none. Default: 8e-4 1.6e-3 on the lab; 1, 3 "
        "and 10 times that of the recipe.",
    )
    jobs: int = option(0, help="Number of runs side by side; 0 is one per core on the lab, and one for a recipe.")
    lab: LabOptions = group(LabOptions())
    config: Path | None = option(None, help="YAML recipe of sgpo train, to compare on in place of the lab.")
    recipe: RecipeOptions = group(RecipeOptions())
    measure: MeasureOptions = group(MeasureOptions())

    def __post_init__(self) -> None:
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is unknown; choose from {', '.join(PRESETS)}.")
        if not self.method_names:
            raise ValueError(f"Name the methods with --methods, or a --preset: {', '.join(PRESETS)}.")
        # Silently without effect, such an option would be a comparison of something else than was asked for.
        foreign = given(self.recipe) | given(self.measure) if self.config is None else given(self.lab)
        if foreign:
            flag = "--" + next(iter(foreign)).strip("_").replace("_", "-")
            where = "a comparison on a recipe (--config)" if self.config is None else "the lab, not a recipe"
            raise ValueError(f"{flag} is for {where}; leave it out.")
        # A list of rates that cannot be read is said now, and not after the first cells.
        self.rates  # noqa: B018

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods of the preset and the named ones, each once."""
        return tuple(dict.fromkeys([*PRESETS.get(self.preset, ()), *split_methods([*self.methods, *self.more])]))

    @property
    def rates(self) -> tuple[float, ...] | None:
        """The learning rates to search; None for those that the kind of comparison has by default."""
        if self.tune is None:
            return None
        try:
            return tuple(float(rate) for rate in self.tune.replace(",", " ").split())
        except ValueError as error:
            raise ValueError(f"--tune {self.tune!r} is no list of learning rates: {error}.") from error


def split_methods(texts: list[str]) -> list[str]:
    """Method names from what was typed. A comma before ``field=value`` belongs to the method in front of it."""
    names: list[str] = []
    for text in texts:
        for i, part in enumerate(part for word in text.split() for part in word.split(",") if part):
            # `sgpo:kl_clip=1,teacher=ema` and `sgpo,hpt` part at the same comma.
            if i and "=" in part and ":" not in part:
                names[-1] += f",{part}"
            else:
                names.append(part)
    return names
