"""``sgpo strategies ...``: from a strong model's responses to a data set with strategies."""

from pathlib import Path
from typing import Annotated

import typer

from sgpo.commands.strategies_check import check
from sgpo.commands.strategies_lift import library, lift

app = typer.Typer(help="Extract, rank, check, audit, measure and export strategies.", no_args_is_help=True)
app.command()(check)

StoreFile = Annotated[Path, typer.Option("--store", help="The SQLite file; run again with it to go on.")]
Model = Annotated[
    str, typer.Option("--model", "-m", envvar="OPENAI_MODEL", help="Name the endpoint serves; else a folder or hub id.")
]
BackendName = Annotated[str, typer.Option("--backend", help="endpoint, transformers or vllm.")]
BaseUrl = Annotated[
    str | None, typer.Option(envvar="OPENAI_BASE_URL", help="Of an OpenAI-compatible endpoint, with /v1.")
]
KeyEnv = Annotated[str, typer.Option("--api-key-env", help="Environment variable that holds the key.")]
PromptFile = Annotated[Path | None, typer.Option("--prompt", help="A prompt in place of the packaged one.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]
TopP = Annotated[float, typer.Option(help="Nucleus.")]
MaxTokens = Annotated[int, typer.Option(help="Of one reply; give thinking models more.")]
Seed = Annotated[int, typer.Option(help="Names the random streams.")]
Limit = Annotated[int | None, typer.Option(help="Only so many problems.")]
Concurrency = Annotated[int, typer.Option(help="Requests under way at once.")]
Retries = Annotated[int, typer.Option(help="Further tries of a request that fails in passing.")]
Timeout = Annotated[float, typer.Option(help="Seconds for one try, to the last byte.")]
MaxTotal = Annotated[int | None, typer.Option("--max-tokens-total", help="Stop before so many tokens, all runs.")]
MaxCost = Annotated[float | None, typer.Option(help="Stop before this cost, all runs; needs both prices.")]
PriceIn = Annotated[float | None, typer.Option(help="Of a million prompt tokens.")]
PriceOut = Annotated[float | None, typer.Option(help="Of a million reply tokens.")]
GiveUp = Annotated[int, typer.Option("--give-up-after", help="Stop when so many first calls are all of no use.")]
RetryUnreadable = Annotated[
    bool, typer.Option("--retry-unreadable", help="Ask once more where no reply could be read; says the cost first.")
]
NoSchema = Annotated[bool, typer.Option("--no-json-schema", help="Do not ask for structured output.")]
Stream = Annotated[bool, typer.Option("--stream", help="Take replies in pieces; keeps slow connections open.")]
ExtraBody = Annotated[str | None, typer.Option(help="JSON object added to each request; kept in the store.")]
Omit = Annotated[list[str] | None, typer.Option(help="Request field the endpoint refuses, such as seed; repeatable.")]
TemplateKwargs = Annotated[
    str | None, typer.Option(help="JSON for the chat template, such as '{\"enable_thinking\": false}', as in training.")
]
BatchSize = Annotated[int | None, typer.Option(help="Replies a local model makes at once. Default: 8, vLLM 256.")]
Device = Annotated[str | None, typer.Option(help="For transformers. Default: cuda where there is one.")]
Dtype = Annotated[str, typer.Option(help="Of a local model. auto: as saved, but float32 on a CPU.")]
Revision = Annotated[str | None, typer.Option(help="Of a local model on the hub.")]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command(epilog="Key, base URL and model come from OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL if not given.")
def extract(
    source: Annotated[str, typer.Argument(help="Problems with responses: parquet, JSONL or CSV, or a hub id.")],
    model: Model,
    store: StoreFile = Path("strategies.db"),
    columns: Annotated[str | None, typer.Option(help="problem=..,answer=..,response=..,id=.. (a dot nests).")] = None,
    split: Annotated[str, typer.Option(help="Of a hub data set.")] = "train",
    keep_thinking: Annotated[
        bool, typer.Option("--keep-thinking", help="Show the model the thinking part too.")
    ] = False,
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates for each problem.")] = 5,
    limit: Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate calls, tokens, cost and time; ask nothing.")
    ] = False,
    prompt: PromptFile = None,
    temperature: Temperature = 1.0,
    top_p: TopP = 0.95,
    max_tokens: MaxTokens = 4096,
    seed: Seed = 0,
    max_tokens_total: MaxTotal = None,
    max_cost: MaxCost = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    backend: BackendName = "endpoint",
    base_url: BaseUrl = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 16,
    retries: Retries = 8,
    timeout: Timeout = 600.0,
    give_up_after: GiveUp = 20,
    retry_unreadable: RetryUnreadable = False,
    no_json_schema: NoSchema = False,
    stream: Stream = False,
    extra_body: ExtraBody = None,
    omit: Omit = None,
    chat_template_kwargs: TemplateKwargs = None,
    batch_size: BatchSize = None,
    device: Device = None,
    dtype: Dtype = "auto",
    revision: Revision = None,
) -> None:
    """Candidate strategies from each verified response. Stop it at will; answered calls are never asked again."""
    given = dict(locals())
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.estimate(given) if dry_run else work.extract(given))


@app.command()
def rank(
    model: Model,
    store: StoreFile = Path("strategies.db"),
    repeats: Annotated[int, typer.Option(help="Scorings of each problem; from 2 on their agreement is reported.")] = 1,
    limit: Limit = None,
    prompt: PromptFile = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 4096,
    seed: Seed = 0,
    max_tokens_total: MaxTotal = None,
    max_cost: MaxCost = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    backend: BackendName = "endpoint",
    base_url: BaseUrl = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 16,
    retries: Retries = 8,
    timeout: Timeout = 600.0,
    give_up_after: GiveUp = 20,
    retry_unreadable: RetryUnreadable = False,
    no_json_schema: NoSchema = False,
    stream: Stream = False,
    extra_body: ExtraBody = None,
    omit: Omit = None,
    chat_template_kwargs: TemplateKwargs = None,
    batch_size: BatchSize = None,
    device: Device = None,
    dtype: Dtype = "auto",
    revision: Revision = None,
) -> None:
    """Score the candidates of each problem on four criteria and keep one."""
    given = dict(locals())
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.rank(given))


@app.command()
def audit(
    model: Model,
    store: StoreFile = Path("strategies.db"),
    n: Annotated[int, typer.Option("--n", "-n", help="Replies for each candidate.")] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls, tokens and cost; ask nothing.")] = False,
    likelihood: Annotated[
        bool,
        typer.Option("--likelihood", help="Of a local model: how likely it finds the answer, in place of replies."),
    ] = False,
    limit: Limit = None,
    prompt: PromptFile = None,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 1024,
    seed: Seed = 0,
    max_tokens_total: MaxTotal = None,
    max_cost: MaxCost = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    backend: BackendName = "endpoint",
    base_url: BaseUrl = None,
    api_key_env: KeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 16,
    retries: Retries = 8,
    timeout: Timeout = 600.0,
    give_up_after: GiveUp = 20,
    retry_unreadable: RetryUnreadable = False,
    no_json_schema: NoSchema = False,
    stream: Stream = False,
    extra_body: ExtraBody = None,
    omit: Omit = None,
    chat_template_kwargs: TemplateKwargs = None,
    batch_size: BatchSize = None,
    device: Device = None,
    dtype: Dtype = "auto",
    revision: Revision = None,
) -> None:
    """How often the answer is told from each strategy alone, without its problem, beside chance."""
    given = dict(locals())
    from sgpo.commands import _strategies_audit as work

    raise typer.Exit(work.audit(given))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A .parquet or .jsonl file, for sgpo train --dataset_name.")],
    store: StoreFile = Path("strategies.db"),
    template: Annotated[str, typer.Option(help="Of the prompt column: as for sgpo eval.")] = "instruct",
    no_check: Annotated[bool, typer.Option("--no-check", help="Keep strategies that give the answer away.")] = False,
    keep_bare: Annotated[bool, typer.Option("--keep-bare", help="Keep problems that have no strategy.")] = False,
    expert: Annotated[bool, typer.Option("--expert", help="Add the strong model's response: sft, luffy, hpt.")] = False,
    by: Annotated[str, typer.Option("--by", help="Which order counts: rank, or lift where it was measured.")] = "rank",
    max_blind_rate: Annotated[
        float | None, typer.Option(help="Leave out strategies from which audit told the answer more often: 0 to 1.")
    ] = None,
    min_instance_free: Annotated[
        float | None, typer.Option(help="Leave out strategies that rank scored lower on instance_free: 1 to 5.")
    ] = None,
    push_to_hub: Annotated[str | None, typer.Option(help="Also push to this hub id, private.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Push it for all to see.")] = False,
) -> None:
    """The best strategy of each problem that the leak check passes: prompt, strategy, answer, and where it is from."""
    from sgpo.commands import _strategies as work

    options = {"check": not no_check, "keep_bare": keep_bare, "expert": expert, "by": by}
    options |= {"max_blind_rate": max_blind_rate, "min_instance_free": min_instance_free}
    work.export(store, out, template, repo=push_to_hub, public=public, **options)


@app.command()
def show(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of problems. Default: the first ones.")] = None,
    store: StoreFile = Path("strategies.db"),
    limit: Annotated[int, typer.Option(help="Problems to print where no ids are given.")] = 3,
) -> None:
    """Problems with their candidates, scores and verdicts."""
    from sgpo.commands import _strategies_view as view

    view.show(store, ids or [], limit)


@app.command()
def stats(store: StoreFile = Path("strategies.db"), as_json: Json = False) -> None:
    """Rows, calls by outcome, tokens, candidates, verdicts."""
    from sgpo.commands import _strategies_view as view

    view.stats(store, as_json)


app.command()(lift)
app.command()(library)
