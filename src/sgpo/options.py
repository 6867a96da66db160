"""Options as fields of dataclasses: a field holds an option's default and its help, the class checks the values.

`sgpo.commands._options` makes a command's parameters from such a class. A field whose default is itself such a class
is a group: its options stand among the others on the command line, and the default object holds their defaults.
"""

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def option(
    default: Any = dataclasses.MISSING, *, help: str, default_factory: Callable[[], Any] | None = None, **details: Any
) -> Any:
    """A field that is an option of a command; without a default it is required.

    Args:
        help: what the value does, its unit, and the default where that is not plain.
        details: ``flags`` in place of ``--the-name``; ``argument=True`` for a positional one; ``negated=True`` for a
            flag that sets a true field to False; and what ``typer.Option`` takes (``envvar``, ``metavar``, ``min``).
    """
    metadata = {"help": help, **details}
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def like(options: type[Any], name: str, **changes: Any) -> Any:
    """The option ``name`` of another class, with another ``default`` or other details where they are given."""
    base = options.__dataclass_fields__[name]
    kept = {"default": base.default} if base.default_factory is dataclasses.MISSING else {}
    factory = None if kept or "default" in changes else base.default_factory
    return option(**{**kept, **base.metadata, **changes}, default_factory=factory)


def group(options: T) -> T:
    """A field that holds a group: an object of another such class, with the defaults of the options in it."""
    return dataclasses.field(default=options)


def flat_fields(options: type[Any], defaults: Any = None) -> Iterator[tuple[dataclasses.Field[Any], type[Any], Any]]:
    """Each option of a class and of its groups: the field, the class that has it, and its default there."""
    for each in dataclasses.fields(options):
        default = each.default if defaults is None else getattr(defaults, each.name)
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            yield from flat_fields(type(default), default)
        elif "help" in each.metadata:
            yield each, options, None if each.default_factory is not dataclasses.MISSING else default


def from_flat(options: type[T], values: Mapping[str, Any], defaults: Any = None) -> T:
    """An object of a class, from values by the names of its options and of its groups' options; the rest by default.

    Raises:
        ValueError: a name that none of them has, or a value that the class refuses.
    """
    # Only at the top: a group is given the names of the options outside it, too.
    names = [each.name for each, _, _ in flat_fields(options)]
    if defaults is None and (unknown := sorted(set(values) - set(names))):
        near = difflib.get_close_matches(unknown[0], names, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."
        raise ValueError(f"There is no option {unknown[0]!r}; {hint}")
    found: dict[str, Any] = {}
    for each in dataclasses.fields(options):  # type: ignore[arg-type]
        default = each.default if defaults is None else getattr(defaults, each.name)
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            found[each.name] = from_flat(type(default), values, default)
        elif each.name in values:
            found[each.name] = at_home(values[each.name])
        elif defaults is not None:
            found[each.name] = default
    return options(**found)


def at_home(value: Any) -> Any:
    """A path below ``~`` in full, where no shell has done it: in a file, a notebook, or behind an equals sign.

    Of several values each; whatever is no such path stays.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(map(at_home, value))
    below = isinstance(value, (str, Path)) and str(value).startswith("~/")
    return type(value)(os.path.expanduser(value)) if below else value
