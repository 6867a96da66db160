"""What is kept of a run holds no key, whatever it is called and wherever it stands; and nothing else is struck out."""

import pytest

from sgpo.runs.redaction import redacted, redacted_command, redacted_text

KEY = "S3cr3tValue99"
ASSIGNED = [
    "OPENAI_KEY={}",
    "+HF_TOKEN = '{}'",
    'password: "two words {}"',
    "TOKEN={}",
    "token: {}",
    "SLACK_TOKEN={}",
    "AccountKey={}",
    "Authorization: Basic {}==",
    "https://{}@github.com/x.git",
    "export DB_PASS={}",
    "passphrase = {}",
    "aws_session_token={}",
    "pwd={}",
    "https://hooks.slack.com/services/T000/B000/{}",
    "train --hub_token {}",
    "secret_key='''{}'''",
    '"api_key": ["{}"]',
    'API_KEY: str = "{}"',
    "gsk_{0}{0}",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n{}",
]
HARMLESS = [
    "max_tokens=100",
    "pad_token='<pad>'",
    "key=lambda x: x",
    "answer_key = 3",
    "primary_key=True",
    "token = tokenizer.decode(ids)",
    "for token in tokens:",
    "secrets.choice(x)",
    "the key idea",
]


@pytest.mark.parametrize("text", ASSIGNED)
def test_a_key_is_struck_out_of_a_text(text: str) -> None:
    found = redacted_text(f"+x = 1\n{text.format(KEY)}\n+y = 2\n")
    assert KEY not in found
    assert "+x = 1" in found
    assert "***" in found


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_key_stays(text: str) -> None:
    assert redacted_text(text) == text
    assert redacted_command(text.split()) == text.split()


def test_fields_and_options() -> None:
    given = {"wandb_key": KEY, "env": {"OPENAI_KEY": KEY}, "api_key": [KEY], "pad_token": "<pad>", "key": "question"}
    kept = {"wandb_key": "***", "env": {"OPENAI_KEY": "***"}, "api_key": ["***"], "pad_token": "<pad>"}
    assert redacted(given) == {**kept, "key": "question"}
    assert redacted_command([f"--token={KEY}", "--wandb_key", KEY, "--top_k", "5"]) == [
        *("--token=***", "--wandb_key", "***", "--top_k", "5"),
    ]


def test_the_value_of_a_variable_goes_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_KEY", "plain-words-1")
    assert redacted_text("+print('plain-words-1')") == "+print('***')"


def test_the_working_directory_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/data/run2")
    monkeypatch.setenv("OLDPWD", "/home/user7")
    assert redacted("/data/run2/model", "model_name_or_path") == "/data/run2/model"
    assert redacted_command(["sgpo", "train", "/home/user7/recipe.yaml"])[2] == "/home/user7/recipe.yaml"
