"""The source's other columns in an exported data set: their names, their types, and the prompt's turns.

The names of `sgpo strategies export` win: a source's column of such a name is called ``source_NAME``. Types are those
of the source's values; a column that mixes kinds (text and numbers, say) becomes text, since no data set could be read
otherwise.
"""

import json
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from sgpo.data.prompts import Prompt
from sgpo.runs.files import JsonObject
from sgpo.strategies.records import Problem

OWN = (
    *("prompt", "strategy", "answer", "id", "problem_type", "model", "prompt_version", "candidate", "score"),
    *("candidate_id", "lift", "expert"),
)
_PORTION = 500


class SourceColumns:
    """The columns that problems brought along.

    Attributes:
        types: column of the source to its type in Apache Arrow, in the order in which they were first seen.
        names: column of the source to its name in the data set.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.types: dict[str, Any] = {}
        long: set[str] = set()  # with whole numbers that a column of fractions would round
        rows = iter(problems)
        while portion := list(islice(rows, _PORTION)):
            for name in dict.fromkeys(name for problem in portion for name in problem.columns):
                values = [problem.columns.get(name) for problem in portion]
                found = _type(values)
                long |= {name} if any(isinstance(value, int) and abs(value) > 2**53 for value in values) else set()
                self.types[name] = _common(self.types[name], found) if name in self.types else found
        rounded = [name for name in long if str(self.types[name]) == "double"]
        self.types |= dict.fromkeys(rounded, _type(["text"]))
        self.names: dict[str, str] = {}
        for name in self.types:
            given = name
            # Also not the name of another column of the source, which may itself begin with source_.
            while given in OWN or (given != name and given in self.types) or given in self.names.values():
                given = f"source_{given}"
            self.names[name] = given

    def row(self, problem: Problem) -> JsonObject:
        """The columns of a problem under their new names; None for those that it does not have."""
        return {new: self._value(name, problem.columns.get(name)) for name, new in self.names.items()}

    def _value(self, name: str, value: Any) -> Any:
        import pyarrow as pa  # type: ignore[import-untyped]

        as_text = pa.types.is_string(self.types[name]) and not isinstance(value, (str, type(None)))
        return json.dumps(value, ensure_ascii=False) if as_text else value


def prompt_of(problem: Problem, make_prompt: Callable[[str], Prompt]) -> Prompt:
    """The prompt of a problem: the template's words around the last user message, with the turns before it.

    A system message of the source stays, unless the template has one of its own. A plain template gets the system
    message and the turns as text in front.
    """
    if problem.turns is None:
        return make_prompt(problem.problem)
    users = [i for i, turn in enumerate(problem.turns) if turn["role"] == "user"]
    systems = [turn for turn in problem.turns if turn["role"] == "system"]
    last = users[-1]
    made = make_prompt(problem.turns[last]["content"])
    if isinstance(made, str):
        before = [turn["content"] for turn in systems] if len(problem.turns) == len(systems) + 1 else []
        return make_prompt("\n\n".join([*before, problem.problem]))
    own = [message for message in made if message["role"] == "system"]
    turns = [
        {**turn, "content": made[-1]["content"]} if i == last else turn
        for i, turn in enumerate(problem.turns)
        if not (own and turn["role"] == "system")
    ]
    return [*own, *turns]


def _type(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        found = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.string()
    return pa.string() if "struct<>" in str(found) else found  # parquet has no objects without fields


def _common(first: Any, second: Any) -> Any:
    import pyarrow as pa

    if first == second:
        return first
    try:
        schemas = [pa.schema([("column", kind)]) for kind in (first, second)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
