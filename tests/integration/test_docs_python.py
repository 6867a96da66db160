"""Every block of Python on the pages runs as it stands, with a tiny model in place of a large one."""

import json
import re
import webbrowser
from pathlib import Path
from typing import Any

import pytest
import strategies_kit
import trainer_kit
import yaml

import sgpo

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(code, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, code in enumerate(BLOCK.findall(page.read_text()))
]
HUB = "Qwen/Qwen2.5-1.5B-Instruct"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder with the files that the pages speak of, and the names that a block takes as given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: True)
    model, tokenizer = trainer_kit.make_model("llama", max_position_embeddings=2048), trainer_kit.make_tokenizer()
    model.save_pretrained("model")
    tokenizer.save_pretrained("model")
    chat = [{"role": "user", "content": "solve a"}, {"role": "assistant", "content": "ok"}]
    rows = [{"prompt": chat[:1], "strategy": "carry", "answer": "7"}]
    strategies_kit.write_rows(tmp_path / "strategies.jsonl", rows)
    strategies_kit.write_rows(tmp_path / "chats.jsonl", [{"messages": chat}])
    strategies_kit.write_rows(tmp_path / "held.jsonl", [{"problem": "solve a", "answer": "7"}])
    (tmp_path / "first-run").mkdir()
    recipe = {"model_name_or_path": "model", "dataset_name": "strategies.jsonl", "output_dir": "first-run/run"}
    short = {"max_completion_length": 8, "max_steps": 1, "logging_steps": 1, "use_cpu": True, "bf16": False}
    (tmp_path / "first-run" / "recipe.yaml").write_text(yaml.safe_dump(recipe | short))
    (tmp_path / "DIR").mkdir()
    source = strategies_kit.problems_file(tmp_path / "responses.jsonl", 1)
    with strategies_kit.serving() as server:
        sgpo.extract(source, model="m", base_url=server.url, store="strategies.db", n=1)
    texts = {"prompt": "solve a", "guided_prompt": "carry solve a", "completion": "ok"}
    return {"model": model, "tokenizer": tokenizer, **texts}


@pytest.mark.parametrize("code", BLOCKS)
def test_it_runs_as_it_stands(code: str, place: dict[str, Any]) -> None:
    exec(compile(code.replace(HUB, "model"), "block", "exec"), place)
    if "chats.jsonl" in code:
        assert json.loads(Path("data.jsonl").read_text()) == {"problem": "solve a", "answer": "ok"}


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 6
