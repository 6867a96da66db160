"""Prompts with and without a strategy.

The strategy enters only here, and only into the guided prompt. A template is plain text with ``{prompt}`` and
``{strategy}``; both are put in at once, so braces inside a problem or a strategy mean nothing.
"""

import re
from typing import Any

# The problem comes first, so that the guided and the unguided prompt share their prefix (and its cache).
DEFAULT_GUIDED_TEMPLATE = (
    "{prompt}\n\n"
    "A strategy for problems of this kind:\n{strategy}\n\n"
    "Follow this strategy step by step, carry out every computation yourself, and state the final answer."
)
_FIELDS = re.compile(r"(\{prompt\}|\{strategy\})")

Prompt = str | list[dict[str, Any]]


def check_template(template: str) -> None:
    """Raise ``ValueError`` unless ``template`` names ``{prompt}`` and ``{strategy}`` exactly once each."""
    found = sorted(_FIELDS.findall(template)) if isinstance(template, str) else None
    if found != ["{prompt}", "{strategy}"]:
        raise ValueError(
            f"The guided prompt template {template!r} must contain {{prompt}} and {{strategy}} exactly once each, "
            "for example 'Strategy: {strategy}\\nProblem: {prompt}'."
        )


def guided_prompt(prompt: Prompt, strategy: str, template: str = DEFAULT_GUIDED_TEMPLATE) -> Prompt:
    """The prompt of ``pi(.|q,s)`` for a problem ``q`` and its strategy ``s`` (arXiv 2606.24064, section 3).

    Args:
        prompt: a plain prompt, or messages of which the last ``user`` one holds the problem.
        strategy: the strategy text.
        template: see :func:`check_template`.

    Returns:
        A new prompt of the same form; ``prompt`` is left as it was.

    Raises:
        ValueError: if a conversation has no user message with text.
    """
    if isinstance(prompt, str):
        return _fill(template, prompt, strategy)
    messages = [dict(message) for message in prompt]
    for message in reversed(messages):
        if message["role"] == "user" and isinstance(message["content"], str):
            message["content"] = _fill(template, message["content"], strategy)
            return messages
    roles = [message.get("role") for message in messages]
    raise ValueError(f"A conversation needs a user message with text to put the strategy into; its roles are {roles}.")


def _fill(template: str, prompt: str, strategy: str) -> str:
    values = {"{prompt}": prompt, "{strategy}": strategy}
    return "".join(values.get(part, part) for part in _FIELDS.split(template))
