"""The one door to files: whoever writes, reads or locks one imports it from here; nothing here imports torch.

* `sgpo.runs.writer`: files that appear whole or not at all, and JSONL files that grow.
* `sgpo.runs.reader`: text, JSON and rows, with errors that name file, line and remedy.
* `sgpo.runs.lock`: a directory for one process at a time.
"""

from sgpo.runs.lock import InUseError, locked
from sgpo.runs.reader import (
    JsonObject,
    PathLike,
    ReadError,
    parse_json,
    read_json,
    read_json_object,
    read_lines,
    read_rows,
    read_text,
)
from sgpo.runs.writer import (
    WriteError,
    append_rows,
    json_line,
    recover_rows,
    saving,
    write_bytes,
    write_json,
    write_rows,
    write_text,
    writing,
)
