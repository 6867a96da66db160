"""The shipped weights: they belong to the script, and keep the accuracies that pretraining recorded."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
import torch

from sgpo.lab import AXES, load_base, load_problems
from sgpo.lab.measure import accuracy
from sgpo.lab.model import BASE_SEEDS, BASES, MODEL, base_path
from sgpo.lab.pretrain import Muon
from sgpo.lab.problems import with_strategy
from sgpo.lab.tokenizer import build_tokenizer, vocabulary, vocabulary_hash
from sgpo.runs.files import read_json_object

seeds = pytest.mark.parametrize("seed", BASE_SEEDS)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_tokenizer_round_trip() -> None:
    tokenizer = build_tokenizer()
    assert len(tokenizer) == len(vocabulary()) <= MODEL["vocab_size"]
    for problem in load_problems("eval"):
        for text in (with_strategy(problem), problem["expert"]):
            ids = tokenizer.encode(text)
            assert tokenizer.unk_token_id not in ids
            assert len(ids) == len(text.split())
            assert tokenizer.decode(ids) == text
            assert tokenizer.encode(tokenizer.decode([*ids, tokenizer.eos_token_id, tokenizer.pad_token_id])) == [
                *ids,
                tokenizer.eos_token_id,
                tokenizer.pad_token_id,
            ]
            assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text


def test_weights_take_at_most_two_megabytes() -> None:
    files = [path for path in Path(BASES).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") <= 2_000_000


@seeds
def test_weights_belong_to_the_script(seed: int) -> None:
    model, tokenizer = load_base(seed)
    record = read_json_object(base_path(seed) / "pretrain.json")
    assert record["seed"] == seed
    assert record["vocabulary"] == vocabulary_hash()
    assert record["model"] == MODEL
    assert all(getattr(model.config, key) == value for key, value in MODEL.items())
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    prompt = load_problems("eval")[0]["prompt"]
    assert tokenizer.decode(tokenizer.encode(prompt)) == prompt, "AutoTokenizer chose a class of its own"
    assert tokenizer.pad_token_id == MODEL["pad_token_id"]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@seeds
def test_recorded_accuracies_meet_the_bars(seed: int) -> None:
    record = read_json_object(base_path(seed) / "pretrain.json")
    for suffix in ("", "_0.6"):
        guided, autonomous = record[f"guided{suffix}"], record[f"autonomous{suffix}"]
        assert set(guided) == {"all", *AXES}
        assert all(guided[axis]["rate"] >= 0.97 for axis in AXES)
        assert 0.02 <= autonomous["all"]["rate"] <= 0.15


@seeds
@pytest.mark.parametrize("guided", [True, False])
def test_weights_have_the_recorded_accuracies(seed: int, guided: bool) -> None:
    """Within 4 standard errors of the difference, on a fixed draw of the evaluation problems."""
    model, tokenizer = load_base(seed)
    recorded = read_json_object(base_path(seed) / "pretrain.json")["guided" if guided else "autonomous"]["all"]
    found = accuracy(model, tokenizer, load_problems("eval"), guided=guided, temperature=1.0, top_p=1.0, seed=100)[
        "all"
    ]
    variance = recorded["rate"] * (1 - recorded["rate"]) * (1 / found["n"] + 1 / recorded["n"])
    assert abs(found["rate"] - recorded["rate"]) <= 4 * sqrt(variance)


def test_unknown_base_is_refused() -> None:
    with pytest.raises(ValueError, match="not shipped"):
        base_path(7)


def test_muon_for_small_matrices_is_that_of_torch() -> None:
    """Up to bfloat16, in which torch orthogonalises."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 8), (24, 8), (8, 24), (8, 8))]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    starts = [matrix.detach().clone() for matrix in ours]
    mine, torchs = Muon(ours, lr=0.1), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        torchs.step()
    for start, a, b in zip(starts, ours, theirs, strict=True):
        assert (a - b).norm() < 0.05 * (b - start).norm()
