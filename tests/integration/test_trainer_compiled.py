"""Training with ``torch_compile``: every trainer takes the steps that it would take without."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from torch import Tensor

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer

STEPS = 3  # the second and the third meet other shapes, for which a graph is compiled anew
CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "sgpo": (SGPOTrainer, SGPOConfig, {}),
    "luffy": (LUFFYTrainer, LUFFYConfig, {"beta": 0.0}),
    "hpt": (HPTTrainer, HPTConfig, {}),
}


def gradients(case: str, out: Path, **options: Any) -> list[dict[str, Tensor]]:
    trainer_class, config_class, own = CASES[case]
    data: Dataset = kit.make_problems().add_column("expert", [" a b ok", " b ok", " c d e ok", " ok"])
    trainer = trainer_class(
        model=kit.make_model(num_hidden_layers=1),
        reward_funcs=kit.has_ok,
        args=kit.make_config(out, config_class, max_steps=STEPS, **own, **options),
        train_dataset=data,
        processing_class=kit.make_tokenizer(),
    )
    recorder = kit.recorded(trainer)
    if case == "sgpo":
        assert any(entry.get("sgpo/targets", 0) > 0 for entry in trainer.state.log_history)
    return [{name.removeprefix("_orig_mod."): g for name, g in step.items()} for step in recorder.gradients]


@pytest.mark.parametrize("case", CASES)
def test_compiled_steps_are_those_of_an_uncompiled_run(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (("BACKEND", "no"), ("MODE", "default")):  # torch_compile sets them for the whole process
        monkeypatch.setenv(f"ACCELERATE_DYNAMO_{variable}", value)
    monkeypatch.setattr("trl.GRPOTrainer._generate_single_turn", kit.scripted_turn)
    plain = gradients(case, tmp_path / "plain")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = gradients(case, tmp_path / "compiled", torch_compile=True, torch_compile_backend="eager")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch._dynamo.reset()
    assert len(plain) == len(compiled) == STEPS
    assert [kit.largest_gap(there, here) for here, there in zip(plain, compiled, strict=True)] == [0.0] * STEPS
