"""Evaluation problems: from a JSONL file, or one of six benchmarks from the hub at a pinned revision.

Everything that is wrong with a file is said when it is loaded, before a model is. The rules of OlympiadBench (several
answers, tolerance, unit) come from its ``*.meta.jsonl``, which lies beside the file, or from the rows themselves.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgpo.data.messages import Messages, as_messages, as_written, has_tools, problem_text
from sgpo.data.tables import gold_texts, read_table, table_name
from sgpo.runs.files import ReadError
from sgpo.runs.words import first_line, nearest

PROBLEM_FIELDS = ("problem", "prompt", "question")
ANSWER_FIELDS = ("answer", "solution", "ground_truth", "gold")
GROUP_FIELDS = ("family", "subject", "subfield")
_SHOWN = 5
_PARQUET = "test-00000-of-00001.parquet"
_TRAIN = "data/train-00000-of-00001.parquet"
_OE = "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"


class BenchmarkError(ReadError):
    """A benchmark that cannot be used as it is; the message says where, why and what to do."""


@dataclass(frozen=True)
class BenchmarkProblem:
    """One problem of a benchmark, with its gold answer.

    Attributes:
        id: unique in its benchmark.
        problem: the text; of a prompt that is messages, the user's.
        answer: the gold, text or a list of texts that are all required.
        group: the name under which it is reported apart (family, subject or subfield), if any.
        strategy: the text for a guided evaluation, if any.
        tolerance: numbers within this absolute distance of the gold are correct.
        unit: of the answer, which a response may state or leave out.
        multiple: several answers are required, in any order.
        prompt: the whole prompt, where the data hold it as messages; no template is put around it.
    """

    id: str
    problem: str
    answer: str | list[str]
    group: str | None = None
    strategy: str | None = None
    tolerance: float | None = None
    unit: str | None = None
    multiple: bool = False
    prompt: Messages | None = None

    def content(self) -> dict[str, Any]:
        """The fields by whose digest a run is known again; without the prompt of messages where there is none.

        Digests of runs that are saved must stay: a field that is added later belongs here where it is given alone.
        """
        fields = asdict(self)
        if self.prompt is None:
            del fields["prompt"]
        return fields


@dataclass(frozen=True)
class HubBenchmark:
    """Where a benchmark lies on the hub, and the k of its protocol (arXiv 2606.24064: 4 or 32).

    Attributes:
        repo, revision, file: a data set repository, a commit of it, and a JSONL or parquet file in it.
        rows: problems in that file.
        k: samples of each problem.
        convert: a row of the file to the fields that a local file has.
    """

    name: str
    repo: str
    revision: str
    file: str
    rows: int
    k: int
    convert: Callable[[Mapping[str, Any]], dict[str, object]]


def _math500(row: Mapping[str, Any]) -> dict[str, object]:
    return {name: row.get(name) for name in ("problem", "answer", "subject")} | {"id": row.get("unique_id")}


def _competition(row: Mapping[str, Any]) -> dict[str, object]:
    """AMC and AIME: the answers are whole numbers, stored as 27.0 or 033 in places."""
    answer = row.get("answer")
    try:
        number = float(answer)  # type: ignore[arg-type]
        answer = str(int(number)) if number == int(number) else answer
    except (TypeError, ValueError, OverflowError):
        pass
    return {"id": row.get("id"), "problem": row.get("problem", row.get("question")), "answer": answer}


def _gsm8k(row: Mapping[str, Any]) -> dict[str, object]:
    final = str(row.get("answer")).rpartition("####")[2]
    return {"problem": row.get("question"), "answer": final.strip().replace(",", "")}


def _olympiadbench(row: Mapping[str, Any]) -> dict[str, object]:
    fields = {name: row.get(name) for name in ("id", "subfield", "unit", "error", "is_multiple_answer")}
    answers = row.get("final_answer")
    several = isinstance(answers, Sequence) and not isinstance(answers, str)
    return {**fields, "problem": row.get("question"), "answer": list(answers) if several and answers else answers}


_HUB = (
    # name, repository, revision, file, rows, k, convert
    ("math500", "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test.jsonl", 500, 4, _math500),
    ("amc23", "math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", _PARQUET, 40, 32, _competition),
    ("olympiadbench", "Hothan/OlympiadBench", "91184b52131e7fc9455fef848035173aea8cc01a", _OE, 674, 4, _olympiadbench),
    ("aime24", "HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", _TRAIN, 30, 32, _competition),
    ("aime25", "math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", "test.jsonl", 30, 32, _competition),
    ("gsm8k", "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "main/" + _PARQUET, 1319, 4, _gsm8k),
)
HUB: dict[str, HubBenchmark] = {spec[0]: HubBenchmark(*spec) for spec in _HUB}


def load_hub(name: str) -> list[BenchmarkProblem]:
    """A benchmark from the hub, at its pinned revision.

    Raises BenchmarkError for an unknown name, a hub out of reach, and a file that is not what the revision held.
    """
    if name not in HUB:
        known = f"choose from {', '.join(HUB)}, lab, or give --data PATH"
        raise BenchmarkError(f"benchmark {name!r} is unknown{nearest(name, HUB, 1)}; {known}.")
    spec = HUB[name]
    where = f"{spec.repo}@{spec.revision[:8]}"
    try:
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(spec.repo, spec.file, revision=spec.revision, repo_type="dataset")
    except Exception as error:  # the hub's client raises half a dozen families of its own and of its transport
        raise BenchmarkError(
            f"benchmark {name!r} ({where}) cannot be fetched from the hub: {first_line(error).rstrip('.')}. Without a "
            f"network give --benchmark {name} --data PATH to sgpo eval, which keeps the settings of the benchmark, or "
            f"PATH in place of the name to sgpo compare and data overlap: a JSONL file of its {spec.rows} problems, "
            "with problem and answer."
        ) from error
    rows = [spec.convert(row) for _, row in read_table(path)]
    # A revision is pinned, so another number of rows is a file that was cut off on its way.
    if len(rows) != spec.rows:
        raise BenchmarkError(f"{where}: {spec.file} has {len(rows)} problems, not {spec.rows}; clear the hub's cache.")
    return parse(rows, where)


def load_file(path: Path) -> list[BenchmarkProblem]:
    """Problems of a data file with a field of `PROBLEM_FIELDS` and one of `ANSWER_FIELDS`; the first of each counts.

    A problem is text, or messages that are a whole prompt, as training data have it.

    See `sgpo.data.tables` for the kinds of files.

    Optional fields: ``id``, ``strategy``, ``family`` (or ``subject``, ``subfield``), and the rules ``unit``,
    ``tolerance`` (or ``error``), ``is_multiple_answer``, which may also stand by id in ``NAME.meta.jsonl`` beside the
    file.

    Raises:
        ReadError: the file cannot be read.
        BenchmarkError: it is empty, a field is missing or empty, an id is repeated, the rules are those of other ids.
            All of a file's faults are counted and the first ones listed.
    """
    rows = [row for _, row in read_table(path)]
    meta = path.with_name(f"{table_name(path)}.meta.jsonl")
    if meta.exists():
        rules = {str(row["id"]): row for _, row in read_table(meta) if row.get("id") is not None}
        if rows and not rules.keys() & {str(row.get("id")) for row in rows}:
            raise BenchmarkError(
                f"{meta} has rules for none of the ids in {path.name}; make the ids agree, or move it away."
            )
        # The row wins: its own field is nearer than a rule in a file beside it.
        rows = [{**rules.get(str(row.get("id")), {}), **row} for row in rows]
    return parse(rows, str(path))


def parse(rows: Iterable[Mapping[str, Any]], where: str) -> list[BenchmarkProblem]:
    """Problems of rows; see :func:`load_file`. ``where`` names the source in messages."""
    problems: list[BenchmarkProblem] = []
    faults: dict[str, list[int]] = {}  # what is wrong, with the rows
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        try:
            problem = _problem(row, str(number))
        except ValueError as error:
            # All of them before one is said: a file is mended once, and not a row at a time.
            faults.setdefault(str(error), []).append(number)
            continue
        if problem.id in seen:
            what = f"the id {problem.id!r} is that of row {seen[problem.id]}; ids must differ"
            faults.setdefault(what, []).append(number)
        seen.setdefault(problem.id, number)
        problems.append(problem)
    if faults:
        kinds = [
            f"row {rows[0]}{f' and {len(rows) - 1} more' if rows[1:] else ''}: {what}" for what, rows in faults.items()
        ]
        more = f"; and {len(kinds) - _SHOWN} more kinds" if len(kinds) > _SHOWN else ""
        count = sum(map(len, faults.values()))
        raise BenchmarkError(f"{where} has {count} bad row(s): {'; '.join(kinds[:_SHOWN])}{more}.")
    if not problems:
        raise BenchmarkError(f"{where} has no problems; give one JSON object a line with problem and answer.")
    return problems


def _problem(row: Mapping[str, Any], number: str) -> BenchmarkProblem:
    name = next((field for field in PROBLEM_FIELDS if row.get(field) is not None), None)
    if name is None:
        raise ValueError(f"no field 'problem' (nor 'prompt' or 'question'); it has {sorted(row)}")
    prompt = as_messages(row[name])
    text: Any = row[name]
    if prompt is not None:
        text, prompt = _asked(prompt, name), as_written(row[name], prompt)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name!r} must be text that is not blank, not {str(text)[:60]!r}")
    group = next((row[field] for field in GROUP_FIELDS if row.get(field) is not None), None)
    strategy = row.get("strategy")
    if strategy is not None and (not isinstance(strategy, str) or not strategy.strip()):
        raise ValueError(f"'strategy' must be text that is not blank, or left out, not {str(strategy)[:60]!r}")
    return BenchmarkProblem(
        id=number if row.get("id") is None else str(row["id"]),
        problem=text,
        answer=_answer(row),
        group=None if group is None else str(group),
        strategy=strategy,
        tolerance=_tolerance(row),
        unit=row.get("unit") or None,
        multiple=_flag(row.get("is_multiple_answer")),
        prompt=prompt,
    )


def _asked(prompt: Messages, name: str) -> str | None:
    """The problem in a prompt that is messages; raises ValueError where the model is not the next to speak."""
    if has_tools(prompt) or prompt[-1]["role"] != "user":
        raise ValueError(
            f"{name!r} holds messages that do not end with the user's; an evaluation asks for the next one"
        )
    return problem_text(prompt)


def _answer(row: Mapping[str, Any]) -> str | list[str]:
    name = next((field for field in ANSWER_FIELDS if field in row), None)
    if name is None:
        raise ValueError(f"no field 'answer' (nor {', '.join(map(repr, ANSWER_FIELDS[1:]))}); it has {sorted(row)}")
    answer = row[name]
    if golds := gold_texts(answer):
        return golds if len(golds) > 1 else golds[0]
    raise ValueError(f"{name!r} must be text or a number and not empty, not {str(answer)[:60]!r}")


def _flag(value: Any) -> bool:
    """Whether a field says yes; in a CSV file a no is text, too."""
    return value.strip().lower() in ("true", "yes", "1") if isinstance(value, str) else bool(value)


def _tolerance(row: Mapping[str, Any]) -> float | None:
    """The tolerance of a row by the name that rewards know, or by OlympiadBench's, ``error``; of several the widest."""
    given = {name: row[name] for name in ("tolerance", "error") if row.get(name) not in (None, "")}
    given = {name: value for name, value in given.items() if value == value}  # NaN: an empty cell of pandas
    if not given:
        return None
    name, error = next(iter(given.items()))
    try:
        tolerance = max(float(part) for part in str(error).split(","))
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"{name!r} must be a tolerance such as 1e-1, not {error!r}")
    return tolerance
