r"""The golds of public sets against themselves in many layouts, and against their nearest neighbours.

Each gold must be met by itself bare, in `$...$`, in a box, and stated in sentences; and must not be met by itself with
one digit raised, with its sign flipped, or with two entries of a tuple swapped. Sums and lists with two terms swapped
must still be met.

    python benchmarks/verify_golds.py --data ../shared/benchmarks

Every wrong verdict is printed; the last line is JSON and the exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sgpo import rewards

FILES = ["MATH500", "AMC23", "AIME24", "OlympiadBench", "GSM8K_200", "openr1_format_sample"]


def formula(gold: str) -> str:
    """The gold as a sentence holds it: in dollars, unless it has its own."""
    return gold if "$" in gold else f"${gold}$"


FORMS: dict[str, Callable[[str], str]] = {
    "bare": lambda gold: gold,
    "dollars": lambda gold: f"${gold}$",
    "boxed": lambda gold: rf"\boxed{{{gold}}}",
    "the answer is": lambda gold: f"The answer is {formula(gold)}.",
    "with prose behind it": lambda gold: f"The answer is {formula(gold)}. I hope this solution is helpful.",
    "heading": lambda gold: f"So we are done.\n\n**Final Answer:** {formula(gold)}",
    "hashes": lambda gold: f"So 3 + 4 = 7.\n#### {gold}",
    "tag": lambda gold: f"The result is 7.\n<answer>{gold}</answer><|im_end|>",
}
_TUPLE = re.compile(r"(\\?left)?\(([^(),]+),([^(),]+)(\\?right)?\)")
_SUM = re.compile(r"([\w\\{}^]+) ?\+ ?([\w\\{}^]+)")
_LIST = re.compile(r"(-?\d+), ?(-?\d+)")


def neighbours(gold: str) -> Iterator[tuple[str, str, bool]]:
    """(kind, response, right) for what differs from a gold in one place."""
    for position in [match.start() for match in re.finditer(r"\d", gold)][:3]:
        digit = str((int(gold[position]) + 1) % 10)
        yield "digit raised", gold[:position] + digit + gold[position + 1 :], False
    if re.fullmatch(r"-?(?:\d[\d.]*|\\frac\{\d+\}\{\d+\}|\d*\\sqrt\{?\d+\}?|\d*\\pi)", gold) and gold != "0":
        yield "sign flipped", gold.removeprefix("-") if gold.startswith("-") else "-" + gold, False
    pair = _TUPLE.fullmatch(gold)
    if pair and pair.group(2).strip() != pair.group(3).strip():
        yield "tuple swapped", f"({pair.group(3)},{pair.group(2)})", False
    terms = _SUM.fullmatch(gold)
    if terms and all(part.count("{") == part.count("}") for part in terms.groups()):
        yield "sum swapped", f"{terms.group(2)} + {terms.group(1)}", True
    several = _LIST.fullmatch(gold)
    if several and not re.match(r"\s*0\d", several.group(2)):  # 276,000 is one number
        yield "list swapped", f"{several.group(2)}, {several.group(1)}", True


def golds(folder: Path) -> list[str]:
    """The golds of the sets that are in the folder."""
    found = []
    for name in FILES:
        path = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        found += [str(row["answer"] if "answer" in row else row["reward_model"]["ground_truth"]) for row in rows]
    return found


def judged(kind: str, responses: list[str], answers: list[str], right: list[bool]) -> tuple[int, int]:
    """Verdicts on one kind of response; returns how many there are and how many are wrong, which are printed."""
    verdicts = rewards.verify_batch(responses, answers, timeout=10.0)
    wrong = [k for k, verdict in enumerate(verdicts) if verdict.correct != right[k]]
    for k in wrong:
        print(f"  {kind}: {responses[k][:80]!r} for {answers[k][:80]!r} should be {right[k]}: {verdicts[k].reason}")
    print(f"{kind}: {len(verdicts)} items, {len(wrong)} wrong")
    return len(verdicts), len(wrong)


def main() -> int:
    """Judge every form and every neighbour, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/benchmarks"))
    answers = golds(parser.parse_args().data)
    counts = {
        kind: judged(kind, [form(a) for a in answers], answers, [True] * len(answers)) for kind, form in FORMS.items()
    }
    near = [(kind, text, gold, right) for gold in answers for kind, text, right in neighbours(gold)]
    for kind in dict.fromkeys(item[0] for item in near):
        part = [item[1:] for item in near if item[0] == kind]
        texts, origins, right = (list(column) for column in zip(*part, strict=True))
        counts[kind] = judged(kind, [rf"\boxed{{{text}}}" for text in texts], origins, right)
    items, wrong = (sum(column) for column in zip(*counts.values(), strict=True))
    print(json.dumps({"golds": len(answers), "items": items, "wrong": wrong}))
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
