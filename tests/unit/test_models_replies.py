"""Every kind of reply against every command that asks an endpoint: no traceback, no call lost or repeated, no key."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import GOOD, KEY, Play, problems_file, said, serving, streamed
from typer.testing import CliRunner

from sgpo.commands import evaluate, strategies
from sgpo.strategies.records import AnsweredCall, Problem, Setup
from sgpo.strategies.records import Key as CallKey
from sgpo.strategies.schema import CRITERIA, Strategy
from sgpo.strategies.store import Store

HTML = {"Content-Type": "text/html"}
SSE = {"Content-Type": "text/event-stream"}


def body(text: str) -> bytes:
    return json.dumps(said(text).body).encode()


def choice(**fields: Any) -> Play:
    """A reply whose only choice has these fields."""
    return Play({"choices": [fields], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


def events(*chunks: Any, done: bool = True, **play: Any) -> Play:
    data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")
    return Play(data.encode(), headers=SSE, **play)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


# What the endpoint plays, given a text that is of use to the command. "read": the text is taken, at the first time of
# asking. "fault": it is no answer; eval asks again. "lost": no reply; one line with the endpoint's words, asked by the
# next run.
KINDS: dict[str, tuple[Callable[[str], Play], str, str]] = {
    "parts": (lambda t: said([{"type": "text", "text": t[:5]}, {"type": "text", "text": t[5:]}]), "read", ""),
    "parts of a thinking model": (
        lambda t: said([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, t]),
        "read",
        "",
    ),
    "one part": (lambda t: said({"type": "text", "text": t}), "read", ""),
    "texts in a list": (lambda t: said([t]), "read", ""),
    "reasoning apart": (lambda t: said(t, reasoning_content="I think"), "read", ""),
    "reasoning apart, in OpenRouter's way": (
        lambda t: said(t, reasoning_details=[{"type": "reasoning.text", "text": "I think"}]),
        "read",
        "",
    ),
    "finish null": (lambda t: said(t, None), "read", ""),  # type: ignore[arg-type]
    "finish eos_token": (lambda t: said(t, "eos_token"), "read", ""),
    "finish a number": (lambda t: choice(message={"content": t}, finish_reason=3), "read", ""),
    "tool calls null": (lambda t: said(t, tool_calls=None, function_call=None), "read", ""),
    "usage null": (lambda t: said(t, tokens=None), "read", ""),
    "usage a list": (lambda t: Play({**said(t).body, "usage": [1]}), "read", ""),
    "usage of nonsense": (lambda t: said(t, tokens=(-3, 10**30)), "read", ""),
    "text in place of a message": (lambda t: choice(text=t, finish_reason="stop"), "read", ""),
    "JSON said to be HTML": (lambda t: Play(body(t), headers=HTML), "read", ""),
    "a byte order mark": (lambda t: Play(b"\xef\xbb\xbf" + body(t)), "read", ""),
    "invalid UTF-8 beside the text": (lambda t: Play(body(t).replace(b'"x"', b'"\xff\xfe"')), "read", ""),
    "gzip": (lambda t: Play(gzip.compress(body(t)), headers={"Content-Encoding": "gzip"}), "read", ""),
    "an event stream unasked": (lambda t: streamed(t), "read", ""),
    "a stream with choices null": (
        lambda t: events({"choices": None}, delta(role="assistant", content=None), delta(content=t), delta("stop")),
        "read",
        "",
    ),
    "a stream of reasoning and parts": (
        lambda t: events(delta(reasoning="so"), delta(content=[{"type": "text", "text": t}]), delta("stop")),
        "read",
        "",
    ),
    "a stream with comments, done without a finish": (
        lambda t: Play(b": ping\r\n\r\n" + events(delta(content=t)).body.replace(b"\n", b"\r\n"), headers=SSE),
        "read",
        "",
    ),
    "a stream with ends of lines of old": (
        lambda t: Play(streamed(t).body.replace(b"\n", b"\r"), headers=SSE),
        "read",
        "",
    ),
    "a stream of two replies": (
        lambda t: events(
            delta(content=t), {"choices": [{"index": 1, "delta": {"content": "\\boxed{9} {"}}]}, delta("stop")
        ),
        "read",
        "",
    ),
    "a stream that ends with the whole reply": (
        lambda t: events(
            delta(content=t[:9]), {"choices": [{"index": 0, "message": {"content": t}, "finish_reason": "stop"}]}
        ),
        "read",
        "",
    ),
    "the reply behind another one": (
        lambda t: Play(
            {
                "choices": [
                    {"index": 1, "message": {"content": "\\boxed{9}"}, "finish_reason": "stop"},
                    {"index": 0, "message": {"content": t}, "finish_reason": "stop"},
                ]
            }
        ),
        "read",
        "",
    ),
    "an error beside half of a reply": (
        lambda t: Play({**said("half").body, "error": {"message": "x"}}),
        "fault",
        "error",
    ),
    "the key in the text": (lambda t: said(t.replace("way", f"way {KEY}")), "read", ""),
    "null": (lambda t: said(None), "fault", "empty"),
    "nothing": (lambda t: said(""), "fault", "empty"),
    "white space": (lambda t: said(" \n"), "fault", "empty"),
    "no parts": (lambda t: said([]), "fault", "empty"),
    "a picture": (lambda t: said([{"type": "image_url", "image_url": {"url": "u"}}]), "fault", "empty"),
    "a number": (lambda t: said(42), "fault", "empty"),
    "reasoning alone": (lambda t: said(None, reasoning_content=f"I draft {t}"), "fault", "empty"),
    "reasoning alone, by another name": (lambda t: said("", reasoning=f"I draft {t}"), "fault", "empty"),
    "finish error": (lambda t: said("half", "error"), "fault", "error"),
    "finish abort": (lambda t: said("half", "abort"), "fault", "abort"),
    "finish insufficient_system_resource": (
        lambda t: said("half", "insufficient_system_resource"),
        "fault",
        "error",
    ),
    "finish content_filter": (lambda t: said("half", "content_filter"), "fault", "content_filter"),
    "finish tool_calls": (lambda t: said(None, "tool_calls", tool_calls=[{"id": "1"}]), "fault", "tool_calls"),
    "an error in the choice": (
        lambda t: choice(message={"content": "half"}, error={"message": "upstream"}),
        "fault",
        "error",
    ),
    "a page": (lambda t: Play(b"<html><b>Log in</b> here</html>", headers=HTML), "lost", "web page .*: Log in here"),
    "an empty body": (lambda t: Play(b""), "lost", "an empty body"),
    "a list": (lambda t: Play([1, 2]), "lost", "JSON list in place of an object: .1, 2"),
    "JSON null": (lambda t: Play(b"null"), "lost", "JSON null"),
    "JSON number": (lambda t: Play(b"42"), "lost", "JSON number"),
    "JSON text": (lambda t: Play(b'"no"'), "lost", "JSON text"),
    "JSON too deep": (lambda t: Play(b'{"choices":' + b"[" * 200_000), "lost", "too deep"),
    "a number too long": (lambda t: Play(b'{"choices": ' + b"9" * 10_000 + b"}"), "lost", "cannot be read"),
    "half of the JSON": (lambda t: Play(body(t)[:-9]), "lost", "cannot be read"),
    "plain words": (lambda t: Play(b"model is loading"), "lost", "no JSON: model is loading"),
    "an error with 200": (lambda t: Play({"error": {"message": "no such model"}}), "lost", "no such model"),
    "an error that is text, with 200": (lambda t: Play({"error": "disk full"}), "lost", "disk full"),
    "message null": (lambda t: choice(message=None, finish_reason="stop"), "lost", "without a message"),
    "choices empty": (lambda t: Play({"choices": []}), "lost", "without choices"),
    "choices null": (lambda t: Play({"choices": None}), "lost", "without choices"),
    "choices of null": (lambda t: Play({"choices": [None]}), "lost", "without choices"),
    "an error beside an empty reply": (
        lambda t: Play({**said(None, tokens=(0, 0)).body, "error": {"message": "upstream is busy"}}),
        "lost",
        "upstream is busy",
    ),
    "another protocol": (lambda t: Play({"message": {"content": t}}), "lost", "without choices"),
    "a stream that breaks off": (lambda t: events(delta(content=t), done=False), "lost", "in the middle"),
    "an error in a stream": (lambda t: events({"error": {"message": "out of memory"}}), "lost", "out of memory"),
    "a broken stream": (lambda t: Play(b"data: {x\n\n", headers=SSE), "lost", "no JSON"),
    "gzip that is none": (lambda t: Play(body(t), headers={"Content-Encoding": "gzip"}), "lost", "not compressed"),
    "a redirect": (lambda t: Play(b"", 302, {"Location": f"http://x/?key={KEY}"}), "lost", r"redirects to http://x/"),
    "not found": (lambda t: Play({"detail": "Not Found"}, 404), "lost", "Not Found.*Check --base-url"),
    "a page with 502": (lambda t: Play(b"<h1>Bad gateway</h1>", 502, HTML), "lost", "Bad gateway"),
    "refused, with the key": (lambda t: Play({"error": f"bad key {KEY}"}, 400), "lost", r"bad key \[key\]"),
    "no HTTP": (lambda t: Play(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "lost", "connection"),
    "a closed connection": (lambda t: Play(raw=b""), "lost", "connection"),
    "half of the body": (lambda t: Play(body(t), cut=True), "lost", "connection"),
    "a trickle": (lambda t: Play(body(t), trickle=0.05), "lost", "did not end within the 3 s"),
}
VICTIM = "2 + 2"
PATIENCE, SHORT = 60, 3  # seconds for a reply; a trickle alone is to reach the end of them, after ten and more


def text_for(request: dict[str, Any]) -> str:
    """What is of use to the command that asks."""
    asked = request["messages"][-1]["content"]
    shown = asked.count("<candidate number=")
    if shown:
        scores = [{"candidate": i + 1, **dict.fromkeys(CRITERIA, 3)} for i in range(shown)]
        return json.dumps({"way": 1, "scores": scores})
    return "One way: \\boxed{4}" if "boxed" in asked else json.dumps({**GOOD, "strategy": "A good way."})


def ask_eval(folder: Path, url: str) -> list[Any]:
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"problem": f"{i} + {i}", "answer": "4"}) + "\n" for i in (1, 2)))
    return [evaluate.app, "m", "--data", data, "--out", folder / "out", "--k", 1]


def ask_extract(folder: Path, url: str) -> list[Any]:
    source = problems_file(folder / "problems.jsonl", 3)
    return [strategies.app, "extract", source, "-m", "m", "--store", folder / "s.db", "--n", 1]


def ask_rank(folder: Path, url: str) -> list[Any]:
    if not (folder / "s.db").exists():
        setup = Setup("extract", "m", "p", "sha", {})
        parsed = Strategy.model_validate(GOOD).model_dump_json()
        with Store(folder / "s.db") as store:
            store.add_setup(setup)
            store.add_problems([Problem(f"p{i}", f"What is {i} + {i}?", "4", "4") for i in (1, 2)])
            store.record(
                AnsweredCall(CallKey(setup.id, f"p{i}", n), "ok", "", parsed, 1, 1) for i in (1, 2) for n in (0, 1)
            )
    return [strategies.app, "rank", "-m", "m", "--store", folder / "s.db"]


COMMANDS = {"eval": ask_eval, "extract": ask_extract, "rank": ask_rank}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGPO_TEST_KEY", KEY)


def run(command: str, folder: Path, url: str, *more: Any, timeout: float = PATIENCE) -> str:
    """Output and error of a command in one text; whatever is no clean end fails the test."""
    app, *arguments = COMMANDS[command](folder, url)
    arguments += ["--request-timeout" if command == "eval" else "--timeout", timeout]
    given = [*arguments, "--base-url", url, "--api-key-env", "SGPO_TEST_KEY", "--retries", 0, "--concurrency", 1, *more]
    result = CliRunner().invoke(app, [str(argument) for argument in given])
    # `sgpo` shows a ValueError as one line
    assert result.exception is None or isinstance(result.exception, (ValueError, SystemExit)), result.exception
    return " ".join((result.output + " " + str(result.exception or "")).split())


def asked(server: Any) -> int:
    return sum(VICTIM in request["messages"][-1]["content"] for request in server.bodies)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_reply_to_any_command(kind: str, command: str, tmp_path: Path) -> None:
    play, what, words = KINDS[kind]

    def script(request: dict[str, Any], number: int) -> Play:
        hurt = VICTIM in request["messages"][-1]["content"]
        return play(text_for(request)) if hurt else said(text_for(request))

    with serving(script) as server:
        shown = run(command, tmp_path, server.url, timeout=SHORT if kind == "a trickle" else PATIENCE)
        assert KEY not in shown
        if what == "read":
            assert (asked(server), len(server.bodies)) == (1, 2 if command != "extract" else 3), shown
        elif what == "fault":
            assert asked(server) == (3 if command == "eval" else 1), shown
            named = {"content_filter": "refusal", "tool_calls": "empty"}.get(words, words)
            assert f"{words if command == 'eval' else named} 1" in shown
        else:
            assert asked(server) == (2 if kind in ("not found", "refused, with the key") and command != "eval" else 1)
            assert re.search(words, shown), shown
            assert server.url in shown
        first = len(server.bodies)
        good = first - asked(server)
        server.script = lambda request, number: said(text_for(request))
        shown = run(command, tmp_path, server.url)
        # a lost reply is asked again; one that was no answer by eval, and by the others where it broke off
        again = what == "lost" or (what == "fault" and (command == "eval" or words in ("error", "abort")))
        missing = 0 if what != "lost" else (2 if command != "extract" else 3) - good - 1  # eval stops at a failure
        assert len(server.bodies) - first == (1 if again else 0) + missing, shown
        run(command, tmp_path, server.url)
        assert len(server.bodies) == first + (1 if again else 0) + missing
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
    if command == "eval":
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        assert results["reasons"] == {"exact": 2}


def test_an_address_without_v1_is_said(tmp_path: Path) -> None:
    with serving(lambda request, number: Play({"detail": "Not Found"}, 404)) as server:
        shown = run("eval", tmp_path, server.url, "--base-url", server.url.removesuffix("/v1"))
    assert f"/v1 may be missing, as in {server.url}, and whether 'm' is served" in shown


@pytest.mark.parametrize(
    ("given", "tokens"), [("5", 5), (5.0, 5), (True, None), ("x", None), (1e400, None), ([5], None)]
)
def test_token_counts_in_any_type(given: Any, tokens: int | None) -> None:
    from sgpo.models.replies import read_reply

    sent = {**said("x").body, "usage": {"completion_tokens": given}}
    assert read_reply(json.dumps(sent).encode()).tokens == tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ((10, 5, 115), 105),  # xAI, Gemini: thoughts stand in the total alone
        ((10, 105, 115), 105),
        ((10, 105, 0), 105),
        ((None, 105, 115), 105),
        ((10, None, 115), None),
        ((0, 0, 0), None),  # no count at all
        ((10, 0, 10), None),
    ],
)
def test_thoughts_that_a_provider_counts_in_the_total_alone_are_paid_for(usage: tuple[Any, ...], tokens: int) -> None:
    from sgpo.models.replies import read_reply

    counts = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), usage, strict=True))
    assert read_reply(json.dumps({**said("x").body, "usage": counts}).encode()).tokens == tokens


def test_counts_by_other_names_and_counts_of_nothing() -> None:
    """Anthropic's names; thoughts apart from the tokens of the answer; and 0 where a server does not count."""
    from sgpo.models.replies import read_reply

    def counted(content: str, **usage: Any) -> tuple[int | None, int | None]:
        reply = read_reply(json.dumps({**said(content).body, "usage": usage}).encode())
        return reply.prompt_tokens, reply.tokens

    assert counted("x", input_tokens=10, output_tokens=5) == (10, 5)
    apart = {"completion_tokens_details": {"reasoning_tokens": 90}}
    assert counted("x", prompt_tokens=10, completion_tokens=5, **apart) == (10, 95)
    assert counted("x", prompt_tokens=10, completion_tokens=0, **apart) == (10, 90)
    assert counted("x", prompt_tokens=10, completion_tokens=100, **apart) == (10, 100)
    assert counted("x", prompt_tokens=0, completion_tokens=0, total_tokens=0) == (None, None)
    assert counted("", prompt_tokens=10, completion_tokens=0) == (10, 0)
    cache = {"cache_read_input_tokens": 30, "cache_creation_input_tokens": 20}
    assert counted("x", input_tokens=100, output_tokens=5, **cache) == (150, 5)  # Anthropic's own names
    assert counted("x", prompt_tokens=10, completion_tokens=5, total_tokens=65, **cache) == (60, 5)
    assert counted("x", prompt_tokens=100, completion_tokens=5, total_tokens=105, **cache) == (100, 5)  # LiteLLM's sums
    assert counted("x", prompt_tokens=100, completion_tokens=5, prompt_cache_hit_tokens=90) == (100, 5)  # DeepSeek


@pytest.mark.parametrize("status", [429, "503"])
def test_an_error_beside_an_empty_reply_is_tried_again_by_its_status(status: Any, tmp_path: Path) -> None:
    busy = Play({**said(None, tokens=(0, 0)).body, "error": {"message": "Provider returned error", "code": status}})
    with serving(lambda request, number: busy if number == 2 else said(text_for(request))) as server:
        shown = run("extract", tmp_path, server.url, "--retries", 1)
    assert "ok 3" in shown
    assert "without an answer" not in shown
    assert len(server.bodies) == 4


@pytest.mark.parametrize(
    "word", ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"]
)
def test_a_reply_that_a_limit_cut_is_known_by_any_word(word: str) -> None:
    from sgpo.models.replies import read_reply

    assert read_reply(json.dumps(said("x", word).body).encode()).finish == "length"


def test_a_stream_keeps_characters_that_end_lines_elsewhere() -> None:
    from sgpo.models.replies import read_reply

    chunks = (delta(content="a\u2028b\x85c\x0cd"), delta("stop"))
    data = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks)
    assert read_reply(data.encode()).text == "a\u2028b\x85c\x0cd"


def test_a_whole_reply_at_the_end_of_a_stream_is_not_said_twice() -> None:
    from sgpo.models.replies import read_reply

    whole = {"choices": [{"index": 0, "message": {"content": "abc"}, "finish_reason": "stop"}]}
    for play in (
        events(delta(content="ab"), whole),
        events(delta(content="abc"), {"choices": [{"index": 1, "delta": {"content": "d"}}]}),
    ):
        assert read_reply(play.body).text == "abc"


def test_reasoning_is_kept_apart(tmp_path: Path) -> None:
    with serving(lambda request, number: said("\\boxed{4}", reasoning_content=f"I say {KEY}")) as server:
        run("eval", tmp_path, server.url)
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    assert [(row["text"], row["reasoning"]) for row in rows] == [("\\boxed{4}", "I say [key]")] * 2


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (said(None), r"None of 2 replies holds an answer \(empty 2\)"),
        (said(None, "content_filter"), r"\(content_filter 2\)"),
        (said(None, reasoning_content="so"), "reasoning parser"),
        (said("", "length"), r"cut by the limit 2\).* Raise --max-new-tokens"),
    ],
)
def test_an_evaluation_without_an_answer_is_an_error_and_no_score(play: Play, words: str, tmp_path: Path) -> None:
    with serving(lambda request, number: play) as server:
        shown = run("eval", tmp_path, server.url)
    assert re.search(words, shown), shown
    assert not (tmp_path / "out" / "results.json").exists()


def test_an_endpoint_that_says_nothing_is_not_paid_for_the_whole_benchmark(tmp_path: Path) -> None:
    with serving(lambda request, number: said("")) as server:
        shown = run("eval", tmp_path, server.url, "--k", 300)
        assert len(server.bodies) <= 3 * 22
    assert "holds an answer" in shown


def test_rows_of_older_versions_are_read(tmp_path: Path) -> None:
    """A list of parts was saved as it came; an empty reply was saved and scored as wrong."""
    with serving(lambda request, number: said("\\boxed{4}")) as server:
        run("eval", tmp_path, server.url)
        responses = tmp_path / "out" / "responses.jsonl"
        rows = [json.loads(line) for line in responses.read_text().splitlines()]
        rows[0]["text"], rows[1]["text"] = [{"type": "text", "text": "\\boxed{4}"}], ""
        responses.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "out" / "verdicts.jsonl").unlink()
        run("eval", tmp_path, server.url)
        assert len(server.bodies) == 3
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["reasons"] == {"exact": 2}


@pytest.mark.parametrize("field", ["text", "truncated", "sample"])
def test_a_stored_row_that_lacks_a_field_is_one_line(field: str, tmp_path: Path) -> None:
    with serving(lambda request, number: said("\\boxed{4}")) as server:
        run("eval", tmp_path, server.url)
        responses = tmp_path / "out" / "responses.jsonl"
        rows = [json.loads(line) for line in responses.read_text().splitlines()]
        del rows[1][field]
        responses.write_text("".join(json.dumps(row) + "\n" for row in rows))
        shown = run("eval", tmp_path, server.url)
    assert f"{responses}, line 2" in shown
    assert f"has no '{field}'" in shown
    assert "remove the line" in shown


def test_a_reply_that_trickles_ends_at_the_deadline_and_is_not_paid_for_again(tmp_path: Path) -> None:
    with serving(lambda request, number: Play(body("x" * 100), trickle=0.05)) as server:
        shown = run("extract", tmp_path, server.url, "--retries", 5, "--give-up-after", 1, timeout=SHORT)
        assert len(server.bodies) == 1
    assert "timeout" in shown


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY} "])
def test_white_space_around_a_key_is_taken_off(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGPO_TEST_KEY", value)
    with serving(lambda request, number: said(f"\\boxed{{4}} {KEY}")) as server:
        run("eval", tmp_path, server.url)
        assert server.keys == {f"Bearer {KEY}"}
    assert all(KEY not in path.read_text() for path in (tmp_path / "out").iterdir())


SECRET = "pa55word-0123456789"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("variable", "options", "words"),
    [
        ("schlüssel-" + SECRET, [], "holds no usable key: character 5 of 29 is no ASCII"),
        (f"Bearer {SECRET}", [], "holds no usable key: character 7 of 26 is white space"),
        (f"{SECRET}\n{SECRET}", [], "holds no usable key"),
        (SECRET, ["--base-url", f"http://user:{SECRET}@127.0.0.1:1/v1"], "holds a user or password"),
        (SECRET, ["--base-url", f"user:{SECRET}@127.0.0.1:1/v1"], "holds a user or password"),
        (SECRET, ["--base-url", f"http://127.0.0.1:1/v1?key={SECRET}"], "must end before"),
        (SECRET, ["--base-url", f"http://127.0.0.1:1/{SECRET}/v1"], "base_url holds the key"),
        (SECRET, ["--base-url", SECRET], "must begin with http"),
        (SECRET, ["--base-url", f"http://127.0.0.1:{SECRET}/v1"], "must begin with http"),
        (SECRET, ["--extra-body", json.dumps({"x": {"y": [f"Bearer {SECRET}"]}})], "extra_body holds the key"),
        ("other-key-000", ["--extra-body", json.dumps({"api_key": SECRET})], "extra_body holds the key"),
        ("other-key-000", ["--extra-body", json.dumps({"h": {"Authorization": SECRET}})], "extra_body holds the key"),
        ("other-key-000", ["--extra-body", f'{{"api_key": "{SECRET}"'], "--extra-body is not valid JSON"),
        ("other-key-000", ["--extra-body", json.dumps([SECRET])], "--extra-body must be a JSON object"),
        ("", ["--api-key-env", SECRET, "--backend", "endpoint"], "The variable that --api-key-env names is not set"),
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_shown(
    variable: str, options: list[str], words: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGPO_TEST_KEY", variable)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with serving(lambda request, number: said("no")) as server:
        app, *arguments = COMMANDS[command](tmp_path, server.url)
        url = [] if "--backend" in options else ["--base-url", server.url]
        given = [*arguments, *url, "--api-key-env", "SGPO_TEST_KEY", *options]
        result = CliRunner().invoke(app, [str(argument) for argument in given])
        assert server.bodies == []
    assert isinstance(result.exception, ValueError)
    shown = result.output + str(result.exception)
    assert words.lower() in shown.lower()
    assert SECRET not in shown
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_no_key_in_the_store_whatever_the_endpoint_echoes(tmp_path: Path) -> None:
    forms = [KEY, KEY.replace("-", "\\u002d"), f'{{"k": "{KEY}"}}']
    with serving(lambda request, number: said(f"no {forms[number % 3]}", reasoning=KEY)) as server:
        shown = run("extract", tmp_path, server.url)
    assert KEY not in shown
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert all("[key]" in raw or "u002d" in raw for (raw,) in db.execute("SELECT raw FROM calls"))
    assert KEY.encode() not in (tmp_path / "s.db").read_bytes()


@pytest.mark.parametrize(
    "form", [KEY[:9] + "****" + KEY[-4:], KEY[:10] + "...", base64.b64encode(KEY.encode()).decode()]
)
def test_no_part_of_the_key_in_an_error_that_shows_one(form: str, tmp_path: Path) -> None:
    with serving(lambda request, number: Play({"error": {"message": f"Incorrect API key: {form}."}}, 401)) as server:
        shown = run("eval", tmp_path, server.url)
    assert "Incorrect API key: [key]" in shown
    assert KEY[:8] not in shown
    assert form not in shown


@pytest.mark.parametrize("out", ["/dev/null", "data.jsonl"])
def test_a_folder_that_is_none_is_said_and_left_alone(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(lambda request, number: said("\\boxed{4}")) as server:
        shown = run("eval", tmp_path, server.url, "--out", out)
        assert server.bodies == []
    assert f"--out {out} is no folder" in shown
    assert not Path("/dev/null").is_file()


def test_the_wait_that_an_endpoint_asks_for_may_be_a_date() -> None:
    from email.utils import formatdate
    from time import time

    from sgpo.models.endpoint import _retry_after

    assert _retry_after({"retry-after": "7"}) == 7
    assert _retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert 30 < (_retry_after({"retry-after": formatdate(time() + 110, usegmt=True)}) or 0) <= 110
    assert _retry_after({"retry-after": "99999"}) == 120
    assert _retry_after({"retry-after": "soon"}) is None
    assert _retry_after({}) is None
