"""Shared by all tests: one thread, nothing from a network, and no GPU unless CUDA_VISIBLE_DEVICES names one."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# No timed assertion: on a busy machine an example of a millisecond took half a second.
settings.register_profile("sgpo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sgpo")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # two cores are shared; more threads than that make tiny tensors slower


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches, or is judged by, an endpoint that the environment names."""
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "SGPO_NO_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _patient_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an easy answer may take longer than the usual two seconds; a test of the deadline gives one."""
    from sgpo.rewards import pool, verifier

    run, usual = pool.Pool.run, verifier.DEFAULT_TIMEOUT
    monkeypatch.setattr(
        pool.Pool, "run", lambda self, question, timeout: run(self, question, 120.0 if timeout == usual else timeout)
    )


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollouts depend on the prompt alone; see `trainer_kit.script`."""
    import trainer_kit
    from trl import GRPOTrainer

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", trainer_kit.scripted_turn)


@pytest.fixture
def out(tmp_path: Path) -> Any:
    return tmp_path / "run"
