"""Conversations of data sets in one form: a list of ``{"role", "content"}`` with text as content.

Read are messages with ``role`` and ``content`` (text, or parts of type text), and those with ``from`` and ``value``
(ShareGPT), as a list, as one message, or as JSON text of a list.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Messages = list[dict[str, str]]

_ROLES = {
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "bard"), "assistant"),
    "human": "user",
    "developer": "system",
}
_CHAT = ("system", "user", "assistant", "")
_JSON_LIST = re.compile(r'\s*\[\s*[{"\[]')


def as_messages(cell: Any) -> Messages | None:
    """A cell as messages; None where it holds none, or one without a text that calls no tool.

    A message without a role is the user's in a problem and the assistant's in a response; it keeps the role "".
    """
    cell = unpacked(cell)
    cells = [cell] if isinstance(cell, Mapping) else cell
    if not isinstance(cells, Sequence) or isinstance(cells, (str, bytes)) or not cells:
        return None
    found = []
    for message in cells:
        if not isinstance(message, Mapping):
            return None
        role = str(message.get("role") or message.get("from") or "").strip().lower()
        content = _text(message.get("content", message.get("value")))
        # A call of a tool has no text, and still tells that the conversation is none that a model answers alone.
        if content is None and any(message.get(name) for name in ("tool_calls", "function_call")):
            role, content = "tool", ""
        if content is None:
            return None
        # An unknown role stays, so that `has_tools` sees it.
        found.append({"role": _ROLES.get(role, role), "content": content})
    return found


def as_written(cell: Any, messages: Messages) -> Messages:
    """The messages of a cell with what a training puts to the chat template beside: names, the role "developer"."""
    given = unpacked(cell)
    found = []
    for was, one in zip([given] if isinstance(given, Mapping) else given, messages, strict=True):
        role = "developer" if was.get("role") == "developer" else one["role"] or "user"
        found.append({**({"name": was["name"]} if was.get("name") else {}), **one, "role": role})
    return found


def unpacked(cell: Any) -> Any:
    """A cell, or the list that its text is in JSON."""
    if not (isinstance(cell, str) and _JSON_LIST.match(cell)):
        return cell
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    # A problem may begin with a bracket, as an interval does; only lists of messages or of texts are unpacked.
    of_messages = all(isinstance(part, Mapping) and ("role" in part or "from" in part) for part in found)
    return found if of_messages or all(isinstance(part, str) for part in found) else cell


def has_tools(messages: Messages) -> bool:
    """Whether a message is a tool's, or calls one."""
    return any(message["role"] not in _CHAT for message in messages)


def before_answer(messages: Messages) -> Messages:
    """The messages to the end of the last answer: what the user says after it is no part of the problem."""
    ends = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return messages[: ends[-1] + 1] if ends else messages


def asked(messages: Messages) -> Messages:
    """What was said before the last answer: the messages without the assistant's at their end."""
    end = len(messages)
    while end and messages[end - 1]["role"] == "assistant":
        end -= 1
    return messages[:end]


def problem_text(prompt: Any) -> str | None:
    """The problem of a prompt as one text; None where there is none.

    Of a conversation with one user message that message counts: the system message says how to answer, not what is
    asked. Several turns are a transcript, each with its role in front.
    """
    messages = as_messages(prompt)
    if messages is None:
        return prompt if isinstance(prompt, str) else None
    turns = asked(messages)
    said = [message for message in turns if message["role"] in ("user", "")]
    if not said:
        return None
    if len([message for message in turns if message["role"] != "system"]) == 1:
        return said[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize() or 'User'}: {message['content']}" for message in turns)


def last_answer(cell: Any) -> str | None:
    """The last thing the assistant said, or a text as it is; None where there is none."""
    messages = as_messages(cell)
    if messages is None:
        return cell if isinstance(cell, str) else None
    said = [message["content"] for message in messages if message["role"] in ("assistant", "")]
    return said[-1] if said else None


def _text(content: Any) -> str | None:
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        if any("image" in str(part.get("type")) for part in content if isinstance(part, Mapping)):
            return None  # what is shown there is part of what is asked
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str)) if parts else None
    return content if isinstance(content, str) else None
