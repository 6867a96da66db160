"""What happened during training on the lab: alpha, pass rates, entropy and KL over time, and where the KL falls.

    sgpo compare --preset ablations --seeds 5 --out runs/compare
    python benchmarks/lab_dynamics.py runs/compare

Reads the cells of a finished comparison and trains nothing. Prints, as Markdown: what each method logged, in sixths of
the run (means over seeds); entropy of SGPO against each ablation of a proximal constraint, paired by seed, with 95%
intervals (Student t); alpha by the hardest operation of a problem, from the problem logs; and the KL that the strategy
causes in responses to held-out problems by class of token, for each base. The last line is a JSON object.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.progress import track

from sgpo.evaluation import paired_t_interval
from sgpo.lab.model import load
from sgpo.lab.operations import OPERATIONS
from sgpo.lab.problems import MAX_COMPLETION, load_problems, verify, with_strategy
from sgpo.models.sampling import sample
from sgpo.report.token_summary import kl_shares
from sgpo.report.tokens import token_view

PARTS = 6
LOGGED = {
    "sgpo/alpha": "alpha",
    "sgpo/autonomous_pass_rate": "autonomous pass rate",
    "sgpo/guided_pass_rate": "guided pass rate",
    "sgpo/kl": "KL per token, nats",
    "sgpo/kl_clipped": "the same, clipped",
    "sgpo/clip_fraction": "tokens above the clip",
    "entropy": "entropy, nats",
}
PROXIMAL = ("no_clip", "no_selection", "no_proximal")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def cells_of(out: Path, method: str) -> dict[int, Path]:
    """Finished cells of a method by seed."""
    found = {}
    for path in out.glob("cells/*/cell.json"):
        cell = json.loads(path.read_text())
        if cell["method"] == method and (path.parent / "result.json").exists():
            found[cell["seed"]] = path.parent
    return dict(sorted(found.items()))


def in_parts(rows: Iterable[dict[str, Any]], name: str, last: int) -> list[float | None]:
    """Mean of a logged value in each part of the run's ``last`` optimizer steps; None where it was not logged."""
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for row in rows:
        if isinstance(row.get(name), (int, float)):
            parts[min(PARTS - 1, (row["step"] - 1) * PARTS // last)].append(row[name])
    return [fmean(part) if part else None for part in parts]


def mean_parts(cells: Iterable[Path], name: str) -> list[float | None]:
    """The same as a mean over cells."""
    each = []
    for cell in cells:
        rows = rows_of(cell / "metrics.jsonl")
        each.append(in_parts(rows, name, max(row["step"] for row in rows)))
    columns = [[v for v in column if v is not None] for column in zip(*each, strict=True)]
    return [fmean(column) if column else None for column in columns]


def over_time(out: Path, methods: Sequence[str]) -> dict[str, dict[str, list[float | None]]]:
    found = {}
    for method in methods:
        cells = cells_of(out, method)
        print(f"\n### {method}, {len(cells)} seeds\n\n| sixth of the run | {' | '.join('123456')} |")
        print("|---|" + "---:|" * PARTS)
        found[method] = {name: mean_parts(cells.values(), name) for name in LOGGED}
        for name, label in LOGGED.items():
            if any(value is not None for value in found[method][name]):
                values = (" " if value is None else f"{value:.3f}" for value in found[method][name])
                print(f"| {label} | {' | '.join(values)} |")
    return found


def entropy(out: Path) -> dict[str, Any]:
    """Entropy in the last sixth, and the lowest of all sixths: SGPO minus each ablation."""
    found: dict[str, Any] = {}
    reference = cells_of(out, "sgpo")
    print("\n### Entropy, SGPO minus what it is without a proximal constraint\n")
    print("| | last sixth | lowest sixth |\n|---|---:|---:|")
    for method in PROXIMAL:
        others = cells_of(out, method)
        seeds = sorted(reference.keys() & others.keys())
        if len(seeds) < 2:
            continue
        sixths = {
            name: [[v for v in mean_parts([cells[s]], "entropy") if v is not None] for s in seeds]
            for name, cells in (("sgpo", reference), (method, others))
        }
        found[method] = {
            label: list(paired_t_interval([pick(e) for e in sixths["sgpo"]], [pick(e) for e in sixths[method]]))
            for label, pick in (("last", lambda e: e[-1]), ("lowest", min))
        }
        texts = ("{:+.4f} [{:+.4f}, {:+.4f}]".format(*found[method][label]) for label in ("last", "lowest"))
        print(f"| {method}, {len(seeds)} seeds | {' | '.join(texts)} |")
    return found


def alpha_by_operation(out: Path) -> dict[str, list[float | None]]:
    """Of the problems whose least likely operation, by its prior in the pretraining text, is the one named."""
    cells = [cell for cell in cells_of(out, "sgpo").values() if (cell / "problems.jsonl").exists()]
    if not cells:
        return {}
    rows = [row for cell in cells for row in rows_of(cell / "problems.jsonl")]
    last = max(row["step"] for row in rows)
    mine: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        hardest = min(row["family"].split("-"), key=lambda name: OPERATIONS[name].prior)
        mine.setdefault(hardest, []).append(row)
    found = {name: in_parts(mine[name], "alpha", last) for name in sorted(mine, key=lambda n: OPERATIONS[n].prior)}
    print(f"\n### alpha by the hardest operation, {len(cells)} seeds\n\n| sixth of the run | {' | '.join('123456')} |")
    print("|---|" + "---:|" * PARTS)
    for name, values in found.items():
        print(f"| {name} | {' | '.join(' ' if v is None else f'{v:.2f}' for v in values)} |")
    return found


def kl_by_token(start: Path, count: int) -> dict[str, Any]:
    """Of a correct guided response to each of ``count`` held-out problems, read by the model with and without."""
    model, tokenizer = load(start)
    tokens: list[dict[str, Any]] = []
    read = 0
    for problem in track(load_problems("eval")[:count], f"token KL, {start.name}", transient=True):
        (tries,) = sample(model, tokenizer, [with_strategy(problem)], k=2, max_new_tokens=MAX_COMPLETION)
        response = next((one.text for one in tries if verify(one.text, problem["answer"])), None)
        if response is not None:
            read += 1
            tokens += token_view(model, tokenizer, problem["prompt"], with_strategy(problem), response)
    found = kl_shares(tokens)
    print(f"\n### KL by token, {start.name}: {read} responses, {found.tokens} tokens\n")
    print("| tokens | share of the tokens | share of the KL | mean KL, nats |\n|---|---:|---:|---:|")
    for row in [*found.classes, *found.choices]:
        print(f"| {row.name} | {row.token_share:.1%} | {row.kl_share:.1%} | {row.mean_kl:.3f} |")
    print(f"| the 5% with the most | 5.0% | {found.top5:.1%} | |")
    rows = {name: [one._asdict() for one in getattr(found, name)] for name in ("classes", "choices")}
    return {**vars(found), **rows, "responses": read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/compare"), help="of sgpo compare")
    parser.add_argument("--methods", nargs="*", default=["sgpo", "no_clip", "no_selection", "no_proximal", "no_grpo"])
    parser.add_argument("--responses", type=int, default=100, help="held-out problems for the KL by token")
    args = parser.parse_args()
    torch.set_num_threads(1)
    methods = [method for method in args.methods if cells_of(args.out, method)]
    if not methods:
        parser.error(f"{args.out} holds no finished cell of {', '.join(args.methods)}; run sgpo compare first")
    last = {"over_time": over_time(args.out, methods), "entropy": entropy(args.out)}
    last["alpha_by_operation"] = alpha_by_operation(args.out)
    starts = sorted(path for path in args.out.glob("start-base*") if (path / "config.json").exists())
    last["kl_by_token"] = {start.name: kl_by_token(start, args.responses) for start in starts}
    print(json.dumps(last))


if __name__ == "__main__":
    main()
