"""examples/sgpo_minimal.py is held to the trainer: the same rollouts give the same loss and the same gradient."""

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import trainer_kit as kit

PATH = Path(__file__).parents[2] / "examples" / "sgpo_minimal.py"
# The trainer keeps log-probabilities, advantages, pass rates and alpha in float32, beside weights in float64 here;
# what is summed over 32 rollouts differs by 2e-7 to 5e-7 over seeds (float32 rounds at 1.2e-7).
FLOAT32 = 1e-6


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sgpo_minimal", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sgpo_minimal"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rollouts(example: ModuleType, model: Any, row: dict[str, Any]) -> Any:
    """What `trainer_kit.scripted_turn` gives the trainer for one problem."""
    tokenizer, ok = kit.make_tokenizer(), kit.WORDS.index("ok")
    prompt = tokenizer(row["prompt"])["input_ids"]
    guided_prompt = tokenizer(f"{row['prompt']} hint {row['strategy']}")["input_ids"]
    autonomous = [kit.script(prompt, copy_, 8) for copy_ in range(example.AUTONOMOUS)]
    guided = [kit.script(guided_prompt, copy_, 8) for copy_ in range(example.GUIDED)]
    with torch.no_grad():
        logps = [example.token_logps(model, prompt, y) for y in autonomous]
    rewards, guided_rewards = ([float(ok in y) for y in group] for group in (autonomous, guided))
    return example.Rollouts(prompt, guided_prompt, autonomous, guided, rewards, guided_rewards, logps)


@pytest.mark.usefixtures("scripted")
def test_loss_and_gradient_are_the_trainers(example: ModuleType, out: Path) -> None:
    """Two passes over one generation batch: in the second the ratio is not 1, and its clip is met."""
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(4)
    size = {"per_device_train_batch_size": 32, "num_generations": 8, "num_guided_generations": 4}
    trainer = kit.make_trainer(
        out, model=copy.deepcopy(model), data=data, num_iterations=2, max_steps=2, learning_rate=2.0, **size
    )
    losses, compute = [], trainer._compute_loss
    trainer._compute_loss = lambda *args: losses.append(compute(*args)) or losses[-1]
    seen = kit.recorded(trainer)

    batch = [rollouts(example, model, row) for row in data]
    targets = [example.target(model, problem, kit.WORDS.index("<eos>")) for problem in batch]
    for step in range(2):
        student = copy.deepcopy(model)
        student.load_state_dict(seen.weights[step], strict=False)
        loss = example.sgpo_loss(student, batch, targets)
        student.zero_grad()
        loss.backward()
        wanted = {name: p.grad for name, p in student.named_parameters()}
        assert loss.item() == pytest.approx(float(losses[step].detach()), rel=FLOAT32)
        assert kit.largest_gap(seen.gradients[step], wanted) < FLOAT32
    pairs = [(b.prompt, y, old) for b in batch for y, old in zip(b.autonomous, b.logps, strict=True)]
    ratios = torch.cat([(example.token_logps(student, prompt, y) - old).exp() for prompt, y, old in pairs])
    assert float(ratios.detach().max()) > 1 + example.CLIP_HIGH
    assert float(ratios.detach().min()) < 1 - example.CLIP_LOW
    assert sum(example.alpha(b) > 0 for b in batch) >= 2


def test_constants_are_the_configurations_defaults(example: ModuleType, out: Path) -> None:
    from sgpo import SGPOConfig

    config = SGPOConfig(str(out), use_cpu=True, bf16=False)
    assert (config.num_generations, config.num_guided_generations) == (example.AUTONOMOUS, example.GUIDED)
    assert (config.epsilon, config.epsilon_high) == (example.CLIP_LOW, example.CLIP_HIGH)
    assert (config.alpha_0, config.alpha_gamma, config.alpha_max) == (example.ALPHA_0, example.GAMMA, example.ALPHA_MAX)
    assert config.kl_clip == example.KL_CLIP


def test_it_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(PATH), "--steps", "2", "--problems", "2"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("alpha") == 2
