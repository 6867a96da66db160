"""Directories as `sgpo compare` and `sgpo quickstart` leave them, fabricated: what the tests of the report read.

The numbers are made up, but of the shape of real runs: pass rates rise, alpha and KL fall.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgpo.compare.results import method_results
from sgpo.runs.entries import CellResult, Searched

FAMILIES = ("ratio", "remainder", "clock", "between")
ENDS = {"base": 0.07, "base_guided": 0.95, "sft_grpo": 0.66, "luffy": 0.72, "sgpo": 0.84}
UNGUIDED = ("sft", "sft_grpo", "sft_grpo_12", "luffy", "hpt")
NEVER = ("ratio", "remainder")

AXES = ("instances", "operands", "wordings", "types", "longer")
SPREAD = (-0.012, 0.004, 0.015, -0.009, 0.002)  # of the seeds around their method's end

HOSTILE = {
    "script": '<script>window.hacked = true</script><img src=x onerror="window.hacked = true">\'"&lt;',
    "surrogates": "a\ud800b\udfffc",
    "controls": "\x00\x07\x1b[31mred\x1b[0m\x9b\x7f",
    "bidi": "\u202egnp.exe\u202c \u2066x\u2069",
    "template": "{{ 7 * 7 }} {% raw %} </style></pre></script> <!-- ]]> --",
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def metrics(end: float, *, steps: int = 60, guided: bool = True, seed: int = 0) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for step in range(steps + 1):
        t = 1 - math.exp(-4 * step / steps)
        rate = 0.08 + (end - 0.08) * t + rng.gauss(0, 0.03)
        if step % 10 == 0:
            rows.append({"step": step, "eval/accuracy": rate})
        row = {"step": step, "loss": 0.1, "rewards/lab_reward/mean": rate, "reward": rate, "entropy": 0.12 + 0.3 * t}
        row["completions/mean_length"] = 15 + 3 * t + rng.gauss(0, 0.3)
        if guided:
            alpha = 0.75 * (1 - t) + 0.02
            kl = 0.7 * (1 - t) + 0.03 + rng.random() * 0.02
            row |= {"sgpo/autonomous_pass_rate": rate, "sgpo/guided_pass_rate": 0.95}
            row |= {"sgpo/alpha": alpha, "sgpo/alpha_zero_fraction": 0.9 * t}
            row |= {"sgpo/alpha_max_fraction": 0.8 * (1 - t), "sgpo/kl": kl, "sgpo/kl_clipped": kl / 4}
            row |= {"sgpo/clip_fraction": kl / 8}
        rows.append(row)
    return rows


def problem(step: int, id: str = "ratio-1", **fields: Any) -> dict[str, Any]:
    """A line of problems.jsonl."""
    family = id.split("-")[0]
    facts = {"step": step, "id": id, "family": family, "strategy": f"strategy of {family}"}
    rates = {"autonomous_pass_rate": 0.25, "guided_pass_rate": 0.75, "alpha": 0.7, "target_tokens": 9}
    return {**facts, **rates, **fields}


def problems(steps: int = 60) -> list[dict[str, Any]]:
    """A problem of each family every other step; the first two are learned later, the last one not guided any more."""
    rows = []
    for step in range(1, steps + 1, 2):
        t = step / steps
        for i, family in enumerate(FAMILIES):
            rate = min(1.0, max(0.0, t if i > 1 else 2 * t - 1))
            guided = None if i == 3 and rate > 0.9 else 0.9
            alpha = 0.0 if guided is None else min(0.8, max(0.0, 0.5 * (guided - rate) / (rate + 0.1)))
            rates = {"autonomous_pass_rate": rate, "guided_pass_rate": guided, "alpha": alpha}
            rows.append(problem(step, f"{family}-{step % 6}", **rates))
    return rows


def entry(accuracy: float, seed: int | None = None, base_seed: int | None = None) -> dict[str, Any]:
    """An entry of results.json, or one of its seeds."""
    hard = max(0.0, accuracy * 2 - 1)
    families = {f: {"accuracy": hard if f in NEVER else min(1.0, accuracy * 2 - hard)} for f in FAMILIES}
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_ci95": [accuracy - 0.02, accuracy + 0.02],
        "n_problems": 240,
        "k": 4,
        "per_family": families,
        "accuracy_over_training": accuracy * 0.8,
        "sampled_tokens": 250_000,
        "guided_tokens": 78_000,
        "trained_tokens": 210_000,
        "train_seconds": 61.5,
    }
    if seed is not None:
        found |= {"seed": seed, "base_seed": base_seed, "curve": [[0, 0.08], [60, accuracy]]}
    return found


def on_axes(end: float, seed: int) -> dict[str, Any]:
    """The part of a seed's entry that the lab measures on each axis: the further from training, the lower."""
    axes = {}
    for i, axis in enumerate(AXES):
        value = max(0.0, min(1.0, end - 0.06 * i * (1.2 - end) + SPREAD[(seed + i) % len(SPREAD)]))
        curve = {str(2**j): min(1.0, value + 0.04 * j * (1 - value)) for j in range(6)}
        others = {"greedy": min(1.0, value + 0.01), "temperature_1": value * 0.97, "guided": 0.9, "length": 20.0 + i}
        axes[axis] = {"accuracy": value, **others, "pass_at_32": curve["32"], "pass_at_k": curve}
    return axes


def samples(method: str, count: int = 6) -> list[dict[str, Any]]:
    """Lines of samples.jsonl."""
    return [
        {
            "id": f"{method}-{i}",
            "family": FAMILIES[i % len(FAMILIES)],
            "problem": f"Q share 6{i} as 3 to 1 ? A",
            "strategy": "ratio | once value | add parts then divide total then times own",
            "answer": "45",
            "autonomous": "60 - 3 = 57 ; 57 - 1 = 56 ; ans 56",
            "guided": "3 + 1 = 4 ; 60 / 4 = 15 ; 15 * 3 = 45 ; ans 45",
            "autonomous_correct": False,
            "guided_correct": True,
        }
        for i in range(count)
    ]


def token(text: str, kl: float, *, decision: bool = False) -> dict[str, Any]:
    """A token of the token view."""
    other = [[text, 0.9], ["+", 0.06], ["-", 0.02]]
    return {
        "text": text,
        "kl": kl,
        "p": [0.04, 0.9] if decision else [0.9, 0.9],
        "rank": [1, 0] if decision else [0, 0],
        "decision": decision,
        "autonomous": [["-", 0.94], [text, 0.04]] if decision else other,
        "guided": other,
    }


def token_row(model: str = "before training", scale: float = 1.0, response: str = "3 + 1 = 4") -> dict[str, Any]:
    """A line of tokens.jsonl: one decision point among five tokens."""
    tokens = [token("3", 0.01 * scale), token(" +", 2.5 * scale, decision=scale > 0.5), token(" 1", 0.2 * scale)]
    tokens += [token(" =", 0.0), token(" 4", 0.001 * scale)]
    facts = {"id": "ratio-60-3-1", "family": "ratio", "problem": "Q share 60 as 3 to 1 ? A", "answer": "45"}
    return {**facts, "strategy": "ratio | once value", "response": response, "correct": True, "model": model} | {
        "tokens": tokens
    }


def compare_dir(
    path: Path,
    *,
    ends: dict[str, float] | None = None,
    seeds: int = 3,
    extras: bool = True,
    finished: bool = True,
    axes: bool = False,
) -> Path:
    """A whole comparison: cells, results, and (``extras``) samples, problem logs and the token view; measured on
    ``axes``, too, if wanted."""
    ends = ends or ENDS
    trained = [m for m in ends if not m.startswith("base")]
    names: list[str] = []
    cells: dict[str, list[CellResult]] = {}
    for method, end in ends.items():
        entries = []
        for seed in range(seeds):
            found = entry(end + SPREAD[(seed + len(method)) % len(SPREAD)], seed, seed % 2)
            entries.append(found | ({"axes": on_axes(end, seed)} if axes else {}))
            if method in trained:
                names.append(f"{method}-base{seed % 2}-seed{seed}")
                cell = path / "cells" / names[-1]
                write_json(cell / "cell.json", {"method": method, "seed": seed, "base_seed": seed % 2})
                write_lines(cell / "metrics.jsonl", metrics(end, guided=method not in UNGUIDED, seed=seed))
                write_json(cell / "result.json", entries[-1])
                if extras:
                    write_lines(cell / "samples.jsonl", samples(method))
                    if method not in UNGUIDED:
                        write_lines(cell / "problems.jsonl", problems())
        cells[method] = [CellResult.from_json(one) for one in entries]
    # As `sgpo compare` sums them up; some of the differences are made up, so that their figures are known.
    searched = {method: Searched(learning_rate=8e-4) for method in ends}
    methods = {name: one.to_json() for name, one in method_results(cells, searched, NEVER).items()}
    for method in methods.keys() - {"sgpo"}:
        methods[method]["sgpo_minus"] |= {"greedy": [0.031, -0.01, 0.072], "never_solved": [0.25, None, None]}
        if axes:
            gaps = {axis: [0.1, -0.02 + 0.01 * i, 0.2] for i, axis in enumerate((*AXES, "new_axes", "all_axes"))}
            methods[method]["axes_minus"] = {"sgpo": gaps}
    if axes:
        control = {"problems": 98.5, "own_kl": 0.512, "other_kl": 0.734, "copied": 0.0625}
        methods["base"]["strategy_control"] = control
    manifest = {"schema": 1, "kind": "sgpo-compare", "methods": list(ends), "seeds": list(range(seeds))}
    manifest |= {"cells": names, "settings": {"budget": {"problems": 12}}, "machine": "2 CPU cores"}
    write_json(path / "manifest.json", manifest)
    if finished:
        write_json(path / "results.json", {"schema": 1, "never_solved": list(NEVER), "methods": methods})
    if extras:
        write_lines(path / "tokens.jsonl", [token_row(), token_row("after training", 0.05)])
    return path


def quickstart_dir(path: Path) -> Path:
    """What `sgpo quickstart` leaves: one seed, no manifest."""
    methods = {
        "base": entry(0.07),
        "base_guided": entry(0.95),
        "sft_grpo": entry(0.66, 0, 0),
        "sgpo": entry(0.84, 0, 0),
    }
    write_json(path / "results.json", {"schema": 1, "seed": 0, "methods": methods})
    for method in ("sft_grpo", "sgpo"):
        write_lines(path / method / "metrics.jsonl", metrics(ENDS[method], guided=method == "sgpo"))
    return path


def training_dir(path: Path, *, step: int = 60, planned: int = 60) -> Path:
    """What `sgpo train` leaves: the trainer's state in its checkpoints."""
    rows = [row for row in metrics(0.7) if row["step"] <= step and "loss" in row]
    for at in (10, step):
        state = {"global_step": at, "max_steps": planned, "log_history": [r for r in rows if r["step"] <= at]}
        write_json(path / f"checkpoint-{at}" / "trainer_state.json", state)
    return path
