"""5. Comparing methods honestly.

Is SGPO better than GRPO here? Five rules keep the answer honest, and `sgpo compare` keeps all of them:

1. Both start from the same model, see the same problems, and take the same number of optimizer steps.
2. Both sample as much: SGPO takes 8 + 4 rollouts of each problem, so GRPO gets 12.
3. The learning rate is searched for each method with the same effort, on problems that the last word does not use.
4. Several seeds run, and the difference is taken seed by seed. One run of each ranks nothing.
5. The interval of the difference is reported. If it holds 0, no difference is shown.

This tutorial does it by hand, small, so that every number can be seen. The words are defined in docs/terms.md.
"""

from pathlib import Path
from typing import Any

from tutorial_kit import steps, train_on_lab

from sgpo.evaluation import paired_t_interval

STEPS = steps(60)
SEEDS = 2 if STEPS < 10 else 3
OUT = Path("runs/tutorials/5")
# SGPO whose weight is always 0 is TRL's GRPO to the bit.
METHODS: dict[str, dict[str, Any]] = {
    "GRPO, 12 rollouts": {"alpha_form": "constant", "alpha_0": 0.0, "num_generations": 12},
    "SGPO, 8 + 4 rollouts": {},
}


def main() -> None:
    accuracy: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(SEEDS):
        for number, (method, fields) in enumerate(METHODS.items()):
            run = train_on_lab(OUT / f"{number}-{seed}", STEPS, seed=seed, **fields)
            accuracy[method].append(run.accuracy)
            tokens = max(row.get("num_tokens", 0) for row in run.log) / 1000
            print(f"seed {seed}  {method:22}{run.accuracy:6.1f} %  {tokens:6.0f} K tokens", flush=True)

    grpo, sgpo = accuracy.values()
    difference = [b - a for a, b in zip(grpo, sgpo, strict=True)]
    mean, low, high = paired_t_interval(sgpo, grpo)
    print(f"\nSGPO minus GRPO by seed: {', '.join(f'{d:+.1f}' for d in difference)} points")
    print(f"mean {mean:+.1f}, 95% interval {low:+.1f} to {high:+.1f}, over {SEEDS} seeds")
    if low <= 0 <= high:
        print("The interval holds 0: these runs show no difference. More seeds make it narrower.")
    else:
        print("The interval does not hold 0: the direction is shown, for this task and this rate.")
    print("\nRule 3 was left out: both took one rate. The whole comparison, with the search and five seeds, is")
    print("    sgpo compare --methods 'base sft_grpo_12 sgpo' --seeds 5 --out runs/compare")
    print("    sgpo report runs/compare")


if __name__ == "__main__":
    main()
