"""YAML as its users mean it: the scalars of YAML 1.2, no key twice, and an error of one line.

PyYAML reads YAML 1.1, in which ``1e-6`` is text, ``no`` and ``off`` are booleans, ``12:30`` is 750 and ``2026-11-26``
is a date. Here the first is a number, and the others are text. What a text means where a number or a boolean is wanted
is for the reader of the field to decide, see :mod:`sgpo.recipe.fields`.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sgpo.runs.files import JsonObject, read_text

_BOOL, _INT, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_KEPT = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}


class _Loader(yaml.SafeLoader):
    """``yaml.SafeLoader`` with other scalars, which refuses a key that stands twice in a mapping."""

    # Only null and merge keys are kept; booleans and numbers follow below as YAML 1.2 has them.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        # PyYAML keeps the last of two, so that the setting which somebody reads first would not be the one in use.
        for key, _ in node.value:
            # `<<` may stand twice: it takes over the keys of another mapping and is none itself.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice; keep one of them"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan)$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text, in the types of JSON.

    Raises:
        ValueError: in one line, ``where`` and the reason; ``where`` says what the text is not.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = error.problem if error.problem_mark or not error.context else f"{error.context}, {error.problem}"
        # The commonest mistake, which PyYAML says as "found character that cannot start any token".
        hint = "; YAML is indented with blanks, not tabs" if "'\\t'" in str(error.problem) else ""
        raise ValueError(f"{where}: {place}{said}{hint}.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())}.") from error


def read_yaml(path: Path) -> JsonObject:
    """The mapping of names to values in a YAML file."""
    found = parse_yaml(read_text(path), f"{path} is not valid YAML")
    if not isinstance(found, dict):
        kind = "nothing" if found is None else "a list" if isinstance(found, list) else "a single value"
        raise ValueError(f"{path} holds {kind}, but must be a YAML mapping of field names to values (NAME: VALUE).")
    for name in found:
        if not isinstance(name, str):
            raise ValueError(f"{path} names a field {name!r}, which is no text; field names are words.")
    return found
