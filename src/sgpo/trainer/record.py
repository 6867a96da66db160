"""The record of a checkpoint: what its files were when it was written, and where in its data the run stood.

``sgpo_checkpoint.json`` is written last, so a checkpoint that has one was whole. It holds the size and the xxh3 digest
of every file that resuming reads back; files that a user may edit (model card, chat template, configurations) are left
out. Writing and checking it reads those files once, 3 GB/s on one core. A checkpoint without a record is of an older
version, or was cut off: it is read as far as its files go (:mod:`sgpo.trainer.checkpoints`).
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

from sgpo.runs.files import read_json_object, write_json

RECORD_FILE = "sgpo_checkpoint.json"
_TEXT = (".md", ".txt", ".jinja", ".json", ".model")  # none of these holds training state, but for:
_STATE = ("trainer_state.json", "entropy_ctrl_state.json")
_CHUNK = 1 << 22  # bytes


@dataclass(frozen=True)
class Position:
    """How far a run is in its data: ``batches`` of this process's micro-batches into pass ``epoch`` (from 0)."""

    epoch: int
    batches: int


@dataclass(frozen=True)
class Record:
    """What a checkpoint says of itself; None, or empty, where an older version or another trainer wrote nothing."""

    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # {path in the checkpoint: (bytes, digest)}
    order: Mapping[str, Any] | None = None  # what decides the order of the training data, by name
    position: Position | None = None  # where in that order the run stood
    trained: Mapping[str, Any] | None = None  # what was trained and by which optimizer, by name
    # What a resumed run may have otherwise (objective, sampling, schedule, rewards, columns of the data), by name.
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_record(directory: Path, record: Record) -> None:
    """Record the files of a checkpoint as they are now; the last thing that is written into it."""
    files = {path: (os.path.getsize(directory / path), _digest(directory / path)) for path in _read_back(directory)}
    write_json(directory / RECORD_FILE, asdict(replace(record, files=files)))


def read_record(directory: Path) -> Record | None:
    """The record of a checkpoint, None if it has none; ``ValueError`` for one that cannot be read."""
    path = directory / RECORD_FILE
    if not path.is_file():
        return None
    try:
        found = read_json_object(path)
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in found["files"].items()}
        position = None if found["position"] is None else Position(**found["position"])
        return Record(files, found["order"], position, found.get("trained"), found.get("settings", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{RECORD_FILE} is damaged ({type(error).__name__}: {error})") from error


def changed(directory: Path, record: Record) -> str | None:
    """What has become of the files of a checkpoint since its record was written, None if nothing."""
    for name, (size, digest) in record.files.items():
        path = directory / name
        if not path.is_file():
            return f"lacks {name}, which it was written with"
        if path.stat().st_size != size:
            return f"has a damaged file {name}: {path.stat().st_size} bytes, but {size} were written"
        if _digest(path) != digest:
            return f"has a damaged file {name}: its bytes changed after they were written"
    return None


def _read_back(directory: Path) -> list[str]:
    """The files of a checkpoint that resuming reads, as paths in it."""
    names = []
    for path in sorted(directory.rglob("*")):
        state = path.name in _STATE or path.name.endswith(".index.json")
        if path.is_file() and path.name != RECORD_FILE and (state or path.suffix not in _TEXT):
            names.append(path.relative_to(directory).as_posix())
    return names


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
