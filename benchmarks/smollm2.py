"""A real pretrained model through the whole command line, on a CPU: SmolLM2-135M-Instruct on gsm_symbolic's problems.

    python recipes/smollm2-135m-gsm/fetch.py --out runs/smollm2/base
    python recipes/smollm2-135m-gsm/split.py --out runs/smollm2/data-cpu
    python benchmarks/smollm2.py --model runs/smollm2/base --data runs/smollm2/data-cpu --out runs/smollm2/show

It runs ``sgpo train`` for three steps, kills it with SIGKILL behind its first checkpoint, resumes it, evaluates the
model before and after with ``sgpo eval``, writes ``sgpo report``, and prints what each took.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 3
COMPLETION = 48  # tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that fetch.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that split.py wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/smollm2/show"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    figures = show(given.model, given.data / "train.jsonl", given.data / "trained.jsonl", given.out)
    print(json.dumps(figures, indent=1))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def show(model: Path, train: Path, held: Path, out: Path) -> dict[str, Any]:
    """Train, kill, resume, evaluate, report; seconds and results of each."""
    run = out / "run"
    shutil.rmtree(run, ignore_errors=True)
    fields = {
        "model_name_or_path": model,
        "dataset_name": train,
        "output_dir": run,
        "reward_funcs": "accuracy",
        "max_steps": STEPS,
        "max_completion_length": COMPLETION,
        "num_generations": 4,
        "num_guided_generations": 2,
        "per_device_train_batch_size": 4,
        "activation_checkpointing": "false",
        "learning_rate": "1e-6",
        "save_steps": 1,
        "logging_steps": 1,
        "log_problems": "true",
        "report_to": "none",
    }
    recipe = out / "recipe.yaml"
    recipe.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    figures: dict[str, Any] = {"killed_after": kill_behind(run / "checkpoint-1", "train", "--config", recipe)}
    figures["resume"] = sgpo("train", "--config", recipe, "--resume", "true")
    state = json.loads((run / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    figures["steps"] = [row["step"] for row in state["log_history"] if "loss" in row]
    for name, folder, more in (("before", model, ()), ("after", run, ()), ("after, guided", run, ("--guided",))):
        where = out / f"eval-{name.replace(', ', '-')}"
        shutil.rmtree(where, ignore_errors=True)
        words = ("eval", folder, "--data", held, "-k", 1, "--max-new-tokens", COMPLETION, "--out", where, *more)
        figures[f"eval {name}"] = sgpo(*words)
        figures[f"accuracy {name}"] = json.loads((where / "results.json").read_text())["accuracy"]
    figures["report"] = sgpo("report", run)
    return figures


def sgpo(*words: Any) -> dict[str, Any]:
    """One command; its seconds and last lines. Raises ``CalledProcessError`` with what it printed."""
    began = time.perf_counter()
    done = subprocess.run(_command(words), capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
        done.check_returncode()
    lines = done.stdout.strip().splitlines()
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "resumed": [line for line in lines if line.startswith("Resuming")],
        "said": lines[-4:],
    }


def kill_behind(checkpoint: Path, *words: Any) -> dict[str, Any]:
    """Start a command and kill it as soon as a checkpoint is whole."""
    began = time.perf_counter()
    process = subprocess.Popen(_command(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (checkpoint / "rng_state.pth").is_file():
        if process.poll() is not None:
            raise RuntimeError(f"the training ended with {process.returncode} before {checkpoint} was written")
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"seconds": round(time.perf_counter() - began, 1), "checkpoint": checkpoint.name}


def _command(words: tuple[Any, ...]) -> list[str]:
    return [sys.executable, "-m", "sgpo.cli", *map(str, words)]


if __name__ == "__main__":
    main()
