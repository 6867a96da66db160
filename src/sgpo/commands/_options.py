"""From a dataclass of options (`sgpo.options`) to the parameters of a command, and back to one object of it."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from sgpo.models.options import json_object
from sgpo.options import flat_fields, from_flat

_OURS = ("argument", "flags", "negated")  # details of an option that typer does not know


def takes_options(run: Callable[..., None]) -> Callable[..., None]:
    """Make typer see the options of ``run``'s parameter ``options``, a dataclass, as parameters of the command.

    Other parameters, such as typer's context, stay as they are. How a field stands on the command line: a bool that is
    False is a flag; a tuple is a repeatable option; a dict is a JSON object.
    """
    signature = inspect.signature(run, eval_str=True)
    options = signature.parameters["options"].annotation
    others = [each for name, each in signature.parameters.items() if name != "options"]

    def command(**given: Any) -> None:
        kept = {each.name: given.pop(each.name) for each in others}
        run(**kept, options=parsed(options, given))

    command.__signature__ = signature.replace(parameters=[*others, *_parameters(options)])  # type: ignore[attr-defined]
    command.__annotations__ = {}  # typer reads the signature's
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    return command


def parsed(options: type[Any], given: Mapping[str, Any]) -> Any:
    """One object of ``options`` from what typer parsed."""
    values = dict(given)
    for field, owner, _ in flat_fields(options):
        value, hint = given[field.name], _hints(owner)[field.name]  # type: ignore[arg-type]
        if typing.get_origin(hint) is tuple:
            # Typer gives a list, or None where nothing was typed.
            values[field.name] = tuple(value or ())
        elif typing.get_origin(hint) is dict:
            values[field.name] = json_object(value, _flags(field)[0])
        elif field.metadata.get("negated"):
            values[field.name] = not value
    return from_flat(options, values)


def _parameters(options: type[Any]) -> list[inspect.Parameter]:
    found = []
    for field, owner, default in flat_fields(options):
        hint = _hints(owner)[field.name]  # type: ignore[arg-type]
        details = {key: value for key, value in field.metadata.items() if key not in _OURS}
        info = typer.Argument(**details) if field.metadata.get("argument") else typer.Option(*_flags(field), **details)
        if typing.get_origin(hint) is tuple:
            hint, default = list[typing.get_args(hint)[0]] | None, None  # type: ignore[misc]
        elif typing.get_origin(hint) is dict:
            hint, default = str | None, None
        elif field.metadata.get("negated"):
            default = not default
        found.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
                annotation=Annotated[hint, info],
            )
        )
    return found


def _flags(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The names on the command line; a bool that is True by default has an opposite, ``--x/--no-x``."""
    name = "--" + field.name.replace("_", "-")
    if flags := field.metadata.get("flags"):
        return tuple(flags)
    return (f"{name}/--no-{name[2:]}",) if field.default is True else (name,)


@functools.cache  # a class has dozens of fields, and reading its hints takes a while
def _hints(owner: Any) -> dict[str, Any]:
    return typing.get_type_hints(owner)
