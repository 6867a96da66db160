"""The guided prompt: where a strategy enters, and that it enters nowhere else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE, check_template, guided_prompt

TEXT = st.text(max_size=30) | st.sampled_from(["{prompt}", "{strategy}", "{0}", "%s", "{", "}}", "\\1", "$a_{n}$"])


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_both_texts_go_in_literally(before: str, between: str, after: str, prompt: str, strategy: str) -> None:
    fixed = [part.replace("{prompt}", "").replace("{strategy}", "") for part in (before, between, after)]
    template = fixed[0] + "{prompt}" + fixed[1] + "{strategy}" + fixed[2]
    assert guided_prompt(prompt, strategy, template) == fixed[0] + prompt + fixed[1] + strategy + fixed[2]
    template = fixed[0] + "{strategy}" + fixed[1] + "{prompt}" + fixed[2]
    assert guided_prompt(prompt, strategy, template) == fixed[0] + strategy + fixed[1] + prompt + fixed[2]


@given(TEXT, TEXT)
def test_default_template_starts_with_the_prompt(prompt: str, strategy: str) -> None:
    """So that guided and unguided rollouts share a prefix."""
    text = guided_prompt(prompt, strategy)
    assert isinstance(text, str)
    assert text.startswith(prompt + "\n")
    assert strategy in text[len(prompt) :]


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=5), TEXT, TEXT, st.booleans()
)
def test_only_the_last_user_message_changes(turns: Any, text: str, strategy: str, prefilled: bool) -> None:
    head = [message(role, content) for role, content in turns]
    tail = [message("assistant", "So")] if prefilled else []
    prompt = [*head, message("user", text), *tail]
    before = copy.deepcopy(prompt)
    guided = guided_prompt(prompt, strategy, "{strategy}|{prompt}")
    assert guided == [*head, message("user", f"{strategy}|{text}"), *tail]
    assert prompt == before, "the argument was changed"


def test_other_keys_of_a_message_stay() -> None:
    guided = guided_prompt([{**message("user", "q"), "name": "x"}], "s", "{prompt} {strategy}")
    assert guided == [{"role": "user", "content": "q s", "name": "x"}]


@pytest.mark.parametrize("prompt", [[], [message("system", "q")], [message("user", None)]])
def test_conversation_without_user_text(prompt: Any) -> None:
    with pytest.raises(ValueError, match="needs a user message with text") as error:
        guided_prompt(prompt, "s")
    assert str([m["role"] for m in prompt]) in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{prompt}",
        "{strategy}",
        "{prompt} {prompt} {strategy}",
        "{prompt} {strategy} {strategy}",
        "{ prompt }{strategy}",
    ],
)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(ValueError, match="exactly once each"):
        check_template(template)


def test_templates_that_are() -> None:
    check_template(DEFAULT_GUIDED_TEMPLATE)
    check_template("{strategy}{prompt}{other} {}")
    with pytest.raises(ValueError, match="None must contain"):
        check_template(None)  # type: ignore[arg-type]
