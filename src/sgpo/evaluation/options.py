"""What ``sgpo eval`` can be told. `sgpo.evaluation.planning` makes plans of it; this module imports nothing heavy."""

import dataclasses
from pathlib import Path

from sgpo.models import Model, ModelOptions, Sampling, open_model
from sgpo.options import group, like, option

GRADERS = ("verify", "lab")
PRESETS: dict[str, dict[str, float]] = {
    # arXiv 2606.24064; its k is 4 or 32 by benchmark, see sgpo.data.benchmarks.
    "paper": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768},
    "greedy": {"k": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 32768},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalModelOptions(ModelOptions):
    """How the evaluated model is reached. A URL alone says that it is an endpoint."""

    base_url: str | None = like(
        ModelOptions, "base_url", help="URL of an OpenAI-compatible endpoint, up to /v1; implies --backend endpoint."
    )
    timeout: float = like(ModelOptions, "timeout", flags=("--request-timeout",))
    quantization: dict[str, object] = option(
        default_factory=dict,
        help="JSON object, transformers' quantization_config, by which a whole model is quantized, such as "
        "'{\"load_in_4bit\": true}': the base of an adapter that was trained so. Such an adapter says it itself.",
    )

    def open(self, model: str, sampling: Sampling) -> Model:
        """The way to ``model``, see `sgpo.models.open_model`."""
        options = self if self.base_url is None else dataclasses.replace(self, backend="endpoint")
        return open_model(model, sampling, options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The options of ``sgpo eval`` that a comparison has too; those that are None follow the preset."""

    data: Path | None = option(
        None,
        help="File of the problems of one benchmark (.jsonl, .json, .parquet or .csv), with problem and answer, and "
        "with id and strategy if any.",
    )
    preset: str | None = option(
        None,
        help="paper (temperature 0.6, top-p 0.95, 32,768 tokens, 4 or 32 samples by benchmark) or greedy. "
        "Default: paper.",
    )
    k: int | None = option(None, flags=("--k", "-k"), help="Samples of each problem. Default: the preset's.")
    temperature: float | None = option(
        None, help="Sampling temperature; 0 takes the likeliest token. Default: the preset's."
    )
    top_p: float | None = option(
        None, help="Share of the probability, over 0 and up to 1, that sampling keeps. Default: the preset's."
    )
    max_new_tokens: int | None = option(None, help="Most tokens of one response. Default: the preset's.")
    seed: int = option(0, help="Number from which each sample's own random stream is made.")
    template: str | None = option(
        None,
        help="How a problem is put to the model: instruct, qwen, luffy, plain, raw, or a file with {problem}. "
        "Default: instruct, on the lab raw.",
    )
    guided: bool = option(False, help="Put each problem's strategy into its prompt.")
    strategies: Path | None = option(
        None, help="File with the id and strategy of each problem (.jsonl, .json, .parquet or .csv); implies --guided."
    )
    guided_template: str | None = option(
        None,
        help="Text, or a file, with {prompt} and {strategy}, that makes a guided prompt. Default: that of training.",
    )
    grader: str | None = option(
        None, help="What judges the responses: verify, or lab for the embedded task. Default: verify, on the lab lab."
    )
    verify_timeout: float = option(2.0, help="Seconds that the verifier may take for one response.")
    require_box: bool = option(False, help="Count only answers that stand in \\boxed{}.")
    allow_bad_golds: bool = option(
        False, help="Count a problem whose gold answer cannot be read as wrong, instead of refusing to start."
    )
    limit: int | None = option(None, help="Evaluate only the first so many problems. Default: all of them.")
    access: EvalModelOptions = group(EvalModelOptions())

    def __post_init__(self) -> None:
        # Here and not where they are used: a typo is said before a benchmark is downloaded.
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit} must be at least 1.")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is unknown; choose from {', '.join(PRESETS)}.")
        if self.grader is not None and self.grader not in GRADERS:
            raise ValueError(f"grader {self.grader!r} is unknown; choose {' or '.join(GRADERS)}.")
