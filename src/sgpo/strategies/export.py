"""One strategy for each problem, as a data set that `sgpo.trainer.SGPOTrainer` takes.

Of a problem's candidates the best-ranked one is taken that the leak check passes, or the one of the greatest measured
lift (`sgpo.strategies.lift`) unless it hurts; the check runs here on those that have no verdict yet, and its verdicts
are noted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from sgpo.data.leaks import contains_answer
from sgpo.data.prompts import Prompt
from sgpo.data.tables import check_replaces
from sgpo.rewards.golds import gold_text
from sgpo.runs.files import JsonObject, json_line, writing
from sgpo.runs.words import first_line
from sgpo.strategies.check import RULES, check_strategy
from sgpo.strategies.columns import SourceColumns, prompt_of
from sgpo.strategies.options import ExportOptions, Gates
from sgpo.strategies.records import Candidate, Problem
from sgpo.strategies.store import Store

# What to do about a problem without a usable candidate, by the reason that `choose` gives.
REMEDIES = {
    "no_candidate": "no_candidate: run sgpo strategies extract.",
    "none_helps": "none_helps: sgpo strategies lift measured that they hurt; --by rank takes them all the same.",
    "all_leak": "all_leak: each candidate leaks, as sgpo strategies show says, or an option leaves it out.",
    "not_measured": "not_measured: a strategy passes the rules, and lacks what a gate asks for. Run sgpo strategies "
    "rank --singles for --min-instance-free, audit for --max-blind-rate.",
}
_PORTION = 500


def in_order(candidates: list[Candidate], by: str = "rank") -> list[Candidate]:
    """Best first: by the place that ``by`` ("rank" or "lift") gave, then by the rank's, then by number."""
    last = len(candidates) + 1

    def places(c: Candidate) -> tuple[int, ...]:
        return tuple(c.notes.get(name, {}).get("place", last) for name in (by, "rank"))

    return sorted(candidates, key=lambda c: (*places(c), c.number, c.id))


def leaks(store: Store, problem: Problem, candidate: Candidate) -> bool:
    """The leak check's verdict, from the notes (of these rules) or made now and noted; or the trainer's quick guard."""
    noted = candidate.notes.get("check")
    if noted is None or noted.get("rules") != RULES:
        strategy = candidate.strategy.model_dump()
        verdict = check_strategy(problem.problem, problem.answer, problem.response, strategy)
        noted = {"leak": verdict.leak, "kind": verdict.kind, "reason": verdict.reason, "rules": RULES}
        store.note([(candidate.id, "check", noted)], free=True)
    return bool(noted["leak"]) or contains_answer(candidate.strategy.text(), gold_text(problem.answer))


def _passes(gates: Gates, candidate: Candidate) -> bool | None:
    """Whether a candidate passes all gates; None where one was not measured for it."""
    rate = candidate.notes.get("audit", {}).get("rate")
    score = candidate.notes.get("rank", {}).get("scores", {}).get("instance_free")
    passes: list[bool | None] = []
    if (most := gates.max_blind_rate) is not None:
        passes.append(None if rate is None else rate <= most)
    if (least := gates.min_instance_free) is not None:
        passes.append(None if score is None else score >= least)
    return False if False in passes else None if None in passes else True


def _require_measured(gates: Gates, store: Store) -> None:
    """Raise ValueError where a gate was measured for no candidate at all."""
    for wanted, name, option, command in (
        (gates.max_blind_rate, "$.rate", "--max-blind-rate", "audit"),
        (gates.min_instance_free, "$.scores.instance_free", "--min-instance-free", "rank"),
    ):
        query = "SELECT count(*) FROM notes WHERE name = ? AND json_extract(value, ?) IS NOT NULL"
        if wanted is not None and not store.rows(query, command, name)[0][0]:
            raise ValueError(f"{option} needs what sgpo strategies {command} measures; run it on {store.path} first.")


def choose(
    store: Store, problem: Problem, *, check: bool = True, by: str = "rank", gates: Gates | None = None
) -> tuple[Candidate | None, str]:
    """The candidate of a problem, and "ok" or why there is none.

    The reasons are "no_candidate", "none_helps", "all_leak" and "not_measured": a gate was not measured for one that
    no other gate leaves out. By lift, candidates with a lift below 0 are dropped, and those without a lift come last.
    """
    gates = gates or Gates()
    candidates = in_order(store.candidates(problem.id), by)
    clean = [c for c in candidates if by != "lift" or not c.notes.get("lift", {}).get("dropped")]
    unmeasured = False
    for candidate in clean:
        passes = _passes(gates, candidate)
        if passes is not False and not (check and leaks(store, problem, candidate)):
            if passes:
                return candidate, "ok"
            unmeasured = True
    if unmeasured:
        return None, "not_measured"
    if len(clean) < len(candidates):
        return None, "none_helps"
    return None, "all_leak" if candidates else "no_candidate"


def why_none(counts: Counter[str]) -> str:
    """What the problems of a store without a usable candidate came to, as `choose` says it, and what mends each."""
    if not counts:
        return f"the store is empty. {REMEDIES['no_candidate']}"
    shown = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
    return " ".join([f"{shown}.", *(REMEDIES[kind] for kind, _ in counts.most_common())])


def export(
    store: Store,
    options: ExportOptions,
    make_prompt: Callable[[str], Prompt],
    report: Callable[[int], None] = lambda done: None,
) -> Counter[str]:
    """Write the data set; the file stands under its name only when it is whole.

    Columns: prompt, strategy, answer; id, problem_type, model, prompt_version, candidate, score, candidate_id; lift and
    expert where they are asked for; and the source's other columns (`sgpo.strategies.columns`).

    Args:
        make_prompt: a problem's text to the prompt a trainer gives.
        report: called with the problems done.

    Returns:
        Problems by what they came to, as `choose` says it.

    Raises:
        ValueError: a gate was not measured, nothing is left to write, or the file holds other data.
    """
    _require_measured(options.gates, store)
    check_replaces(options.out, "candidate_id")
    counts: Counter[str] = Counter()
    columns = SourceColumns(store.problems())

    def rows() -> Iterator[JsonObject]:
        for done, problem in enumerate(store.problems(), 1):
            chosen, kind = choose(store, problem, check=options.check, by=options.by, gates=options.gates)
            counts[kind] += 1
            report(done)
            if chosen is not None or options.keep_bare:
                row = _row(problem, chosen, prompt_of(problem, make_prompt))
                if options.by == "lift":
                    notes = {} if chosen is None else chosen.notes
                    row["lift"] = notes.get("lift", {}).get("lift")
                if options.expert:
                    row["expert"] = problem.response or None  # imported strategies have none
                yield row | columns.row(problem)

    options.out.parent.mkdir(parents=True, exist_ok=True)
    with writing(options.out) as file:
        if options.out.suffix == ".jsonl":
            file.writelines(json_line(row, ascii_only=False) for row in rows())
        else:
            _write_parquet(file, rows(), columns)
        if not counts["ok"] and not (options.keep_bare and counts):
            raise ValueError(f"Nothing to export: {why_none(counts)}")
    return counts


def push(out: Path, repo: str, *, public: bool = False) -> None:
    """Put an exported file on the hub, private unless said otherwise. Raises ValueError where that fails."""
    from datasets import Dataset

    from sgpo.data.text_datasets import text_dataset

    try:
        data = Dataset.from_parquet(str(out)) if out.suffix == ".parquet" else text_dataset({"train": [out]}, "train")
        data.push_to_hub(repo, private=not public)
    except Exception as error:  # the hub's client raises families of its own and of its transport
        raise ValueError(
            f"{out} is written, but could not be pushed to {repo!r} ({first_line(error)}). Log in with "
            "`hf auth login`, and give an id such as name/data-set."
        ) from error


def _row(problem: Problem, chosen: Candidate | None, prompt: Prompt) -> JsonObject:
    row: JsonObject = {"prompt": prompt, "strategy": None, "answer": problem.answer, "id": problem.id}
    if chosen is None:
        return row | dict.fromkeys(("problem_type", "model", "prompt_version", "candidate", "score", "candidate_id"))
    version = f"{chosen.prompt}@{chosen.prompt_sha256[:12]}".rstrip("@")
    row |= {"strategy": chosen.strategy.text(), "problem_type": chosen.strategy.problem_type}
    row |= {"model": chosen.model, "prompt_version": version, "candidate": chosen.number}
    return row | {"score": chosen.notes.get("rank", {}).get("score"), "candidate_id": chosen.id}


def _write_parquet(file: IO[bytes], rows: Iterator[JsonObject], columns: SourceColumns) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    writer = None
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {columns.names[name]: kind for name, kind in columns.types.items()}
    kinds |= {"candidate": pa.int64(), "score": pa.float64(), "lift": pa.float64()}
    try:
        while portion := list(islice(rows, _PORTION)):
            if writer is None:
                # One template makes all prompts, so that the first one tells the type of all.
                kinds["prompt"] = pa.string() if isinstance(portion[0]["prompt"], str) else pa.list_(message)
                schema = pa.schema([(name, kinds.get(name, pa.string())) for name in portion[0]])
                writer = parquet.ParquetWriter(file, schema)
            writer.write_table(pa.Table.from_pylist(portion, schema=schema))
    finally:
        if writer is not None:
            writer.close()
