"""3. Is a strategy good? The leak check, lift, and the library.

A strategy is good when it helps and does not solve. Three questions, three tools:

- Does it tell the answer or a computation? The leak check asks no model.
- Does the model that is to be trained pass more often with it? Lift measures that.
- Which strategy does a problem get that has no response? The library takes one of similar problems.

Run 2_strategies_from_responses.py first: the library reads its store. The words are defined in docs/terms.md.
"""

import sys
from pathlib import Path

from tutorial_kit import command
from tutorial_kit import problems as some_problems

from sgpo.evaluation import evaluate
from sgpo.lab import GUIDED_TEMPLATE, lab_reward, load_base
from sgpo.lab.problems import MAX_COMPLETION
from sgpo.strategies.check import check_strategy
from sgpo.strategies.halving import Rate, difference_interval

STORE = Path("runs/tutorials/2/strategies.db")
OUT = Path("runs/tutorials/3")


def check() -> None:
    """Three strategies for one problem, of which two say too much."""
    problem = "Mia has 14 apples. She buys 9 more and gives away 5. How many has she got?"
    response = "She has 14 + 9 = 23 after buying. Then 23 - 5 = 18. So \\boxed{18}."
    for steps in (
        ["Add what comes.", "Subtract what goes."],
        ["After buying there are 23 apples.", "Subtract what goes."],
        ["Add what comes.", "Subtract what goes, which leaves 18."],
    ):
        strategy = {"problem_type": "gains and losses", "strategy": "Follow the count.", "steps": steps}
        leak = check_strategy(problem, "18", response, strategy)
        print(f"{' '.join(steps):58} {'LEAKS: ' + leak.reason if leak.leak else 'passes'}")


def lift() -> None:
    """The pass rate of the lab's model with a strategy, minus its pass rate without; and the same with a wrong one."""
    model, tokenizer = load_base()
    problems = some_problems(60)
    others = problems[1:] + problems[:1]

    def passed(prompts: list[str]) -> Rate:
        rows = [{**problem, "prompt": prompt} for problem, prompt in zip(problems, prompts, strict=True)]
        result = evaluate(model, tokenizer, rows, grade=lab_reward, k=2, max_new_tokens=MAX_COMPLETION)
        return Rate(round(result.accuracy * 2 * len(rows)), 2 * len(rows))

    def guided(strategies: list[str]) -> list[str]:
        pairs = zip(problems, strategies, strict=True)
        return [GUIDED_TEMPLATE.format(strategy=strategy, prompt=problem["prompt"]) for problem, strategy in pairs]

    alone = passed([problem["prompt"] for problem in problems])
    print(f"no strategy: {alone.passed} of {alone.n}")
    for name, owners in (("its own strategy", problems), ("another problem's strategy", others)):
        rate = passed(guided([problem["strategy"] for problem in owners]))
        low, high = difference_interval(rate, alone)
        gain = rate.passed / rate.n - alone.passed / alone.n
        print(f"{name}: {rate.passed} of {rate.n}, lift {gain:+.2f}, 95% interval {low:+.2f} to {high:+.2f}")
    print("For a store: sgpo strategies lift --student MODEL, then sgpo strategies export --by lift")


def library() -> None:
    """Strategies of problems with responses, given to a problem without one."""
    OUT.mkdir(parents=True, exist_ok=True)
    new = OUT / "new.jsonl"
    new.write_text('{"problem": "A ship covers 90 km in 3 hours. How far does it go in 7 hours?", "answer": "210"}\n')
    command(f"strategies library --store {STORE} --problems {new} --out {OUT / 'guided.jsonl'}")
    print((OUT / "guided.jsonl").read_text())


def main() -> None:
    if not STORE.exists():
        sys.exit(f"{STORE} is not there; run 2_strategies_from_responses.py in this folder first.")
    for title, part in (("Leak check", check), ("Lift", lift), ("Library", library)):
        print(f"\n{title}\n", flush=True)
        part()


if __name__ == "__main__":
    main()
