"""From a value that a recipe gives to the type that a field of a dataclass has.

A recipe may write a field in any way that leaves no doubt: one name for a list of names, ``"1e-6"`` or ``1`` for a
float, ``no`` or ``off`` for false. Most of that is how pydantic reads. Whatever else does not fit is an error that
names the field, the value and the type.
"""

import contextlib
import dataclasses
import enum
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sgpo.trainer.values import KINDS, kinds_in_words, options


class _Unfit(Exception):
    """A value that a type does not take."""


def typed_fields(classes: Sequence[type], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of ``given`` in the types of the fields of ``classes`` (dataclasses) that have their names.

    Names that are no field are left as they are. Raises ValueError, with the file ``where``, for a value that is unfit.
    """
    found = dict(given)
    for each in classes:
        hints = get_type_hints(each) | KINDS
        for field in dataclasses.fields(each):
            if field.init and field.name in given:
                found[field.name] = _typed(field, hints[field.name], given[field.name], where)
    return found


def _typed(field: "dataclasses.Field[Any]", annotation: Any, value: Any, where: str) -> Any:
    try:
        found = _fit(annotation, value)
    except _Unfit:
        taken = kinds_in_words(options(annotation))
        said = "nothing" if value is None else f"{value!r} ({type(value).__name__})"
        quote = "; put it in quotes" if str in options(annotation) and isinstance(value, (int, float)) else ""
        remedy = "give a value, or leave the line out" if value is None else f"write {taken}{quote}"
        raise ValueError(f"{where}: {field.name} is {said}, but takes {taken}; {remedy}.") from None
    choices = field.metadata.get("choices")
    if choices and found is not None and found not in choices:
        raise ValueError(f"{where}: {field.name} is {found!r}, but must be one of {', '.join(map(repr, choices))}.")
    return found


def _fit(annotation: Any, value: Any) -> Any:
    """``value`` as ``annotation`` takes it, by pydantic's rules but for these. Raises ``_Unfit``."""
    taken = options(annotation)
    kinds = [get_origin(each) or each for each in taken]
    within = {*kinds, *(inner for each in taken if get_origin(each) is list for inner in get_args(each))}
    # To pydantic true is the number 1, and any mapping the fields of a dataclass.
    if isinstance(value, bool) and not within & {bool, Literal, Any}:
        raise _Unfit
    if isinstance(value, dict) and not within & {dict, Any}:
        raise _Unfit
    if isinstance(value, str) and str not in within:  # where text is taken, text that says "none" is text
        if type(None) in kinds and value.lower() in ("none", "null"):
            return None
        if int in within:
            with contextlib.suppress(ValueError, OverflowError):
                value = float(value)  # "1e3" is a whole number
    # One name stands for a list of it, unless the field takes a single value, too.
    if list in kinds and value is not None and type(value) not in kinds:
        value = [value]
    try:
        found = _adapter(annotation).validate_python(value)
    except ValidationError:
        raise _Unfit from None
    return found.value if isinstance(found, enum.Enum) else found


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    # A later TRL may annotate a field with a class of its own, which a recipe cannot give anyway.
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
