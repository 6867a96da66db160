"""The pages for readers: links lead somewhere, sentences are short, terms are linked before they are used."""

import re
from pathlib import Path

import pytest

from sgpo.trainer import notices

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
TERMS = ROOT / "docs" / "terms.md"
LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


def is_output(page: Path) -> bool:
    """Whether a command printed this page, and it is kept as it came."""
    return ROOT / "docs" / "results" in page.parents and page.name != "README.md"


named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """The running text of a page: no code, tables, headings or pictures; a list's items stay."""
    lines = without_code(text).split("\n")
    return "\n".join(line for line in lines if not re.match(r"\s*(\||#|!\[|\[)|    |<", line))


def sentences(text: str) -> list[str]:
    """A colon or a semicolon ends no sentence; a list item and a paragraph do."""
    parts = re.split(r"(?<=[.!?])[)*]*\s+|\n\s*\n|\n\s*(?:-|\d+\.) ", prose(text))
    return [" ".join(part.split()) for part in parts if part.strip()]


def anchors(page: Path) -> set[str]:
    """The fragments of a page, as GitHub and mkdocs (with GitHub's slugs) make them from its headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names


@named
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue  # no test may need a network
        path, _, fragment = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (fragment and fragment not in anchors(there)):
            broken.append(link)
    assert broken == []


@named
def test_sentences_are_short(page: Path) -> None:
    if is_output(page):
        return
    lengths = [len(sentence.split()) for sentence in sentences(page.read_text())]
    assert [s for s in sentences(page.read_text()) if len(s.split()) > 40] == []
    assert not lengths or sum(lengths) / len(lengths) < 25


COINED = re.compile(
    r"\b(rollouts?|autonomous|(?:un)?guided|alpha|students?|experts?|lift|leaks?|teacher|policy|KL|GRPO|LUFFY|HPT)\b"
)


@named
def test_terms_are_linked_before_they_are_used(page: Path) -> None:
    if page == TERMS or is_output(page) or page.name == "CHANGELOG.md":
        return
    text = re.sub(r"^#.*$", "", without_code(page.read_text()), flags=re.MULTILINE)
    first = COINED.search(text)
    assert first is None or 0 <= text.find("terms.md)") < first.start(), first


def test_a_definition_uses_only_what_stands_above_it() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ((?:[^|]|\\\|)+) \|$", TERMS.read_text(), re.MULTILINE)
    terms = [name for name, _ in rows if name != "term"]
    assert len(terms) > 30
    early = []
    for i, (_, meaning) in enumerate(row for row in rows if row[0] != "term"):
        words = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "", meaning)
        later = [name for entry in terms[i + 1 :] for name in entry.split(", ")]
        early += [(terms[i], name) for name in later if re.search(rf"\b{re.escape(name)}s?\b", words)]
    assert early == []


def test_the_cookbook_names_metrics_that_exist() -> None:
    page = (ROOT / "docs" / "cookbook.md").read_text()
    source = (ROOT / "src/sgpo/trainer/metrics.py").read_text()
    named_there = set(re.findall(r"`sgpo/(\w+)`", page))
    assert len(named_there) > 12
    assert [name for name in named_there if not re.search(rf"``{name}``", source)] == []
    assert {"sgpo/guided_pass_rate", "completions/clipped_ratio"} <= set(re.findall(r"`([a-z]+/\w+)`", page))


def test_the_site_shows_every_page() -> None:
    shown = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in DOCS if not is_output(page)}
    assert shown == pages


def test_the_cookbook_quotes_what_a_run_says() -> None:
    page = " ".join((ROOT / "docs" / "cookbook.md").read_text().split())
    said = (*notices._SAID.values(), notices._FORGETS)
    quotes = re.findall(r'"([a-z][^"]+)"', page)
    assert len(said) == 6
    assert [text for text in said if not any(quote in text for quote in quotes)] == []


def test_where_to_change_what_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| (.+) \|$", text[text.index("## Where to change what") :], re.MULTILINE)
    pairs = [pair for row in rows for pair in re.findall(r"`(\w+)`, `((?:src|tests)/[\w/.]+)`", row)]
    assert len(pairs) > 8
    assert [(name, path) for name, path in pairs if name not in (ROOT / path).read_text()] == []
