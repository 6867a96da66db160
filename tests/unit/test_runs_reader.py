"""What the one reader takes, and the words with which it refuses the rest."""

import contextlib
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo.runs.files import ReadError, read_json, read_json_object, read_lines, read_rows, read_text

ROWS = [{"id": 1, "text": "é\u2028²"}, {"id": 2, "text": "a\\b"}, {"id": 3, "text": ""}]


def as_lines(rows, end="\n", **options):
    return "".join(json.dumps(row, **options) + end for row in rows)


LAYOUTS = {
    "jsonl": as_lines(ROWS).encode(),
    "not escaped": as_lines(ROWS, ensure_ascii=False).encode(),
    "no last line feed": as_lines(ROWS).strip().encode(),
    "crlf": as_lines(ROWS, "\r\n").encode(),
    "cr": as_lines(ROWS, "\r").encode(),
    "blank lines": ("\n \t\n" + as_lines(ROWS, "\n\n  \n")).encode(),
    "bom": as_lines(ROWS).encode("utf-8-sig"),
    "two files with a bom joined": as_lines(ROWS[:1]).encode("utf-8-sig") + as_lines(ROWS[1:]).encode("utf-8-sig"),
    "list": json.dumps(ROWS).encode(),
    "list, indented": json.dumps(ROWS, indent=2, ensure_ascii=False).encode("utf-8-sig"),
    "list, crlf": json.dumps(ROWS, indent=2).replace("\n", "\r\n").encode(),
    "list after blank lines": ("\n\n " + json.dumps(ROWS) + "\n\n").encode(),
    "gzip": gzip.compress(as_lines(ROWS).encode()),
    "gzip, list": gzip.compress(json.dumps(ROWS).encode("utf-8-sig")),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(tmp_path, layout, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(LAYOUTS[layout])
    assert [row for _, row in read_rows(path)] == ROWS


def test_each_row_says_its_line(tmp_path):
    for data in ('\n{"a": 1}\n\n{"a": 2}\n', '[\n{"a": 1},\n\n {"a":\n2}]'):
        (tmp_path / "a").write_text(data)
        numbers = [int(where.rpartition(" ")[2]) for where, _ in read_rows(tmp_path / "a")]
        assert numbers == ([2, 4])


REFUSED = {
    # name: (bytes, the words that must be in the message)
    "latin-1": (b'{"a": 1}\n{"a": "caf\xe9"}\n', ["line 2", "0xe9", "position 19", "iconv -f WINDOWS-1252"]),
    "utf-16": ('{"a": 1}\n'.encode("utf-16"), ["UTF-16", "iconv -f UTF-16"]),
    "utf-16 big": (b"\xfe\xff" + '{"a": 1}\n'.encode("utf-16-be"), ["UTF-16", "iconv"]),
    "utf-16 without a mark": ('{"a": 1}\n'.encode("utf-16-le"), ["line 1", "NUL byte at position 1", "UTF-16"]),
    "utf-32": ('{"a": 1}\n'.encode("utf-32"), ["UTF-32", "iconv"]),
    "utf-16 with umlauts": ('{"ä": 1}\n'.encode("utf-16-le"), ["NUL byte", "UTF-16"]),
    "gb18030": ('{"a": "已知"}\n'.encode("gb18030"), ["line 1", "is not UTF-8"]),
    "shift-jis": ('{"a": "数学"}\n'.encode("shift-jis"), ["line 1", "is not UTF-8"]),
    "nul": (b'{"a": 1}\n{"b": \x00\x00}\n', ["line 2", "NUL byte at position 15"]),
    "in a list": (b'[{"a": 1},\r\n{"a": "\xff"}]', ["line 2", "0xff"]),
    "after carriage returns": (b'{"a": 1}\r{"a": "\xff"}\r', ["line 2", "0xff"]),
    "parquet": (b"PAR1\x15\x04", ["parquet", ".parquet"]),
    "zip": (b"PK\x03\x04aaaa", ["zip archive"]),
    "zstd": (b"\x28\xb5\x2f\xfdaaaa", ["zstd -d"]),
    "sqlite": (b"SQLite format 3\x00", ["SQLite"]),
    "torn gzip": (gzip.compress(as_lines(ROWS * 99).encode())[:-30], ["cannot be read"]),
    "damaged gzip": (gzip.compress(as_lines(ROWS).encode())[:20] + b"junk" * 9, ["cannot be read"]),
    "torn": (b'{"a": 1}\n{"a": 2', ["line 2", "not valid JSON", "column 8"]),
    "a text": (b'{"a": 1}\n"b"\n', ["line 2", "a text, not a JSON object"]),
    "null": (b"null\n", ["line 1", "null, not a JSON object"]),
    "list of numbers": (b'[{"a": 1},\n 3]', ["line 2", "a number, not a JSON object"]),
    "list that is cut off": (b'[{"a": 1},\n {"a": 2}', ["line 2", "cut off"]),
    "list without a comma": (b'[{"a": 1}\n {"a": 2}]', ["line 2", "','"]),
    "list with a comma at its end": (b'[{"a": 1},\n]', ["line 2", "not valid JSON"]),
    "two lists": (b'[{"a": 1}]\n[{"a": 2}]', ["line 1", "follows the end of the list"]),
    "an object over lines": (b'{\n "a": 1\n}\n', ["line 1", "one object a line, or one list"]),
    "twice": (b'{"a": 1}\n{"a": 1, "b": {"c": 1, "c": 2}}\n', ["line 2", "'c' stands twice"]),
    "digits": (b'{"a": ' + b"1" * 5000 + b"}", ["line 1", "more digits", "in quotes"]),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["line 1", "too deep"]),
    "deep in a list": (b'[{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", ["line 1", "too deep"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_message_names_file_line_and_remedy(tmp_path, name):
    data, words = REFUSED[name]
    path = tmp_path / "data.jsonl"
    path.write_bytes(data)
    with pytest.raises(ReadError) as caught:
        list(read_rows(path))
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert len(said) < 300 + len(str(path))
    for word in words:
        assert word in said


def test_bad_bytes_are_raised_even_where_bad_lines_are_skipped(tmp_path):
    skipped: list[ReadError] = []
    (tmp_path / "a").write_bytes(b'{"a": 1}\nnot json\n[1]\n{"a": 2}\n')
    assert [row["a"] for _, row in read_rows(tmp_path / "a", skip=skipped.append)] == [1, 2]
    assert ["line 2" in str(skipped[0]), "line 3" in str(skipped[1])] == [True, True]
    (tmp_path / "a").write_bytes(b'{"a": 1}\n{"a": "\xe9"}\n')
    with pytest.raises(ReadError, match="line 2"):
        list(read_rows(tmp_path / "a", skip=skipped.append))


@pytest.mark.parametrize("tail", [b'{"a": 2', b'{"a": "\xc3', b"\x00\x00\x00", b"[", b"junk"])
def test_a_torn_last_line_is_left_out_of_a_running_file_only(tmp_path, tail):
    (tmp_path / "a").write_bytes(b'{"a": 1}\n' + tail)
    assert [row for _, row in read_rows(tmp_path / "a", torn=True)] == [{"a": 1}]
    with pytest.raises(ReadError):
        list(read_rows(tmp_path / "a"))
    (tmp_path / "a").write_bytes(b'{"a": 1}\n' + tail + b"\n")  # not torn: broken
    with pytest.raises(ReadError):
        list(read_rows(tmp_path / "a", torn=True))


def test_a_file_without_rows_has_none(tmp_path):
    for data in (b"", b"\n \r\n", b"\xef\xbb\xbf", b"[]", b" [ \n ] \n"):
        (tmp_path / "a").write_bytes(data)
        assert list(read_rows(tmp_path / "a")) == []


def test_not_a_number_is_read_as_python_reads_it(tmp_path):
    (tmp_path / "a").write_text('{"a": NaN, "b": -Infinity, "c": 1e999}')
    (_, row) = next(read_rows(tmp_path / "a"))
    assert str(row) == "{'a': nan, 'b': -inf, 'c': inf}"


def test_what_is_no_file(tmp_path):
    with pytest.raises(ReadError, match=r"no such file; give"):
        read_text(tmp_path / "none")
    with pytest.raises(ReadError, match=r"Is a directory"):
        list(read_rows(tmp_path))


def test_text_and_objects(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc")
    assert read_text(tmp_path / "a") == "a\nb\nc"
    assert list(read_lines(tmp_path / "a")) == ["a", "b", "c"]
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a") == [1]
    with pytest.raises(ReadError, match="a list, not a JSON object"):
        read_json_object(tmp_path / "a")


@settings(max_examples=100)
@given(data=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_bytes_give_anything_but_rows_or_a_read_error(tmp_path_factory, data):
    path: Path = tmp_path_factory.mktemp("f") / "a"
    path.write_bytes(data)
    for reader in (lambda: list(read_rows(path)), lambda: list(read_rows(path, torn=True)), lambda: read_json(path)):
        with contextlib.suppress(ReadError):
            reader()


@settings(max_examples=60)
@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_lines_are_those_of_the_text(tmp_path_factory, text):
    path: Path = tmp_path_factory.mktemp("f") / "a"
    path.write_bytes(text.encode())
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert read_text(path) == expected
    found = "\n".join(line.removeprefix("\ufeff") for line in read_lines(path))
    assert found == "\n".join(line.removeprefix("\ufeff") for line in expected.removesuffix("\n").split("\n"))
