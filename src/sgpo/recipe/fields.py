"""From a value that a recipe gives to the type that a field of a dataclass has.

A recipe may write a field in any way that leaves no doubt: one name for a list of names, ``"1e-6"`` or ``1`` for a
float, ``no`` or ``off`` for false. Whatever else does not fit is an error that names the field, the value and the type.
"""

import dataclasses
import enum
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), False),
}
_ALSO_BOOLEAN = {"scale_rewards"}  # TRL annotates it as text, and takes false, too


class _Unfit(Exception):
    """A value that a type does not take."""


def typed_fields(classes: Sequence[type], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of ``given`` in the types of the fields of ``classes`` (dataclasses) that have their names.

    Args:
        where: the file, for the error.

    Raises:
        ValueError: a value that does not fit its field. Names that are no field are left as they are.
    """
    found = dict(given)
    for each in classes:
        hints = get_type_hints(each)
        for field in dataclasses.fields(each):
            if field.init and field.name in given:
                found[field.name] = _typed(field, hints[field.name], given[field.name], where)
    return found


def _typed(field: "dataclasses.Field[Any]", annotation: Any, value: Any, where: str) -> Any:
    if field.name in _ALSO_BOOLEAN and isinstance(value, bool):
        return value
    try:
        found = _fit(annotation, value)
    except _Unfit:
        said = "nothing" if value is None else f"{value!r} ({type(value).__name__})"
        quote = "; put it in quotes" if str in _options(annotation) and isinstance(value, (int, float)) else ""
        remedy = "give a value, or leave the line out" if value is None else f"write {_described(annotation)}{quote}"
        raise ValueError(f"{where}: {field.name} is {said}, but takes {_described(annotation)}; {remedy}.") from None
    choices = field.metadata.get("choices")
    if choices and found is not None and found not in choices:
        raise ValueError(f"{where}: {field.name} is {found!r}, but must be one of {', '.join(map(repr, choices))}.")
    return found


def _fit(annotation: Any, value: Any) -> Any:
    """``value`` as ``annotation`` takes it. Raises ``_Unfit``."""
    if annotation is Any:
        return value
    options = _options(annotation)
    if len(options) > 1:
        return _fit_any(options, value)
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        if value in get_args(annotation):
            return value
    elif origin is type(None):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            return None
    elif origin is bool:
        return _boolean(value)
    elif origin in (int, float):
        return _number(origin, value)
    elif origin is list:
        element = (*get_args(annotation), Any)[0]
        if value is not None and not isinstance(value, dict):
            return [_fit(element, each) for each in (value if isinstance(value, list) else [value])]
    elif isinstance(origin, type) and issubclass(origin, enum.Enum):
        if value in [member.value for member in origin]:
            return value
    elif isinstance(origin, type) and isinstance(value, origin):
        return value
    raise _Unfit


def _fit_any(options: tuple[Any, ...], value: Any) -> Any:
    """The first option that the value is already of the type of, else the first that takes it."""
    exact = [each for each in options if (get_origin(each) or each) is type(value)]
    for each in (*exact, *options):
        if each is type(None) and len(options) == 2 and str in options and value is not None:
            continue  # text that says "none" is text
        try:
            return _fit(each, value)
        except _Unfit:
            continue
    raise _Unfit


def _boolean(value: Any) -> bool:
    word = str(value).lower() if isinstance(value, (str, int)) else ""
    if word not in _WORDS:
        raise _Unfit
    return _WORDS[word]


def _number(kind: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _Unfit
    if kind is int and isinstance(value, int):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _Unfit from None
    if kind is int and not number.is_integer():
        raise _Unfit
    return kind(number)


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _described(annotation: Any) -> str:
    """A type in words: "a number or nothing"."""
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        dict: "a mapping",
        type(None): "null",
    }

    def one(option: Any) -> str:
        origin = get_origin(option) or option
        if origin is list:
            element = (*get_args(option), str)[0]
            return {str: "a list of texts", float: "a list of numbers"}.get(element, "a list")
        if origin is Literal:
            return " or ".join(map(repr, get_args(option)))
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return "one of " + ", ".join(str(member.value) for member in origin)
        return names.get(origin, getattr(origin, "__name__", str(origin)))

    options = [one(option) for option in _options(annotation)]
    return " or ".join(dict.fromkeys(options))
