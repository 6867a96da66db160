"""What mkdocs needs to show pages that were written to be read on a code host, too."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_OUTSIDE = re.compile(
    r"\[((?:[^\[\]])+)\]\(((?:\.\./)+(?:src|tests|examples|benchmarks|recipes|CONTRIBUTING|README)[^)]*)\)"
)
_PIPE_IN_CODE = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")


def on_config(config: Any) -> Any:
    """Take the address of the repository from pyproject.toml, so that it stands once."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    config.repo_url = urls.get("Repository")
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links to code at the repository, and keep bars within code inside of tables.

    Pages link to sources as ``../src/x.py``, which no site holds. Without an address the text stays, without its link.
    """

    def to_source(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, _, fragment = target.replace("../", "").partition("#")
        if not config.repo_url:
            return text
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{text}]({config.repo_url.rstrip('/')}/{kind}/main/{path}{'#' * bool(fragment)}{fragment})"

    def bars(line: str) -> str:
        # Python-Markdown shows the backslash of an escaped bar within code; a code host does not.
        if not line.startswith("|"):
            return line
        return _PIPE_IN_CODE.sub(lambda m: "<code>" + _escaped(m[1].replace("\\|", "|")) + "</code>", line)

    return "\n".join(bars(line) for line in _OUTSIDE.sub(to_source, markdown).split("\n"))


def _escaped(code: str) -> str:
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("*", "&#42;"), ("_", "&#95;")):
        code = code.replace(sign, name)
    return code
