"""What each piece of the leak check is worth: a function, a condition, a pattern's alternative, a word, one at a time.

    python benchmarks/strategy_ablation.py src/sgpo/strategies/leakage/numbers.py

A piece is switched off in the source's tree, all of `sgpo.mathtext` and `sgpo.strategies.leakage` are loaded anew, and
the labelled strategies that the piece can touch are checked again. They are those in which a condition decided, a
function found something, or the letters of a pattern or a word occur. A line has the place, the piece, how many
verdicts it makes right and wrong, and the batches (`split`) in which it makes one right. A piece that serves a single
batch fits that batch, and none is known to serve anything else.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import leak_labels

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
_EMPTY = {"bool": "False", "str": "''", "set": "set()", "frozenset": "frozenset()", "dict": "{}", "list": "[]"}
_PACKAGES = ("sgpo.mathtext", "sgpo.strategies.leakage", "sgpo.strategies.check")
Row = dict[str, Any]


class Probe:
    """Which switch is off, and for each switch the cases in which it made a difference."""

    def __init__(self) -> None:
        self.off, self.case, self.touched = -1, 0, dict[int, set[int]]()

    def seen(self, switch: int, value: Any, neutral: Any) -> Any:
        if bool(value) != bool(neutral):
            self.touched.setdefault(switch, set()).add(self.case)
        return value


class Switches(ast.NodeTransformer):
    """It puts a switch on each function, condition and operand of a condition."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str]] = []

    def _switch(self, node: ast.expr, neutral: str) -> ast.expr:
        number = len(self.pieces)
        self.pieces.append((node.lineno, f"{neutral} for {ast.unparse(node)}"))
        node = self.visit(node)
        text = f"({neutral} if _probe.off == {number} else _probe.seen({number}, 0, {neutral}))"
        made: Any = ast.parse(text, mode="eval").body
        made.orelse.args[1] = node
        return ast.copy_location(made, node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        neutral = str(isinstance(node.op, ast.And))
        node.values = [self._switch(value, neutral) for value in node.values]
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._switch(node.test, "False")
        for name in ("body", "orelse"):
            part: Any = getattr(node, name)
            setattr(node, name, [self.visit(one) for one in part] if isinstance(part, list) else self.visit(part))
        return node

    visit_IfExp: Any = visit_If

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        kind = ast.unparse(node.returns).partition("[")[0] if node.returns else ""
        if kind in _EMPTY:
            number = len(self.pieces)
            self.pieces.append((node.lineno, f"def {node.name}"))
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value:
                    text = f"({_EMPTY[kind]} if _probe.off == {number} else _probe.seen({number}, 0, {_EMPTY[kind]}))"
                    made: Any = ast.parse(text, mode="eval").body
                    made.orelse.args[1], part.value = part.value, made
        return node


def alternatives(pattern: str) -> Iterator[tuple[str, str]]:
    """Each alternative of a pattern, beside the pattern without it."""
    starts, brackets = [0], False
    spans: list[tuple[int, int]] = []
    for match in re.finditer(r"\\.|\[\^?\]?|\]|\((?:\?(?:P<\w+>|[a-z-]*:|<?[=!]))?|[)|]", pattern + ")"):
        mark = match[0]
        if mark[0] == "[" or mark == "]":
            brackets = mark[0] == "["
        elif not brackets and mark[0] == "(":
            starts.append(match.end())
        elif not brackets and mark in ")|":
            spans.append((starts[-1], match.start()))
            starts[-1:] = [match.end()] if mark == "|" else []
            if not starts:
                break
    for start, end in spans:
        before, behind = pattern[:start], pattern[end:]
        if behind[:1] == "|":
            yield pattern[start:end], before + behind[1:]
        elif before[-1:] == "|":
            yield pattern[start:end], before[:-1] + behind


def cuts(tree: ast.Module) -> Iterator[tuple[ast.Constant, str, str]]:
    """Each word of a vocabulary and each alternative of a pattern: the text's node, the piece, the text without it."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "words"]
    vocabularies = {id(call.args[0]) for call in calls}
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            text, every = node.value, node.value.split()
            if id(node) in vocabularies:
                yield from ((node, word, " ".join(other for other in every if other != word)) for word in every)
            elif "|" in text and len(text) > 3:
                yield from ((node, piece, rest) for piece, rest in alternatives(text))


def load(path: Path, tree: ast.Module, probe: Probe) -> Callable[..., Any]:
    """The verdict of a row, with the code of a tree in place of a file's."""
    name = ".".join(path.resolve().relative_to(ROOT / "src").with_suffix("").parts)
    reads = name.startswith("sgpo.mathtext")
    for stale in [module for module in sys.modules if module.startswith(_PACKAGES[1 - reads :])]:
        del sys.modules[stale]
    sys.modules[name] = module = types.ModuleType(name)
    module.__dict__["_probe"] = probe
    exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)
    quantities: Any = importlib.import_module("sgpo.mathtext.quantities")
    if not reads and not hasattr(quantities.Text, "cache_info"):
        # most of the time, and the same for all pieces of a rule
        quantities.Text = functools.cache(quantities.Text)
    check = importlib.import_module("sgpo.strategies.check").check_strategy
    case_of = importlib.import_module("sgpo.strategies.leakage.case").case_of

    def verdict(row: Row) -> bool:
        case_of.cache_clear()
        leak: bool = check(row["problem"], row["answer"], row["response"], row["strategy"]).leak
        return leak

    return verdict


def ablate(path: Path, rows: list[Row]) -> Iterator[tuple[int, str, Counter[str], Counter[str]]]:
    """For each piece of a file its line, its name, and the batches where it makes verdicts right and wrong."""
    source, probe, switches = path.read_text(encoding="utf-8"), Probe(), Switches()
    verdict = load(path, switches.visit(ast.parse(source)), probe)
    usual = []
    for probe.case, row in enumerate(rows):
        usual.append(verdict(row))
    touched = dict(probe.touched)

    def worth(verdict: Callable[[Row], bool], cases: Iterable[int]) -> tuple[Counter[str], Counter[str]]:
        right, wrong = Counter[str](), Counter[str]()
        for case in cases:
            row = rows[case]
            try:
                changed = verdict(row) != usual[case]
            except Exception:  # a guard, of which the code behind it has need
                changed = True
            if changed:
                (right if usual[case] == row["label"] else wrong)[row["split"]] += 1
        return right, wrong

    for probe.off, (line, name) in enumerate(switches.pieces):
        yield line, name, *worth(verdict, touched.get(probe.off, ()))
    everything = [json.dumps(row, ensure_ascii=False).lower() for row in rows]
    tree = ast.parse(source)
    for node, piece, rest in cuts(tree):
        letters = max(re.findall(r"(?<!\\)[A-Za-z]{2,}", piece), key=len, default="").lower()
        cases = [case for case, text in enumerate(everything) if letters in text]
        kept, node.value = node.value, rest
        with contextlib.suppress(re.error):  # of a text that is no pattern
            found = worth(load(path, tree, probe), cases) if cases else (Counter[str](), Counter[str]())
            yield node.lineno, repr(piece), *found
        node.value = kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", default=sorted(DATA.glob("strategy_leaks*.jsonl")))
    arguments = parser.parse_args()
    rows, _ = leak_labels.read(arguments.data)
    for line, name, right, wrong in ablate(arguments.file, rows):
        batches = " ".join(f"{split}:{count}" for split, count in right.items())
        print(f"{arguments.file.name}:{line}\t+{right.total()}\t-{wrong.total()}\t{name[:100]}\t{batches}", flush=True)


if __name__ == "__main__":
    main()
