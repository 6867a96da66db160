"""What differs between the settings that a folder was made with and those that are given now."""

import json
from collections.abc import Mapping
from typing import Any

from sgpo.runs.reader import JsonObject

_LISTED = 8


def differences(saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The leaves that differ, such as ``sampling.k``, each with what was saved and what is given, as short texts."""
    # Through JSON, as it would be read back: a file makes lists of tuples.
    before, after = _leaves(saved), _leaves(json.loads(json.dumps(given)))
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    # A setting by itself, such as the task, comes before the parts of others.
    names.sort(key=lambda name: (name.count("."), name))
    return {name: (_short(before.get(name)), _short(after.get(name))) for name in names}


def in_a_sentence(found: dict[str, tuple[str, str]]) -> str:
    """Differences within a sentence, the first few of them."""
    parts = [f"{name}: {before} saved, {after} given" for name, (before, after) in found.items()]
    more = [f"and {len(parts) - _LISTED} more"] if len(parts) > _LISTED else []
    return "; ".join([*parts[:_LISTED], *more])


def _leaves(value: Any, name: str = "") -> JsonObject:
    if not isinstance(value, dict):
        return {name: value}
    return {
        leaf: one
        for key, inner in value.items()
        for leaf, one in _leaves(inner, f"{name}.{key}" if name else key).items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
