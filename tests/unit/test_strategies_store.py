"""The store: what is committed stays, two processes share it, a full disk and a newer version are said."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import GOOD

from sgpo.strategies import store as storing
from sgpo.strategies.export import leaks
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import VERSION, Store, StoreError

SETUP = Setup("extract", "m", "extract.v1", "abc", {"temperature": 1.0, "seed": 0})
PARSED = Strategy(**GOOD).model_dump_json()


def key(problem: str = "p0", number: int = 0, subject: str = "") -> Key:
    return Key(SETUP.id, problem, number, subject)


def answer(k: Key, outcome: str = "ok", raw: str = "raw", parsed: str | None = PARSED) -> AnsweredCall:
    return AnsweredCall(k, outcome, raw, parsed if outcome == "ok" else None, 40, 10, seconds=0.5)


def opened(path: Path, problems: int = 3) -> Store:
    store = Store(path)
    store.add_setup(SETUP)
    store.add_problems(Problem(f"p{i}", f"problem {i}", str(i), "response", digest=f"d{i}") for i in range(problems))
    return store


def test_answers_come_back_with_their_provenance(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as store:
        store.record([answer(key(number=1)), answer(key(number=0)), answer(key(number=2), "no_json")])
        store.note([(key(number=1).id, "rank", {"place": 1}), (key(number=1).id, "check", {"leak": False})])
        store.note([(key(number=1).id, "rank", {"place": 2})])
    with Store(tmp_path / "s.db", create=False) as store:
        first, second = store.candidates("p0")
        assert (first.number, first.notes, second.number) == (0, {}, 1)
        assert second.notes == {"rank": {"place": 2}, "check": {"leak": False}}
        assert first.strategy == Strategy(**GOOD)
        provenance = (first.id, first.model, first.prompt, first.prompt_sha256)
        assert provenance == (key().id, "m", "extract.v1", "abc")
        assert store.totals(SETUP.id) == {"calls": 3, "prompt_tokens": 120, "completion_tokens": 30, "seconds": 1.5}
        assert store.rows("SELECT raw, outcome FROM calls WHERE number = 2") == [("raw", "no_json")]
        assert store.parsed(SETUP.id, "p0", "") == {0: GOOD, 1: GOOD}


def test_the_first_answer_to_a_call_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as store:
        store.record([answer(key(), raw="first")])
        store.record([answer(key(), raw="second"), answer(key(number=1))])
        assert store.rows("SELECT raw FROM calls ORDER BY number") == [("first",), ("raw",)]


def test_problems_stay_as_they_were_first_and_come_in_pages(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db", problems=0) as store:
        rows = [Problem(f"p{i:03}", "t", "a", "r", "ok" if i % 2 else "no_answer", "d") for i in range(300)]
        store.add_problems(rows)
        store.add_problems([Problem("p001", "other", "a", "r", "ok", "e")])
        assert [p.id for p in store.problems()] == [f"p{i:03}" for i in range(1, 300, 2)]
        assert [(p.id, p.problem) for p in store.problems(["p001", "p002", "p099"])] == [("p001", "t"), ("p099", "t")]
        assert store.known(["p001", "p002", "x"]) == {"p001": ("d", "ok"), "p002": ("d", "no_answer")}


def test_what_another_setting_asked_is_another_call() -> None:
    other = Setup("extract", "m", "extract.v1", "abc", {"temperature": 0.5, "seed": 0})
    renamed = Setup("extract", "m", "mine", "abc", {"seed": 0, "temperature": 1.0})
    assert other.id != SETUP.id == renamed.id  # the prompt's text counts, not its name; nor the order of settings
    assert len({key().id, key("p1").id, key(number=1).id, key(subject="s").id, Key(other.id, "p0", 0).id}) == 5


def test_claims_go_to_one_store_until_it_is_answered_or_closed(tmp_path: Path) -> None:
    keys = [key(number=i) for i in range(4)]
    with opened(tmp_path / "s.db") as one, Store(tmp_path / "s.db") as two:
        one.record([answer(keys[0])])
        assert one.claim(keys[:3]) == ({keys[1], keys[2]}, 0)
        assert one.claim(keys[:3]) == (set(), 0)  # ours already
        assert two.claim(keys) == ({keys[3]}, 2)
        assert two.claimed_by_others(SETUP.id) == 2
        one.record([answer(keys[1])])
        assert two.claimed_by_others(SETUP.id) == 1
        one.close()
        assert two.claimed_by_others(SETUP.id) == 0
        assert two.claim(keys) == ({keys[2]}, 0)


def test_claims_of_the_dead_are_free_and_of_the_distant_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    cases: dict[str, tuple[str, int, str, float, int]] = {
        "dead": (storing.socket.gethostname(), gone.pid, "x", storing.time.time(), 0),
        "its number is ours now": (storing.socket.gethostname(), os.getpid(), "x", storing.time.time(), 0),
        "distant": ("elsewhere", 1, "x", storing.time.time(), 1),
        "silent": ("elsewhere", 1, "x", storing.time.time() - storing.STALE - 1, 0),
        "of before the clock was set back": ("elsewhere", 1, "x", storing.time.time() + storing.STALE + 9, 0),
    }
    for name, (host, pid, process, beat, blocked) in cases.items():
        with opened(tmp_path / f"{name}.db") as store:
            with store._write() as db:
                db.execute("INSERT INTO workers VALUES ('w', ?, ?, ?, ?)", (host, pid, process, beat))
                db.execute("INSERT INTO claims VALUES (?, ?, 'w')", (key().id, SETUP.id))
            assert store.claimed_by_others(SETUP.id) == blocked, name
            assert store.claim([key()]) == (set() if blocked else {key()}, blocked), name


def test_many_threads_and_processes_share_a_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    opened(path, problems=1).close()
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}
from test_strategies_store import *
with Store({str(path)!r}) as store:
    for number in range(60):
        ours, _ = store.claim([key(number=number)])
        store.record([answer(k, raw=sys.argv[1]) for k in ours])
"""
    workers = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    with Store(path) as store:
        assert store.rows("SELECT count(*), count(DISTINCT number) FROM calls") == [(60, 60)]
        assert store.rows("SELECT count(*) FROM claims") == store.rows("SELECT count(*) FROM workers") == [(0,)]
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
        keys = [key(number=i) for i in range(100, 200)]
        threads = [
            threading.Thread(target=lambda part=keys[i::4]: [store.record([answer(k)]) for k in part]) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.totals(SETUP.id)["calls"] == 160


def test_stores_are_made_at_once_by_several_processes(tmp_path: Path) -> None:
    code = f"from sgpo.strategies.store import Store; Store({str(tmp_path / 's.db')!r}).close()"
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as store:
        store.record([answer(key())])
        pages = store.rows("PRAGMA page_count")[0][0]
        store.rows(f"PRAGMA max_page_count = {pages}")
        long = [answer(key(number=i), raw="x" * 5000) for i in range(1, 9)]
        with pytest.raises(StoreError, match=r"database or disk is full.*Free some space.*is kept"):
            store.record(long)
        assert store.totals(SETUP.id)["calls"] == 1
        store.rows("PRAGMA max_page_count = 1000000")
        store.record(long)
        assert store.totals(SETUP.id)["calls"] == 9


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as store:
        assert store.rows("PRAGMA journal_mode") == [("wal",)]
        assert store.rows("PRAGMA synchronous") == [(2,)]
        store.record([answer(key())])
        problem = next(store.problems())
        assert not leaks(store, problem, *store.candidates(problem.id))
        assert store.rows("PRAGMA synchronous") == [(1,)]  # what cost nothing waits for no disk, and is there at once
        with Store(tmp_path / "s.db") as other:
            assert [list(c.notes) for c in other.candidates(problem.id)] == [["check"]]
        store.note([(key().id, "rank", {"place": 1})])
        assert store.rows("PRAGMA synchronous") == [(2,)]


@pytest.mark.parametrize(
    ("kind", "mode"), [("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal"), (None, "wal")]
)
def test_on_a_network_file_system_there_is_no_write_ahead_log(
    kind: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of mounts is pretended; a store that was made with a write-ahead log gives it up."""
    share = tmp_path / "a share"
    share.mkdir()
    opened(share / "s.db").close()
    table = tmp_path / "mounts"
    point = str(share).replace(" ", "\\040")
    if kind is not None:
        table.write_text(f"disk / ext4 rw 0 0\nother {point}2 nfs4 rw 0 0\nserver:/x {point} {kind} rw 0 0\n")
    monkeypatch.setattr("sgpo.runs.mounts._MOUNTS", table)
    with Store(share / "s.db") as store, Store(share / "s.db") as second:
        assert store.rows("PRAGMA journal_mode") == [(mode,)]
        store.record([answer(key())])
        second.record([answer(key(number=1))])
        assert len(store.candidates("p0")) == 2
    assert not (share / "s.db-wal").exists()


def test_stores_that_cannot_be_used(tmp_path: Path) -> None:
    def raises(path: Path, message: str, **options: Any) -> None:
        with pytest.raises(StoreError, match=message):
            Store(path, **options)

    raises(tmp_path / "none.db", "There is no store", create=False)
    raises(tmp_path / "no" / "folder.db", "unable to open database file.*give another --store")
    (tmp_path / "text.db").write_text("hello " * 300)
    raises(tmp_path / "text.db", "file is not a database")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE t (a)")
    raises(tmp_path / "other.db", "a database of something else")
    opened(tmp_path / "new.db").close()
    with sqlite3.connect(tmp_path / "new.db") as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "new.db").read_bytes()
    raises(
        tmp_path / "new.db", rf"newer sgpo \(its version is {VERSION + 1}, this one reads up to {VERSION}\).*Upgrade"
    )
    assert (tmp_path / "new.db").read_bytes() == before
