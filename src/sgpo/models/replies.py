"""The one reader of what an endpoint sends: JSON or an event stream, well formed or not, to a `Reply`.

What is read is told by its shape and not by its content type: proxies and servers get that header wrong. Nothing here
knows keys; whoever reads a reply hides them (`sgpo.models.secrets`).
"""

import json
import re
from typing import Any

from sgpo.models.protocol import Reply
from sgpo.runs.files import JsonObject

MAX_WORDS = 300  # characters of an endpoint's own words in an error
_MOST_NAME = 100  # characters of a model's name
_MOST_TOKENS = 2**40  # a count over this is nonsense, and would not fit the store
# In this order; a word that none of these is in ("stop", "eos_token", "end_turn") ends a reply well.
_FINISHES = (
    ("content_filter", re.compile(r"filter|safety|sensitive|block|prohibit|recitation|spii", re.I)),
    ("tool_calls", re.compile(r"tool|function", re.I)),
    ("abort", re.compile(r"abort|cancel|interrupt|preempt", re.I)),
    ("error", re.compile(r"error|fail|insufficient|timeout|timed.out|malform", re.I)),
    ("length", re.compile(r"length|max|limit|context", re.I)),
    ("refusal", re.compile(r"refus", re.I)),
)
# Providers have four names for what a model thinks before it answers; the first that holds text counts.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^<>]{0,500}>", re.I | re.S)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_EVENT = re.compile(r"\s*(?:data|event|id|retry)?:")
_DONE = re.compile(rb"^data:\s*\[DONE\]\s*$", re.M)


class UnreadableError(ValueError):
    """A body that is no reply; the message says what was sent. ``status`` is the one that an error in it names."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def read_reply(body: bytes, structured: bool = False) -> Reply:
    """The reply in the body of a response to a (chat) completion; `UnreadableError` where there is none."""
    data = _parsed(body)
    if not isinstance(data, dict):
        raise UnreadableError(f"sent a JSON {_kind(data)} in place of an object: {endpoint_words(body)}")
    choices = data.get("choices")
    choice = _first_choice(choices)
    if choice is None:
        if data.get("error"):
            raise UnreadableError(f"sent an error: {endpoint_words(body)}", _status(data["error"]))
        raise UnreadableError(f"sent a reply without choices: {endpoint_words(body)}")
    message = choice.get("message")
    said = message if isinstance(message, dict) else choice
    if not isinstance(message, dict) and not isinstance(choice.get("text"), str):
        raise UnreadableError(f"sent a reply without a message: {endpoint_words(body)}")
    # A completion has its text in the choice itself, a chat completion in its message.
    text, reasoning = _said(said)
    refusal = text_of(said.get("refusal"))
    if data.get("error") and not text + reasoning:  # of a router: the reply beside it is a shell
        raise UnreadableError(f"sent an error: {endpoint_words(body)}", _status(data["error"]))
    finish = "error" if choice.get("error") or data.get("error") else _finish(choice.get("finish_reason"))
    usage = data.get("usage")
    # A reply without a count is still a reply; its tokens are then unknown, not 0.
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=text or refusal,
        # A refusal alone is graded, as a wrong answer; what was said beside one is the answer.
        finish="refusal" if refusal and not text else finish,
        tokens=_generated(usage, said=bool(text + reasoning + refusal)),
        prompt_tokens=_prompt(usage) or None,  # no prompt has none: 0 is a server that did not count
        reasoning=reasoning,
        arguments=_arguments(said),
        logprobs=_logprobs(choice.get("logprobs")),
        structured=structured,
        served=endpoint_words(data["model"])[:_MOST_NAME] if isinstance(data.get("model"), str) else "",
    )


def text_of(content: Any) -> str:
    """The text of a message's content: as it is, or joined from a list of parts; "" for what holds no text."""
    return _split(content)[0]


def finished(tail: bytes) -> bool:
    """Whether the end of an event stream has come; a server may keep the connection open after it."""
    return _DONE.search(tail) is not None


def endpoint_words(body: bytes | str) -> str:
    """An endpoint's own words on one line: the message of an error, a page without its tags; at most `MAX_WORDS`."""
    text = body if isinstance(body, str) else body[:100_000].decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        found = data.get("error") or data.get("detail") or data.get("message") or data
        if isinstance(found, dict):
            found = found.get("message") or found
        text = found if isinstance(found, str) else json.dumps(found)
    elif text.lstrip()[:1] == "<":
        text = _TAG.sub(" ", text)
    text = " ".join(_CONTROL.sub(" ", text).split())
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}..."


def _parsed(body: bytes) -> Any:
    text = body.decode("utf-8-sig", "replace").strip()
    if not text:
        raise UnreadableError("sent an empty body")
    # Some servers stream whether or not they are asked to.
    if _EVENT.match(text):
        return _merged(text)
    if text[0] == "<":
        raise UnreadableError(f"sent a web page in place of JSON: {endpoint_words(text)}")
    try:
        return json.loads(text)
    except RecursionError:
        raise UnreadableError("sent JSON that is nested too deep to be read") from None
    except ValueError as error:
        what = "no JSON" if text[0] not in "{[" else f"JSON that cannot be read ({str(error)[:80]})"
        raise UnreadableError(f"sent {what}: {endpoint_words(text)}") from None


def _merged(text: str) -> JsonObject:
    """A streamed completion put together, in the form of one that came at once."""
    parts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
    usage: Any = None
    model = ""
    ended: Any = None
    logprobs: list[Any] = []
    for event in re.split("\n\n", re.sub(r"\r\n?", "\n", text)):
        # Not splitlines, which also parts at U+2028 and its like, as they stand within the JSON of some servers.
        data = "\n".join(line[5:].strip() for line in event.split("\n") if line.startswith("data:"))
        if not data:
            continue
        if data == "[DONE]":
            # A server that names no finish reason has still said that it is done.
            ended = ended or "stop"
            break
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise UnreadableError(
                f"sent an event stream with a piece that is no JSON: {endpoint_words(data)}"
            ) from None
        if not isinstance(chunk, dict) or chunk.get("error"):
            status = _status(chunk.get("error")) if isinstance(chunk, dict) else None
            raise UnreadableError(f"sent an error in the stream: {endpoint_words(data)}", status)
        # It comes in the last event, in one behind it without choices, or in every one of them.
        usage = chunk.get("usage") or usage
        model = chunk.get("model") or model
        choice = _first_choice(chunk.get("choices"), strict=True) or {}
        ended = choice.get("finish_reason") or ended
        delta = next((choice[name] for name in ("delta", "message") if isinstance(choice.get(name), dict)), choice)
        if delta is choice.get("message"):  # the whole reply once more
            parts = {name: [] for name in parts}
        said, thought = _said(delta)
        parts["content"].append(said)
        parts["reasoning_content"].append(thought)
        parts["refusal"].append(text_of(delta.get("refusal")))
        if isinstance(choice.get("logprobs"), dict) and isinstance(choice["logprobs"].get("content"), list):
            logprobs += choice["logprobs"]["content"]
    # Without this a reply that a proxy cut off would be graded as what the model said.
    if ended is None:
        raise UnreadableError("sent a stream that ended in the middle of the reply")
    choice = {"message": {name: "".join(texts) for name, texts in parts.items()}, "finish_reason": ended}
    return {
        "choices": [{**choice, "logprobs": {"content": logprobs} if logprobs else None}],
        "usage": usage,
        "model": model,
    }


def _said(message: JsonObject) -> tuple[str, str]:
    """The answer and the thoughts in a message, or in a piece of one."""
    text, thoughts = _split(message.get("content") if "content" in message else message.get("text"))
    return text, thoughts or next((found for name in _THOUGHTS if (found := text_of(message.get(name)))), "")


def _arguments(message: JsonObject) -> str:
    """The arguments of the only tool that a message calls; "" where it calls none, or several."""
    calls = message.get("tool_calls")
    called = [one for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
    function = called[0].get("function") if len(called) == 1 else message.get("function_call")
    given = function.get("arguments") if isinstance(function, dict) else None
    return given if isinstance(given, str) else json.dumps(given) if isinstance(given, dict) else ""


def _first_choice(choices: Any, strict: bool = False) -> JsonObject | None:
    """The choice of index 0, wherever it stands: others are other replies. Unless ``strict``, else the first one."""
    offered = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    first = next((one for one in offered if one.get("index") in (0, None)), None)
    return first or (None if strict or not offered else offered[0])


def _split(content: Any) -> tuple[str, str]:
    """The answer and the thoughts in a content: text, or parts of either kind."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return "", ""
    text: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type", ""))
            inner = part.get("text", part.get("thinking", part.get("content", part.get("value"))))
            inner = inner.get("value") if isinstance(inner, dict) else inner
            found = inner if isinstance(inner, str) else _flat(inner)
            (thoughts if re.search("think|reason", kind) or "thinking" in part else text).append(found)
    return "".join(text), "".join(thoughts)


def _flat(parts: Any) -> str:
    """The texts of parts within a part; one level, so hostile nesting ends here."""
    found = [part.get("text") if isinstance(part, dict) else part for part in parts] if isinstance(parts, list) else []
    return "".join(text for text in found if isinstance(text, str))


def _finish(word: Any) -> str:
    """A finish reason in our words; null, which some servers leave, ends a reply well."""
    if not isinstance(word, str):
        return "stop"
    return next((name for name, pattern in _FINISHES if pattern.search(word)), "stop")


def _logprobs(found: Any) -> tuple[float, ...] | None:
    if not isinstance(found, dict):
        return None
    entries = found.get("content", found.get("token_logprobs"))
    values = [e.get("logprob") if isinstance(e, dict) else e for e in entries] if isinstance(entries, list) else []
    numbers = tuple(float(value) for value in values if isinstance(value, (int, float)))
    return numbers or None


def _status(error: Any) -> int | None:
    """The status that an error in a reply names, where it names one."""
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isdigit() and len(code) == 3 else code
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _count(value: Any) -> int | None:
    try:
        # Some servers count in text or in floats.
        return None if isinstance(value, bool) else min(max(int(value), 0), _MOST_TOKENS)
    except (TypeError, ValueError, OverflowError):
        return None


def _tokens(usage: JsonObject, *names: str) -> int | None:
    """The first count of tokens that a usage has under one of these names."""
    return next((count for name in names if (count := _count(usage.get(f"{name}_tokens"))) is not None), None)


def _prompt(usage: JsonObject) -> int | None:
    """The tokens of the prompt, those of a cache among them.

    Anthropic counts these beside ``input_tokens``, OpenAI and DeepSeek within ``prompt_tokens``. A router may give both
    kinds of names, with either meaning: more tokens of a cache than of the prompt are none of it.
    """
    tokens = _tokens(usage, "prompt", "input")
    cached = (_tokens(usage, "cache_read_input") or 0) + (_tokens(usage, "cache_creation_input") or 0)
    beside = "prompt_tokens" not in usage or cached > (tokens or 0)
    return tokens + cached if tokens is not None and beside else tokens


def _generated(usage: JsonObject, said: bool) -> int | None:
    """The tokens that a model generated, its thoughts included; None where something was ``said`` and 0 are counted.

    Some providers count thoughts in the total alone, or apart from the tokens of the answer.
    """
    answer, prompt = _tokens(usage, "completion", "output"), _prompt(usage)
    details = usage.get("completion_tokens_details")
    thoughts = _tokens(details, "reasoning") if isinstance(details, dict) else None
    if answer is None or (said and not answer and not thoughts):
        return None
    counts = [answer if (thoughts or 0) <= answer else answer + (thoughts or 0)]
    if prompt is not None:
        counts.append((_tokens(usage, "total") or 0) - prompt)
    return max(counts)


def _kind(value: Any) -> str:
    names = {list: "list", str: "text", bool: "true or false", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
