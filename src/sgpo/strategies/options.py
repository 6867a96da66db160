"""What the commands of ``sgpo strategies`` can be told; imports nothing heavy."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sgpo.models import Model, ModelOptions, Sampling, open_model
from sgpo.models.options import LocalOptions
from sgpo.options import group, like, option
from sgpo.strategies.budget import SpendingOptions

FORMATS = (".parquet", ".jsonl")  # of an exported data set
ORDERS = ("rank", "lift")  # of a problem's candidates
_BATCHES = {"vllm": 256}  # replies at once; other local models: 8
_TEMPLATES = "How a problem becomes a prompt: instruct, qwen, luffy, plain, raw, or a file with {problem}."


def _columns(third: str, example: str) -> Any:
    """The option that names the columns of a source."""
    said = f"the fields are problem, answer, {third} and id, and a dot goes into a nested column"
    return option(
        None,
        help=f"Columns of the source, such as problem=question,{example}; {said}. Default: found by their usual names.",
    )


def _must_differ(n: int, temperature: float) -> None:
    """Raise ValueError where n replies to one prompt would be one reply, paid for n times."""
    if n > 1 and temperature == 0:
        raise ValueError(
            f"--n {n} replies at temperature 0 would all be the same; give --n 1, or a temperature over 0."
        )


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """The store that a command reads or writes."""

    store: Path = option(
        Path("strategies.db"), help="SQLite file that keeps problems, calls and candidates; run again with it to go on."
    )


@dataclass(frozen=True, kw_only=True)
class AskedModelOptions(ModelOptions):
    """How the model that extracts, ranks or audits is reached."""

    backend: str = like(
        ModelOptions, "backend", default="endpoint", help="How the model is reached: endpoint, transformers or vllm."
    )
    base_url: str | None = like(ModelOptions, "base_url", envvar="OPENAI_BASE_URL")
    retries: int = like(ModelOptions, "retries", default=8)
    timeout: float = like(ModelOptions, "timeout", default=600.0)
    json_schema: bool = option(
        True,
        flags=("--no-json-schema",),
        negated=True,
        help="Do not ask the endpoint for output that keeps to a schema.",
    )
    extra_body: dict[str, object] = like(
        ModelOptions, "extra_body", help="JSON object that is added to each request and kept in the store."
    )
    batch_size: int | None = like(
        ModelOptions, "batch_size", help="Replies that a local model generates at once. Default: 8, with vLLM 256."
    )
    # What the commands do not offer.
    tensor_parallel: int = 1
    max_model_len: int | None = None

    @property
    def calls_at_once(self) -> int:
        """Calls that are under way at once."""
        return self.concurrency if self.backend == "endpoint" else self.batch_size or _BATCHES.get(self.backend, 8)


@dataclass(frozen=True, kw_only=True)
class AskOptions(StoreOptions):
    """What the commands that ask a model have in common."""

    model: str = option(
        "",
        flags=("--model", "-m"),
        envvar="OPENAI_MODEL",
        help="Name under which the endpoint serves the model; for other backends a folder or hub id. "
        "Needed wherever something is asked.",
    )
    limit: int | None = option(None, help="Take only the first so many problems. Default: all of them.")
    prompt: Path | None = option(None, help="File with a prompt to use in place of the packaged one.")
    temperature: float = option(1.0, help="Sampling temperature, 0 to 2; 0 takes the likeliest token.")
    top_p: float = option(1.0, help="Share of the probability, over 0 and up to 1, that sampling keeps.")
    max_tokens: int = option(4096, help="Most tokens of one reply; models that think need more.")
    seed: int = option(0, help="Number from which each call's own random stream is made.")
    spending: SpendingOptions = group(SpendingOptions())
    access: AskedModelOptions = group(AskedModelOptions())
    give_up_after: int = option(20, help="Stop when the first so many calls of a run all come to nothing.")
    retry_unreadable: bool = option(
        False, help="Ask once more where a reply could not be read; says first what that will cost."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}, max_tokens {self.max_tokens}: temperature must "
                "be from 0 to 2, top_p over 0 and at most 1, max_tokens at least 1."
            )

    def needed_model(self) -> str:
        """The model's name. Raises ValueError where none is given: only a dry run goes without one."""
        if not self.model:
            raise ValueError("--model is missing: give the name of the model to ask, or set OPENAI_MODEL.")
        return self.model

    def open(self) -> Model:
        """The way to the model, loaded. Raises as `sgpo.models.open_model`."""
        size = self.access.batch_size
        access = replace(self.access, batch_size=_BATCHES.get(self.access.backend, 8) if size is None else size)
        return open_model(self.needed_model(), Sampling(self.temperature, self.top_p, self.max_tokens), access)


@dataclass(frozen=True, kw_only=True)
class ImportOptions(StoreOptions):
    """The options of ``sgpo strategies import``."""

    source: str = option(
        argument=True,
        help="Problems with strategies of your own: a parquet, JSONL or CSV file, or a hub id. A strategy is text, or "
        "an object with problem_type, strategy and steps; a problem may have several rows.",
    )
    columns: str | None = _columns("strategy", "strategy=hint")
    split: str = option("train", help="Split to read of a data set on the hub.")


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(AskOptions):
    """The options of ``sgpo strategies extract``."""

    source: str = option(
        argument=True,
        help="Problems with responses of a strong model: a parquet, JSONL or CSV file, or a hub id. A folder of sgpo "
        "eval: the right responses of the model that it evaluated.",
    )
    columns: str | None = _columns("response", "answer=gold")
    split: str = like(ImportOptions, "split")
    keep_thinking: bool = option(False, help="Show the model the thinking part of the response too.")
    n: int = option(5, flags=("--n", "-n"), help="Number of candidate strategies for each problem.")
    dry_run: bool = option(False, help="Estimate calls, tokens, cost and time; ask nothing.")
    top_p: float = like(AskOptions, "top_p", default=0.95)

    def __post_init__(self) -> None:
        super().__post_init__()
        _must_differ(self.n, self.temperature)


@dataclass(frozen=True, kw_only=True)
class RankOptions(AskOptions):
    """The options of ``sgpo strategies rank``."""

    repeats: int = option(
        1, help="How often each problem's candidates are scored; from 2 on the agreement is reported."
    )
    singles: bool = option(
        False, help="Score the only candidate of a problem, too, as export --min-instance-free needs it."
    )
    temperature: float = like(AskOptions, "temperature", default=0.0)


@dataclass(frozen=True, kw_only=True)
class AuditOptions(AskOptions):
    """The options of ``sgpo strategies audit``."""

    n: int = option(8, flags=("--n", "-n"), help="Number of replies for each candidate.")
    dry_run: bool = option(False, help="Say calls, tokens and cost; ask nothing.")
    likelihood: bool = option(
        False, help="Measure how likely a local model finds the answer, in place of asking for replies."
    )
    max_tokens: int = like(AskOptions, "max_tokens", default=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.likelihood:
            _must_differ(self.n, self.temperature)
        if self.likelihood and self.access.backend != "transformers":
            raise ValueError("--likelihood needs the model in this process: add --backend transformers.")


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a strategy must pass to be exported, beside the leak check; None: no gate."""

    max_blind_rate: float | None = option(
        None,
        help="Leave out strategies from which audit told the answer in more than this share of replies, 0 to 1. "
        "Default: no limit.",
    )
    min_instance_free: float | None = option(
        None,
        help="Leave out strategies that rank scored below this, 1 to 5, on instance_free (no detail of the instance). "
        "Default: no limit.",
    )

    def __post_init__(self) -> None:
        if self.max_blind_rate is not None and not 0 <= self.max_blind_rate <= 1:
            raise ValueError(f"--max-blind-rate {self.max_blind_rate} is a share of answers; give 0 to 1.")
        if self.min_instance_free is not None and not 1 <= self.min_instance_free <= 5:
            raise ValueError(f"--min-instance-free {self.min_instance_free} is a score; give 1 to 5.")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(StoreOptions):
    """The options of ``sgpo strategies export``."""

    out: Path = option(argument=True, help="File to write, .parquet or .jsonl, for sgpo train --dataset_name.")
    template: str = option("instruct", help=_TEMPLATES)
    check: bool = option(
        True, flags=("--no-check",), negated=True, help="Keep strategies that give the answer away, too."
    )
    keep_bare: bool = option(False, help="Keep problems that have no strategy; they train by GRPO alone.")
    expert: bool = option(
        False, help="Add the strong model's response as the column expert, on which sft, luffy and hpt train."
    )
    by: str = option("rank", help="Which order of the candidates counts: rank, or lift where it was measured.")
    gates: Gates = group(Gates())
    push_to_hub: str | None = option(
        None, help="Push the data set to this id on the hub as well; private without --public."
    )
    public: bool = option(False, help="Make the pushed data set public.")

    def __post_init__(self) -> None:
        if self.out.suffix not in FORMATS:
            raise ValueError(f"--out {self.out} must end in {' or '.join(FORMATS)}.")
        if self.by not in ORDERS:
            raise ValueError(f"--by {self.by!r} must be one of {', '.join(ORDERS)}.")
        if self.push_to_hub is not None and self.push_to_hub.count("/") > 1:
            raise ValueError(f"--push-to-hub {self.push_to_hub} must be an id such as name/data-set.")


@dataclass(frozen=True, kw_only=True)
class LiftOptions(StoreOptions):
    """The options of ``sgpo strategies lift``."""

    student: str = option(
        flags=("--student", "-m"), help="Model that is to be trained: the folder of a model or adapter, or a hub id."
    )
    first: int = option(4, help="Samples of each candidate in the first round.")
    rounds: int = option(3, help="Number of rounds; each keeps the better half and doubles its samples.")
    limit: int | None = like(AskOptions, "limit")
    check: bool = like(ExportOptions, "check", help="Measure strategies that give the answer away, too.")
    grader: str = option("verify", help="What judges the samples: verify, or lab for models of the embedded task.")
    template: str | None = option(None, help=f"{_TEMPLATES} Default: instruct.")
    guided_template: str | None = option(
        None,
        help="Text, or a file, with {prompt} and {strategy}, that makes a guided prompt. Default: that of training.",
    )
    temperature: float = option(1.0, help="Sampling temperature, over 0 because samples have to differ.")
    top_p: float = like(AskOptions, "top_p")
    max_new_tokens: int | None = option(
        None,
        help="Most tokens of one completion. Default: half of the student's context, at most 32,768; on the lab 40.",
    )
    seed: int = option(0, help="Number from which each sample's own random stream is made.")
    access: LocalOptions = group(LocalOptions())
    verify_timeout: float = option(2.0, help="Seconds that the verifier may take for one response.")


@dataclass(frozen=True, kw_only=True)
class LibraryOptions(StoreOptions):
    """The options of ``sgpo strategies library``."""

    by: str = option("rank", help="Which candidate of a problem counts: the best by rank or by lift.")
    threshold: float = option(0.8, help="Likeness, 0 to 1, from which two strategies are taken to say the same.")
    embedding: str | None = option(
        None, help="Model of sentence-transformers that likeness is measured with. Default: counts of words."
    )
    problems: Path | None = option(
        None,
        help="File with problem and answer (.jsonl, .json, .parquet or .csv), whose problems get strategies; needs "
        "--out.",
    )
    out: Path | None = option(None, help="JSONL file to write these problems to, each with its strategy.")
    template: str | None = like(LiftOptions, "template")
    neighbours: int = option(5, help="Number of similar problems that vote on the strategy of a new one.")
    floor: float = option(0.1, help="Likeness, 0 to 1, below which a problem gets no strategy.")
    top: int = option(20, help="Most strategies to print.")
    as_json: bool = option(False, flags=("--json",), help="Print all strategies as one JSON object.")


@dataclass(frozen=True, kw_only=True)
class ShowOptions(StoreOptions):
    """The options of ``sgpo strategies show``."""

    ids: tuple[str, ...] = option((), argument=True, help="Ids of the problems to print. Default: the first ones.")
    limit: int = option(3, help="Number of problems to print where no ids are given.")


@dataclass(frozen=True, kw_only=True)
class StatsOptions(StoreOptions):
    """The options of ``sgpo strategies stats``."""

    as_json: bool = option(False, flags=("--json",), help="Print the numbers as one JSON object.")
