"""Does `sgpo data overlap` find a problem that was copied in another layout, and does it leave distinct ones alone?

    python benchmarks/overlap_layouts.py --data BENCHMARKS

``BENCHMARKS`` holds JSONL files of problems (MATH500.jsonl, AIME24.jsonl and so on). Each problem of MATH500 is put
into every layout below and searched for among the originals, with the command's defaults. Then all files are searched
for in all files: a pair of two problems is a false alarm, unless they are one problem in two files. Prints a table; the
last line is a JSON object.
"""

import argparse
import html
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from sgpo.data.overlap import ComparedText, find_overlap

SUPER = str.maketrans("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ")
SUB = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SYMBOLS = {
    r"\le": "≤", r"\leq": "≤", r"\ge": "≥", r"\geq": "≥", r"\ne": "≠", r"\neq": "≠", r"\times": "×", r"\cdot": "·",
    r"\pi": "π", r"\theta": "θ", r"\alpha": "α", r"\beta": "β", r"\omega": "ω", r"\infty": "∞", r"\pm": "±",
    r"\cup": "∪", r"\cap": "∩", r"\in": "∈", r"\angle": "∠", r"\triangle": "△", r"\lfloor": "⌊", r"\rfloor": "⌋",
    r"\lceil": "⌈", r"\rceil": "⌉", r"\div": "÷", r"\sum": "∑", r"\dots": "…", r"\ldots": "…", r"\cdots": "⋯",
    r"\equiv": "≡", r"\approx": "≈", r"\sqrt": "√", r"\perp": "⊥", r"\to": "→", r"\rightarrow": "→", r"\mid": "|",
}  # fmt: skip


def unicode_powers(text: str) -> str:
    text = re.sub(r"\^\{([0-9+\-n]+)\}|\^([0-9n])", lambda m: (m[1] or m[2]).translate(SUPER), text)
    return re.sub(r"_\{([0-9]+)\}|_([0-9])", lambda m: (m[1] or m[2]).translate(SUB), text)


def unicode_symbols(text: str) -> str:
    return re.sub(r"\\[A-Za-z]+", lambda m: SYMBOLS.get(m[0], m[0]), text)


def without_braces(text: str) -> str:
    return re.sub(r"\\([cdt]?frac)\{(\w)\}\{(\w)\}", r"\\\1 \2\3", text)


def slashes(text: str) -> str:
    return re.sub(r"\\[cdt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", text)


def without_commands(text: str) -> str:
    plain = {"sqrt": "sqrt", "le": "<=", "leq": "<=", "ge": ">=", "geq": ">=", "times": "*", "cdot": "*", "pi": "pi"}
    return re.sub(r"\\([A-Za-z]+)", lambda m: f" {plain[m[1]]}" if m[1] in plain else m[0], text)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c in "0123456789+=<>()," else c for c in text)


def commands(**names: str) -> Callable[[str], str]:
    return lambda text: re.sub(r"\\([A-Za-z]+)", lambda m: "\\" + names.get(m[1], m[1]), text)


def delimiters(left: str, right: str) -> Callable[[str], str]:
    return lambda text: re.sub(r"\$\$?(.+?)\$\$?", lambda m: f"{left}{m[1]}{right}", text, flags=re.DOTALL)


def wrapped(text: str) -> str:
    return re.sub(r" ", lambda m: "\n" if m.start() % 3 == 0 else "  ", text)


def kept(key: str) -> bool:
    return zlib.crc32(key.encode()) % 20 > 0


def html_page(text: str) -> str:
    text = html.escape(text).replace("°", "&deg;")
    text = re.sub(r"\^\{([^{}]*)\}|\^(\w)", lambda m: f"<sup>{m[1] or m[2]}</sup>", text)
    return "<p>" + text.replace(r"\le ", "&le; ").replace(r"\times", "&times;").replace("\n", "<br>\n") + "</p>"


LAYOUTS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    r"\tfrac, \dfrac": commands(frac="tfrac"),
    r"\cfrac": commands(frac="cfrac", dfrac="cfrac", tfrac="cfrac"),
    r"\frac12": without_braces,
    "(1)/(2)": slashes,
    "figures left out": lambda text: re.sub(r"\[asy\].*?\[/asy\]", "", text, flags=re.DOTALL),
    "figures by name": lambda text: re.sub(r"\[asy\].*?\[/asy\]", "![figure](images/1.png)", text, flags=re.DOTALL),
    "x², a₁": unicode_powers,
    r"√, ≤, ×, π": unicode_symbols,
    "x², √, ≤, ×, π": lambda text: unicode_symbols(unicode_powers(text)),
    "60°": lambda text: re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree", "°", text),
    "60 degrees": lambda text: re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree", " degrees", text),
    r"\leq, \geqslant, \neq": commands(le="leq", leq="leqslant", ge="geqslant", geq="geqslant", ne="neq"),
    r"\left( \right)": lambda text: re.sub(r"([()])", lambda m: ("\\left" if m[1] == "(" else "\\right") + m[1], text),
    r"no \left, \right": lambda text: re.sub(r"\\(?:left|right)(?![a-z])", "", text),
    "unicode minus": lambda text: text.replace("-", "−"),
    "dashes": lambda text: text.replace("-", "–"),
    r"no \text": lambda text: re.sub(r"\\(?:text|mathrm|textbf|mbox)\{([^{}]*)\}", r"\1", text),
    r"\mathrm": commands(text="mathrm", textbf="mathbf"),
    r"\( \)": delimiters(r"\(", r"\)"),
    r"\[ \]": delimiters("\n\\[", "\\]\n"),
    "no dollars": lambda text: text.replace("$", ""),
    "no thin spaces": lambda text: re.sub(r"\\[,;:! ]", " ", text),
    "HTML": html_page,
    "full-width": full_width,
    "line breaks": wrapped,
    "one line": lambda text: " ".join(text.split()),
    "quotes": lambda text: text.replace("``", "“").replace("''", "”").replace("'", "’").replace('"', "«"),
    "no punctuation": lambda text: re.sub(r"[.,;:?\"`]+(?=\s|$)", "", text),
    "capitals": lambda text: re.sub(r"(?<![\\A-Za-z])[A-Za-z]+", lambda m: m[0].upper(), text),
    "markdown": lambda text: "**Problem.** " + text.replace("*", r"\*"),
    "spaced mathematics": lambda text: re.sub(r"(?<=[\d)}])(?=[-+=<>(])|(?<=[-+=<>])(?=[\d(\\])", r"\\, ", text),
    "sqrt(x), <=, 2*3": lambda text: without_commands(text),
    "zero-width spaces": lambda text: text.replace(" ", " \u200b").replace("\\", "\u2060\\"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "a question before, a request after": lambda text: f"Q: {text}\nLet's think step by step and box the answer.",
    "not layout: a word in 20 left out": lambda text: " ".join(w for w in text.split(" ") if kept(w + text)),
    "not layout: every number replaced": lambda text: re.sub(r"\d+", lambda m: str(int(m[0]) * 7 + 3), text),
}


def problems(path: Path) -> list[ComparedText]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        ComparedText(f"{path.stem}/{number}", row["problem"]) for number, row in enumerate(rows) if "problem" in row
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder with MATH500.jsonl and other benchmarks.")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--show", action="store_true", help="Print what was missed, and the false alarms.")
    args = parser.parse_args()
    originals = problems(args.data / "MATH500.jsonl")
    found = {}
    for name, change in LAYOUTS.items():
        copies = [ComparedText(text.id, change(text.text)) for text in originals]
        changed = sum(copy.text != text.text for copy, text in zip(copies, originals, strict=True))
        pairs = find_overlap(copies, originals, threshold=args.threshold)
        hit = {pair.eval for pair in pairs if pair.train == pair.eval}
        found[name] = len(hit)
        print(f"{name:36} {len(hit):3} of {len(originals)} found, {changed:3} look different", flush=True)
        if args.show:
            print(*(f"    missed: {copy.text[:150]!r}" for copy in copies if copy.id not in hit), sep="\n")
    everything = [text for path in sorted(args.data.glob("*.jsonl")) for text in problems(path)]
    pairs = find_overlap(everything, everything, threshold=args.threshold)
    alarms = [pair for pair in pairs if pair.train != pair.eval]
    exact = sum(pair.kind == "exact" for pair in alarms)
    count = len(everything)
    print(f"{count} problems, {count * (count - 1)} pairs of two: {exact} exact and {len(alarms) - exact} near")
    if args.show:
        for pair in alarms:
            print(f"    {pair.kind} {pair.similarity:.2f} {pair.train} {pair.eval}")
            print(f"        {pair.train_text[:200]!r}\n        {pair.eval_text[:200]!r}")
    print(json.dumps({"found": found, "problems": count, "exact": exact, "near": len(alarms) - exact}))


if __name__ == "__main__":
    main()
