"""Prompts with and without a strategy.

The strategy enters only here, and only into the guided prompt. A template is plain text with ``{prompt}`` and
``{strategy}``; both are put in at once, so braces inside a problem or a strategy mean nothing.
"""

import inspect
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

# The problem comes first, so that the guided and the unguided prompt share their prefix (and its cache).
DEFAULT_GUIDED_TEMPLATE = (
    "{prompt}\n\n"
    "A strategy for problems of this kind:\n{strategy}\n\n"
    "Follow this strategy step by step, carry out every computation yourself, and state the final answer."
)
_FIELDS = re.compile(r"(\{prompt\}|\{strategy\})")
_TOLD = ("system", "developer", "user", "human")  # roles whose words a model must be told

Prompt = str | list[dict[str, Any]]


def check_template(template: str) -> None:
    """Raise ``ValueError`` unless ``template`` names ``{prompt}`` and ``{strategy}`` exactly once each."""
    found = sorted(_FIELDS.findall(template)) if isinstance(template, str) else None
    if found != ["{prompt}", "{strategy}"]:
        raise ValueError(
            f"The guided prompt template {template!r} must contain {{prompt}} and {{strategy}} exactly once each, "
            "for example 'Strategy: {strategy}\\nProblem: {prompt}'."
        )


def text_prompt(prompt: Prompt) -> Prompt:
    """A prompt in the form that every chat template reads: plain text, or messages whose content is text.

    Content in parts (``[{"type": "text", "text": ...}]``) becomes the text of its parts, one behind the other, as
    templates that take parts do it. A content of None, as in a turn that only calls a tool, stays.

    Returns:
        ``prompt`` itself where nothing is to be done, else a new prompt.

    Raises:
        ValueError: ``prompt`` is neither text nor messages, or a part is no text (an image, say).
    """
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not all(isinstance(m, dict) and m.get("role") for m in prompt):
        raise ValueError(
            f"The prompt {str(prompt)[:80]!r} is neither text nor a list of messages; a message is a mapping with "
            "'role' and 'content'."
        )
    if all(isinstance(message.get("content"), str) for message in prompt):
        return prompt
    return [{**message, "content": _content_text(message.get("content"))} for message in prompt]


def _content_text(content: Any) -> str | None:
    """The text of a message's content; None stays None."""
    if content is None or isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(
                f"The content of a message has a part of the type {kind!r}, but only text is trained on here: parts "
                "are {'type': 'text', 'text': ...}. Drop such prompts, or the part."
            )
        texts.append(text)
    return "".join(texts)


def guided_prompt(prompt: Prompt, strategy: str, template: str = DEFAULT_GUIDED_TEMPLATE) -> Prompt:
    """The prompt of ``pi(.|q,s)`` for a problem ``q`` and its strategy ``s`` (arXiv 2606.24064, section 3).

    Args:
        prompt: a plain prompt, or messages of which the last ``user`` one holds the problem, whatever follows it and
            whether its content is text or in parts.
        strategy: the strategy text.
        template: see :func:`check_template`.

    Returns:
        A new prompt in the form of :func:`text_prompt`; ``prompt`` is left as it was.

    Raises:
        ValueError: if a conversation has no user message, or its last one no text.
    """
    plain = text_prompt(prompt)
    if isinstance(plain, str):
        return _fill(template, plain, strategy)
    last = last_user_message(plain)
    filled = {**plain[last], "content": _fill(template, plain[last]["content"], strategy)}
    return [*plain[:last], filled, *plain[last + 1 :]]


def require_own_marks(tokenizer: Any, prompts: Iterable[tuple[Prompt, Sequence[int]]]) -> None:
    """Raise ``ValueError`` if the tokenizer gave one of the prompts, each with its tokens, a mark too many.

    Text that a chat template has rendered begins with a BOS, and the tokenizer puts another before it. A tokenizer with
    ``add_eos_token`` ends a prompt of plain text, so that the response would begin another text.
    """
    bos, eos = (getattr(tokenizer, f"{which}_token_id", None) for which in ("bos", "eos"))
    for prompt, ids in prompts:
        if bos is not None and list(ids[:2]) == [bos, bos]:
            raise ValueError(
                f"The prompt {str(prompt)[:80]!r} begins with two {tokenizer.bos_token!r}: its text has one, and the "
                "tokenizer adds another. Take it out of the text, or give messages and leave it to the chat template."
            )
        ended = eos is not None and isinstance(prompt, str) and list(ids[-1:]) == [eos]
        if ended and list(tokenizer(prompt, add_special_tokens=False)["input_ids"][-1:]) != [eos]:
            raise ValueError(
                f"The tokenizer ends the prompt {str(prompt)[:80]!r} with {tokenizer.eos_token!r}, behind which no "
                "response can stand. Set add_eos_token to false (tokenizer_config.json), or take the mark out of the "
                "post_processor of tokenizer.json."
            )


def check_variables(tokenizer: Any, variables: Iterable[str]) -> None:
    """Warn of ``variables`` that the chat template does not name: they change nothing, but are recorded.

    Raises:
        ValueError: one is an argument of ``apply_chat_template``, which is called with a value of its own.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    for name in variables:
        if name not in ("tools", "documents") and name in inspect.signature(tokenizer.apply_chat_template).parameters:
            raise ValueError(
                f"chat_template_kwargs has {name!r}, which is no variable of a chat template, but an argument of "
                "apply_chat_template that is set here: a prompt ends where the assistant's turn begins. Leave it out."
            )
    if idle := [name for name in variables if not re.search(rf"\b{re.escape(name)}\b", template)]:
        warnings.warn(
            f"The chat template does not read {', '.join(idle)} (chat_template_kwargs), which therefore changes no "
            "prompt. Look for a misspelling, or leave it out: the model has no such switch.",
            stacklevel=2,
        )


def require_all_shown(rendered: str, messages: Sequence[Any]) -> None:
    """Raise ``ValueError`` if what a chat template made of messages lacks the words of the system or of the user.

    What an assistant said earlier may go: many templates drop its thinking. White space does not count: they trim.
    """
    shown = "".join(rendered.split())
    for message in messages:
        content = message.get("content")
        if message["role"] in _TOLD and isinstance(content, str) and "".join(content.split()) not in shown:
            raise ValueError(
                f"The chat template leaves out the {message['role']!r} message {content[:80]!r}, so the model "
                "would not be told. Put its words into the user's last message, or use a template that shows it."
            )


def require_no_marks(messages: Sequence[Any], marks: Sequence[str]) -> None:
    """Raise ``ValueError`` for a mark of the chat template in what the system or the user says.

    Text that the template has rendered already would be rendered twice; and a mark in a strategy ends the user's turn.
    """
    for message in messages:
        content = message.get("content")
        found = next((mark for mark in marks if isinstance(content, str) and mark in content), None)
        if found and message["role"] in _TOLD:
            raise ValueError(
                f"The {message['role']!r} message {content[-80:]!r} has {found!r}, a mark of the chat template, which "
                "is put around messages here: what the model would read is another conversation. Give the bare text."
            )


def require_known_ids(rows: Iterable[Sequence[int]], size: int, tokenizer: Any) -> None:
    """Raise ``ValueError`` if any id of the rows is ``size`` or more."""
    for ids in rows:
        largest = max(ids, default=0)
        if largest >= size:
            raise ValueError(
                f"The tokenizer makes the id {largest} ({tokenizer.convert_ids_to_tokens(largest)!r}), but the model's "
                f"vocabulary has {size} entries; it is met in {tokenizer.decode(ids)[:80]!r}. Use the model's own "
                "tokenizer and one of its tokens for padding, or `model.resize_token_embeddings(len(tokenizer))`."
            )


def last_user_message(messages: list[dict[str, Any]]) -> int:
    """Where the problem stands in a conversation. Raises ``ValueError`` if it has no user message with text."""
    for i in reversed(range(len(messages))):
        if messages[i]["role"] == "user":
            if isinstance(messages[i].get("content"), str):
                return i
            break
    roles = [message["role"] for message in messages]
    raise ValueError(
        f"A conversation needs a user message with text to put the strategy into, its last; its roles are {roles}."
    )


def _fill(template: str, prompt: str, strategy: str) -> str:
    # Both at once and not one after the other: a problem may hold the text {strategy}.
    values = {"{prompt}": prompt, "{strategy}": strategy}
    return "".join(values.get(part, part) for part in _FIELDS.split(template))
