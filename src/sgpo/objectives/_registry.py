"""Look a named form up in its registry, with an error that lists the valid names."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(registry: Mapping[str, T], name: str, option: str) -> T:
    """`registry[name]`; a `ValueError` that names the option, the value and what is valid otherwise."""
    try:
        return registry[name]
    except (KeyError, TypeError):
        valid = ", ".join(repr(key) for key in registry)
        raise ValueError(f"{option}={name!r} is not a known form; choose one of {valid}") from None
