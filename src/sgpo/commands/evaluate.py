"""``sgpo eval MODEL ...`` and ``sgpo eval diff A B``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class DefaultToRun(TyperGroup):
    """A group in which ``run`` need not be named: whatever is no command is the first argument of ``run``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=DefaultToRun, help="Evaluate models, and compare evaluations.", no_args_is_help=True)

Model = Annotated[
    str, typer.Argument(help="A folder (an adapter's too) or hub id; with --backend endpoint the name it serves.")
]
Names = Annotated[
    list[str] | None,
    typer.Option("--benchmark", "-b", help="math500, amc23, olympiadbench, aime24, aime25, gsm8k or lab; repeatable."),
]
Data = Annotated[Path | None, typer.Option(help="JSONL with problem and answer (id, strategy); for one benchmark.")]
Out = Annotated[Path, typer.Option(help="Folder of the run; run again to resume. Several benchmarks: one folder each.")]
Preset = Annotated[
    str | None, typer.Option(help="paper (the default: T 0.6, top-p 0.95, 32K tokens, avg@4 or avg@32) or greedy.")
]
K = Annotated[int | None, typer.Option("--k", "-k", help="Samples of each problem. Default: by the preset.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy. Default: by the preset.")]
TopP = Annotated[float | None, typer.Option(help="Default: by the preset.")]
MaxTokens = Annotated[int | None, typer.Option("--max-new-tokens", help="Default: by the preset.")]
Seed = Annotated[int, typer.Option(help="Names the random streams.")]
TemplateName = Annotated[str | None, typer.Option(help="instruct, qwen, luffy, raw, or a file with {problem}.")]
Guided = Annotated[bool, typer.Option("--guided", help="Put each problem's strategy into its prompt.")]
Strategies = Annotated[Path | None, typer.Option(help="JSONL with id and strategy; implies --guided.")]
GuidedTemplate = Annotated[str | None, typer.Option(help="Text, or a file, with {prompt} and {strategy}.")]
GraderName = Annotated[str | None, typer.Option("--grader", help="verify or lab.")]
VerifyTimeout = Annotated[float, typer.Option(help="Seconds the verifier may take for one response.")]
RequireBox = Annotated[bool, typer.Option("--require-box", help="Only an answer in \\boxed{} counts.")]
AllowBad = Annotated[bool, typer.Option("--allow-bad-golds", help="Count problems with unusable golds as wrong.")]
Limit = Annotated[int | None, typer.Option(help="Only the first so many problems.")]
BackendName = Annotated[str, typer.Option("--backend", help="transformers, vllm or endpoint.")]
BaseUrl = Annotated[str | None, typer.Option(help="Of an OpenAI-compatible endpoint; implies --backend endpoint.")]
KeyEnv = Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")]
Concurrency = Annotated[int, typer.Option(help="Requests to the endpoint under way at once.")]
Retries = Annotated[int, typer.Option(help="Further tries of a request that fails in passing.")]
RequestTimeout = Annotated[float, typer.Option(help="Seconds for one try, to the last byte.")]
ExtraBody = Annotated[str | None, typer.Option(help="JSON object added to each request to the endpoint.")]
Omit = Annotated[list[str] | None, typer.Option(help="Request field the endpoint refuses, such as seed; repeatable.")]
Stream = Annotated[bool, typer.Option("--stream", help="Take replies in pieces; keeps slow connections open.")]
TemplateKwargs = Annotated[
    str | None, typer.Option(help="JSON for the chat template, such as '{\"enable_thinking\": false}', as in training.")
]
BatchSize = Annotated[int | None, typer.Option(help="Responses generated at once. Default: 64, vLLM 512.")]
Dtype = Annotated[str, typer.Option(help="auto: as saved, but float32 on a CPU.")]
Device = Annotated[str | None, typer.Option(help="For transformers. Default: cuda where there is one.")]
Revision = Annotated[str | None, typer.Option(help="Of a model on the hub.")]
Parallel = Annotated[int, typer.Option("--tensor-parallel", help="GPUs for vLLM.")]
MaxLen = Annotated[int | None, typer.Option("--max-model-len", help="Context of vLLM.")]


@app.command(epilog="sgpo eval diff A B compares two runs. The settings that --out holds must be kept to resume it.")
def run(
    model: Model,
    benchmark: Names = None,
    data: Data = None,
    out: Out = Path("runs/eval"),
    preset: Preset = None,
    k: K = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_new_tokens: MaxTokens = None,
    seed: Seed = 0,
    template: TemplateName = None,
    guided: Guided = False,
    strategies: Strategies = None,
    guided_template: GuidedTemplate = None,
    grader: GraderName = None,
    verify_timeout: VerifyTimeout = 2.0,
    require_box: RequireBox = False,
    allow_bad_golds: AllowBad = False,
    limit: Limit = None,
    backend: BackendName = "transformers",
    base_url: BaseUrl = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 16,
    retries: Retries = 5,
    request_timeout: RequestTimeout = 3600.0,
    extra_body: ExtraBody = None,
    omit: Omit = None,
    stream: Stream = False,
    chat_template_kwargs: TemplateKwargs = None,
    batch_size: BatchSize = None,
    dtype: Dtype = "auto",
    device: Device = None,
    revision: Revision = None,
    tensor_parallel: Parallel = 1,
    max_model_len: MaxLen = None,
) -> None:
    """Evaluate a model on benchmarks; every response, verdict and setting is saved, and the run can be resumed."""
    given = {name: value for name, value in locals().items() if name not in ("model", "benchmark", "out")}
    from sgpo.commands import _evaluate as work
    from sgpo.evaluation.options import EvalOptions

    options = EvalOptions(**given)
    jobs = [options.job(name) for name in work.names(benchmark, data)]
    for plan, grade in jobs:  # every plan is good before a model is loaded
        plan.check(grade)
    engine = options.open(model, jobs[0][0].sampling)
    results = {}
    for plan, grade in jobs:
        engine.sampling = plan.sampling
        folder = out if len(jobs) == 1 else out / plan.benchmark
        results[plan.benchmark] = work.run_with_bar(plan, model, engine, grade, folder)
    work.print_results(results)
    typer.echo(f"written: {out}")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    b: Annotated[Path, typer.Argument(help="Folder of another one; the difference is B minus A.")],
    common: Annotated[bool, typer.Option("--common", help="Compare the problems that both have.")] = False,
    show: Annotated[int, typer.Option(help="Flipped problems to print, of each kind.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Paired difference of two evaluations with its interval, and the problems that flipped."""
    from sgpo.commands._evaluate import print_diff
    from sgpo.evaluation.diff import compare

    found = compare(a, b, common=common)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        print_diff(found, show)
