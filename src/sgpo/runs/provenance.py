"""What made a run: its ``provenance.json``, one entry for each start in the folder, the newest last.

=============  ========================================================================================================
``time``       of the start, UTC
``command``    the command line
``sgpo``       version; ``python``, ``platform`` and ``packages`` (every installed distribution) beside it
``config``     the resolved settings
``git``        of the repository that the working directory is in, None without one: ``commit``, ``branch``, ``diff``
               against it (at most 256 KiB) and the names of ``untracked`` files (at most 100)
=============  ========================================================================================================

No variable of the environment is kept, and what looks like a key is struck out, see :mod:`sgpo.runs.redaction`.
"""

import dataclasses
import enum
import itertools
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sgpo import __version__
from sgpo.runs.files import ReadError, read_json, write_json
from sgpo.runs.redaction import redacted, redacted_command, redacted_text

FILE_NAME = "provenance.json"
_MOST_DIFF = 256 * 1024
_MOST_UNTRACKED = 100
_MOST_STARTS = 20
_SECONDS = 10.0


def record(folder: Path, config: Any) -> None:
    """Add this start to the ``provenance.json`` of ``folder``, which is made if it is not there.

    ``config`` are the resolved settings: a mapping, a dataclass, or a sequence of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redacted_command(sys.argv),
        "sgpo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(packages().items(), key=lambda each: each[0].lower())),
        "config": redacted(json_types(config)),
        "git": _git(Path.cwd()),
    }
    # A run that is resumed has several starts, perhaps of several versions; all of them made it.
    write_json(folder / FILE_NAME, {"starts": [*starts_of(folder)[1 - _MOST_STARTS :], entry]})


def several_versions(folders: Iterable[Path], names: Sequence[str]) -> tuple[str, ...]:
    """The packages among ``names`` of which runs in ``folders`` were started with several versions, a line each."""
    found: dict[str, dict[str, set[Path]]] = {name: {} for name in names}
    for folder in folders:
        for start, name in itertools.product(starts_of(folder), names):
            if isinstance(start, dict):
                version = str(start.get("sgpo") if name == "sgpo" else (start.get("packages") or {}).get(name))
                found[name].setdefault(version, set()).add(folder)
    several = {name: versions for name, versions in found.items() if len(versions) > 1}
    return tuple(
        f"{name}: " + ", ".join(f"{version} ({len(runs)} runs)" for version, runs in sorted(versions.items()))
        for name, versions in several.items()
    )


def json_types(value: Any) -> Any:
    """Settings as JSON types; whatever has none becomes text."""
    if isinstance(value, enum.Enum):
        return json_types(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    # The arguments of transformers hide their tokens there.
    if callable(to_dict := getattr(value, "to_dict", None)) and not isinstance(value, type):
        return json_types(to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_types(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_types(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_types(each) for each in value]
    return str(value)


def starts_of(folder: Path) -> list[Any]:
    """The entries of the ``provenance.json`` in a folder, the oldest first; none where it is damaged or not there."""
    path = folder / FILE_NAME
    try:
        found = read_json(path) if path.exists() else {}
    except ReadError:
        return []
    starts = found.get("starts") if isinstance(found, dict) else None
    return starts if isinstance(starts, list) else []


def packages() -> dict[str, str]:
    """The version of every installed distribution."""
    return {each.metadata["Name"]: each.version for each in metadata.distributions() if each.metadata["Name"]}


def _git(folder: Path) -> dict[str, object] | None:
    """Commit and changes of the repository around ``folder``; None where there is none, or no git."""
    commit = _run_git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    # The settings of the user's git may start other programs, or colour what they print.
    diff = _run_git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""
    untracked = (_run_git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", ":/") or "").splitlines()
    return {
        "commit": commit.strip(),
        "branch": (_run_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "diff": redacted_text(diff)[:_MOST_DIFF],
        "diff_cut_off": len(diff) > _MOST_DIFF,
        "untracked": untracked[:_MOST_UNTRACKED],
    }


def _run_git(folder: Path, *words: str) -> str | None:
    """What git prints, as far as it is kept; None where it fails or takes more than ten seconds."""
    command = ["git", "-C", str(folder), "--no-optional-locks", *words]
    try:
        git = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except OSError:  # there is no git
        return None
    # git on a network drive, or with a huge untracked folder, must not hold up a training.
    deadline = threading.Timer(_SECONDS, git.kill)
    deadline.start()
    with git:
        assert git.stdout is not None
        # Bounded while it is read: a diff of data files may be gigabytes.
        found = git.stdout.read(4 * _MOST_DIFF + 1)  # a character is at most four bytes
        git.stdout.close()  # what is beyond is not waited for
    deadline.cancel()
    cut = len(found) > 4 * _MOST_DIFF
    return found.decode("utf-8", "replace") if cut or not git.returncode else None
