"""Chat templates that print today's date, as those of Llama 3 and gpt-oss do: here they print one date, every day.

A prompt with today's date changes at midnight: within a run, at its resume, between training and evaluation, and
between two methods that are compared.
"""

import functools
import warnings
from datetime import date
from typing import Any

TEMPLATE_DATE = date(2024, 7, 26)
"""What is printed; Llama 3's template has it where it cannot ask for the day."""

_ASKS = "strftime_now"  # transformers' function for templates
_PARTS = ("-d", "-m", *"aAbBdejmuwyYFDHIMSpc")  # of a date's format
# transformers hands no functions to a template, so this one is in its language. The line break goes, as behind every
# block there.
_PRINTS = "".join(f"|replace('%{part}', '{TEMPLATE_DATE:%{part}}')" for part in _PARTS)
_MACRO = f"{{% macro {_ASKS}(format) %}}{{{{ format{_PRINTS} }}}}{{% endmacro %}}\n"


def fix_date(tokenizer: Any) -> None:
    """Let a tokenizer's chat template print `TEMPLATE_DATE` for today's date; what the tokenizer saves stays as it is.

    A variable of the template, such as Llama 3's ``date_string``, still goes before it.
    """
    if date_settings(tokenizer) and not isinstance(tokenizer.apply_chat_template, functools.partial):
        tokenizer.apply_chat_template = functools.partial(_on_that_date, tokenizer.apply_chat_template)
        warnings.warn(
            "The chat template prints today's date, so that prompts would change at midnight. Here it always prints "
            f"{TEMPLATE_DATE:%d %b %Y}.",
            stacklevel=2,
        )


def _on_that_date(apply: Any, *args: Any, chat_template: str | None = None, **kwargs: Any) -> Any:
    template = apply.__self__.get_chat_template(chat_template, kwargs.get("tools"))
    return apply(*args, chat_template=_MACRO + template, **kwargs)


def date_settings(tokenizer: Any) -> dict[str, object]:
    """The date in prompts, as settings that are saved; nothing where the chat template does not ask for one."""
    asks = _ASKS in str(getattr(tokenizer, "chat_template", None) or "")
    return {"template_date": TEMPLATE_DATE.isoformat()} if asks else {}
