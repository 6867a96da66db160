"""Files appear whole or not at all, whatever stands in the way: links, devices, full disks, kill -9."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo.runs import writer
from sgpo.runs.files import (
    ReadError,
    WriteError,
    append_rows,
    read_json,
    read_rows,
    read_text,
    recover_rows,
    write_bytes,
    write_json,
    write_rows,
    write_text,
    writing,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "partial" in path.name]


@settings(max_examples=60)
@given(value=JSON, rows=ROWS, ascii_only=st.booleans())
def test_what_is_written_reads_back(tmp_path_factory, value, rows, ascii_only):
    folder = tmp_path_factory.mktemp("f")
    write_json(folder / "a.json", value)
    assert read_json(folder / "a.json") == value
    assert write_rows(folder / "a.jsonl", rows, ascii_only=ascii_only) == len(rows)
    assert [row for _, row in read_rows(folder / "a.jsonl")] == rows
    write_json(folder / "list.json", rows)
    assert [row for _, row in read_rows(folder / "list.json")] == rows
    assert leftovers(folder) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_permission_bits_are_kept(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


def test_a_new_file_has_the_bits_of_any_new_file(tmp_path):
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("absolute", [True, False])
def test_links_stay_and_their_target_is_written(tmp_path, absolute):
    (tmp_path / "deep").mkdir()
    target, middle, link = tmp_path / "deep" / "target", tmp_path / "deep" / "middle", tmp_path / "link"
    target.write_text("old")
    middle.symlink_to("target")
    link.symlink_to(middle if absolute else Path("deep/middle"))
    write_text(link, "new")
    assert link.is_symlink()
    assert middle.is_symlink()
    assert target.read_text() == "new"
    assert sorted(os.listdir(tmp_path / "deep")) == ["middle", "target"]


def test_a_link_to_nothing_yet_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to("later")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "later").read_text() == "new"


def test_links_in_a_circle_and_into_nowhere_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to(tmp_path / "gone" / "file")
    with pytest.raises(WriteError, match="circle"):
        write_text(tmp_path / "a", "x")
    with pytest.raises(WriteError, match="no directory"):
        write_text(tmp_path / "c", "x")


def test_a_device_is_written_to_and_stays_one(tmp_path):
    write_text("/dev/null", "x")
    (tmp_path / "link").symlink_to("/dev/null")
    write_text(tmp_path / "link", "x")
    append_rows(tmp_path / "link", [{}])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "link").is_symlink()


def test_a_fifo_gets_the_bytes(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "fifo").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "fifo", b"through")
    reader.join(300)
    assert got == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirected", [True, False])
def test_stdout_is_written_to_also_where_it_is_a_file(tmp_path, name, redirected):
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "import sys\nfrom sgpo.runs.files import write_text\n"
        "print('before'); write_text(sys.argv[1], 'text\\n'); print('after')"
    )
    out = tmp_path / "out.txt"
    with out.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            cwd=tmp_path,
            stdout=file if redirected else subprocess.PIPE,
            text=True,
            check=True,
        )
    assert (out.read_text() if redirected else done.stdout) == "before\ntext\nafter\n"


def test_a_missing_directory_and_a_directory_are_one_clear_error(tmp_path):
    with pytest.raises(WriteError, match=r"gone.*make it, or give another path"):
        write_text(tmp_path / "gone" / "a", "x")
    with pytest.raises(WriteError, match="is a directory"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="Not a directory"):
        write_text(tmp_path / "file" / "a", "x")


def refuse(number: int):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_or_read_only_disk_leaves_the_old_file(tmp_path, monkeypatch, call, number):
    path = tmp_path / "a"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(writer.os, call, refuse(number))
        with pytest.raises(WriteError, match=os.strerror(number)) as caught:
            write_text(path, "new")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_disk_that_is_really_full():
    with pytest.raises(WriteError, match="No space left"):
        write_bytes("/dev/full", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_files_and_directories_are_refused(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(WriteError, match="read-only"):
        write_text(tmp_path / "a", "new")
    tmp_path.chmod(0o555)
    with pytest.raises(WriteError, match="Permission denied"):
        write_text(tmp_path / "b", "new")
    tmp_path.chmod(0o755)


def test_an_error_in_the_block_is_the_callers_and_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")

    def write() -> None:
        with writing(tmp_path / "a") as file:
            file.write(b"half")
            (tmp_path / "input that is not there").read_text()

    with pytest.raises(FileNotFoundError):
        write()
    assert (tmp_path / "a").read_text() == "old"
    assert leftovers(tmp_path) == []


def test_lone_surrogates(tmp_path):
    write_rows(tmp_path / "a", [{"text": "\ud800 é"}, {"text": "é"}], ascii_only=False)
    assert [row["text"] for _, row in read_rows(tmp_path / "a")] == ["\ud800 é", "é"]
    assert "é" in read_text(tmp_path / "a")


KILLED = """
import sys
from sgpo.runs.files import append_rows, write_json
folder, kind = sys.argv[1:]
for i in range(10**9):
    if i == 1:
        print("at work", flush=True)
    if kind == "write":
        write_json(folder + "/a.json", {"i": i, "filler": [i] * 20000})
    else:
        append_rows(folder + "/a.jsonl", [{"i": i, "filler": [i] * 20000}])
"""


@pytest.mark.parametrize("kind", ["write", "append"])
def test_kill_9_leaves_whole_files(tmp_path, kind):
    for round in range(3):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), kind], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()  # once it is in the middle of its work
        time.sleep(0.03 * round)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if kind == "write":
            value = read_json(tmp_path / "a.json")
            assert value["filler"] == [value["i"]] * 20000
        if kind == "append":
            rows = [row for _, row in recover_rows(tmp_path / "a.jsonl")]
            assert rows
            assert all(row["filler"] == [row["i"]] * 20000 for row in rows)


@settings(max_examples=80)
@given(rows=ROWS.filter(bool), cut=st.integers(0, 10_000), more=ROWS)
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, rows, cut, more):
    path = tmp_path_factory.mktemp("f") / "a.jsonl"
    append_rows(path, rows)
    data = path.read_bytes()
    cut %= len(data) + 1
    path.write_bytes(data[:cut])
    ends = [i for i, byte in enumerate(data) if byte == 10]
    whole = sum(end <= cut for end in ends)  # a line without only its line feed is whole
    assert [row for _, row in read_rows(path, torn=True)] == rows[:whole]
    assert [row for _, row in recover_rows(path)] == rows[:whole]
    append_rows(path, more)
    assert [row for _, row in read_rows(path)] == rows[:whole] + more


def test_append_mends_a_torn_line_first_and_a_long_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": "' + b"x" * 200_000 + "é".encode()[:1])
    append_rows(path, [{"c": 3}])
    assert path.read_bytes() == b'{"a": 1}\n{"c": 3}\n'


def test_append_on_a_full_disk_leaves_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    append_rows(path, [{"a": 1}])
    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "fsync", refuse(errno.ENOSPC))
        with pytest.raises(WriteError, match="free some space"):
            append_rows(path, [{"b": 2}])
    assert path.read_text() == '{"a": 1}\n'


def test_recover_names_a_line_that_is_damaged_in_the_middle(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b"\n{"c": 3}\n')
    with pytest.raises(ReadError, match=r"a\.jsonl, line 2: not valid JSON"):
        recover_rows(tmp_path / "a.jsonl")
    assert recover_rows(tmp_path / "none.jsonl") == []


def test_json_is_ascii_with_a_line_feed(tmp_path):
    write_json(tmp_path / "a.json", {"ü": 1})
    assert (tmp_path / "a.json").read_bytes() == b'{\n "\\u00fc": 1\n}\n'
    assert json.loads((tmp_path / "a.json").read_text()) == {"ü": 1}
