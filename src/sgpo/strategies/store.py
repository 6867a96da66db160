"""The store: one SQLite file that survives ``kill -9``, a full disk, and two processes at once.

A call counts as answered when its reply is committed; the journal is a write-ahead log with ``synchronous=FULL``, so a
commit is on the disk before `record` returns. On a network file system it is SQLite's older journal, which is as safe
there as the locks of that system, and slower. A process claims calls before it makes them and beats while it lives;
the claims of one that is gone are free again, at once where it ran on this machine, else after `STALE` seconds.
"""

import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sgpo.runs.files import JsonObject
from sgpo.runs.mounts import on_network
from sgpo.strategies.records import AnsweredCall, Candidate, Key, Problem, Setup
from sgpo.strategies.schema import Strategy

VERSION = 1
STALE = 120.0  # seconds without a beat after which a process on another machine is taken for gone
BEAT = 15.0  # seconds between beats
_APPLICATION = 0x5347504F  # "SGPO"
_PROCESS = uuid.uuid4().hex  # tells this process from an earlier one with the same number
_PAGE = 64

_TABLES = """
CREATE TABLE problems (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL, status TEXT NOT NULL,
  problem TEXT NOT NULL, answer TEXT NOT NULL, response TEXT NOT NULL
);
CREATE TABLE setups (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, model TEXT NOT NULL,
  prompt TEXT NOT NULL, prompt_sha256 TEXT NOT NULL, settings TEXT NOT NULL
);
CREATE TABLE calls (
  id TEXT PRIMARY KEY,
  setup TEXT NOT NULL REFERENCES setups, problem TEXT NOT NULL REFERENCES problems,
  number INTEGER NOT NULL, subject TEXT NOT NULL,
  outcome TEXT NOT NULL, raw TEXT NOT NULL, parsed TEXT,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, tokens_estimated INTEGER NOT NULL,
  structured INTEGER NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
  UNIQUE (setup, problem, number, subject)
);
CREATE INDEX calls_of_problem ON calls (problem);
CREATE TABLE notes (
  candidate TEXT NOT NULL REFERENCES calls, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (candidate, name)
);
CREATE TABLE workers (id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, process TEXT NOT NULL, beat REAL);
CREATE TABLE claims (id TEXT PRIMARY KEY, setup TEXT NOT NULL, worker TEXT NOT NULL);
"""


_EXTRAS = "CREATE TABLE IF NOT EXISTS extras (problem TEXT PRIMARY KEY REFERENCES problems, value TEXT NOT NULL)"
"""What a problem's row held beside its texts. Stores of earlier versions get the table when they are opened."""
_NO_EXTRAS: JsonObject = {"turns": None, "columns": {}}
_TEXTS = ("digest", "status", "problem", "answer", "response")
_MENDED = f"""ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _TEXTS)}
  WHERE problems.status != 'ok' AND (problems.digest, problems.status) != (excluded.digest, excluded.status)"""
_REPLACED = ("outcome", "raw", "parsed", "tokens_estimated", "structured", "seconds", "at")
_REPLACE = f"""ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REPLACED)},
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens
  WHERE calls.outcome != 'ok' AND calls.parsed IS NULL"""


class StoreError(ValueError):
    """A store that cannot be used or written; the message says why and what to do."""


class Store(AbstractContextManager["Store"]):
    """A store; threads may share it.

    Args:
        path: the file; made where it is missing, unless ``create`` is False.

    Raises:
        StoreError: for a file that is not a store, one of a newer version, or one that cannot be opened.
    """

    def __init__(self, path: Path | str, *, create: bool = True) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise StoreError(
                f"There is no store {self.path}; make one with sgpo strategies extract or import, or give --store."
            )
        self.worker = uuid.uuid4().hex
        self._lock = threading.RLock()
        with self._faults():
            # Transactions are ours to begin (`_write`): sqlite3 by itself begins none before the first change.
            self._db = sqlite3.connect(self.path, timeout=60.0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is claimed and close."""
        try:
            with self._write() as db:
                db.execute("DELETE FROM claims WHERE worker = ?", (self.worker,))
                db.execute("DELETE FROM workers WHERE id = ?", (self.worker,))
        except (StoreError, sqlite3.ProgrammingError):
            pass  # the disk is full, or it is closed already; a dead worker's claims are free anyway
        finally:
            self._db.close()

    # --- writing ---------------------------------------------------------------------------------------------------

    def add_setup(self, setup: Setup) -> None:
        """Make a setup known, once."""
        row = (setup.id, setup.kind, setup.model, setup.prompt, setup.prompt_sha256, setup.settings_json)
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO setups VALUES (?, ?, ?, ?, ?, ?)", row)

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Make problems known. A usable one that is there already keeps its texts, and a skipped one is replaced."""
        problems = list(problems)
        rows = [(p.id, p.digest, p.status, p.problem, p.answer, p.response) for p in problems]
        usable = {p.id: p for p in problems if p.status == "ok"}
        query = "SELECT problem, value FROM extras WHERE problem IN (SELECT value FROM json_each(?))"
        with self._write() as db:
            # What may change without another text: a system message, and columns, which only grow.
            before = {id: json.loads(value) for id, value in db.execute(query, (json.dumps(list(usable)),))}
            columns = {id: before.get(id, {}).get("columns", {}) | p.columns for id, p in usable.items()}
            found = {id: {"turns": p.turns, "columns": columns[id]} for id, p in usable.items()}
            extras = [(id, json.dumps(value)) for id, value in found.items() if value != before.get(id, _NO_EXTRAS)]
            db.executemany(f"INSERT INTO problems VALUES (?, ?, ?, ?, ?, ?) {_MENDED}", rows)
            db.executemany("INSERT OR REPLACE INTO extras VALUES (?, ?)", extras)

    def claim(self, keys: Sequence[Key], again: Container[str] = ()) -> tuple[set[Key], int]:
        """Claim calls: those that are now ours to make, and how many a living process has claimed before.

        The rest is answered, or claimed by ourselves before. Answered calls whose id is in ``again`` may be made once
        more (see `unreadable`).
        """
        with self._write() as db:
            self._beat(db)
            # Here and not by a timer: dead claims matter to nobody but a process that claims.
            gone = [row[0] for row in db.execute("SELECT * FROM workers") if not self._alive(*row)]
            for worker in gone:
                db.execute("DELETE FROM claims WHERE worker = ?", (worker,))
                db.execute("DELETE FROM workers WHERE id = ?", (worker,))
            ours, blocked = set(), 0
            for key in keys:
                if key.id not in again and db.execute("SELECT 1 FROM calls WHERE id = ?", (key.id,)).fetchone():
                    continue
                claimed = (key.id, key.setup, self.worker)
                if db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", claimed).rowcount:
                    ours.add(key)
                else:
                    owner = db.execute("SELECT worker FROM claims WHERE id = ?", (key.id,)).fetchone()[0]
                    blocked += owner != self.worker
            return ours, blocked

    def record(self, answers: Iterable[AnsweredCall]) -> None:
        """Commit answered calls and end their claims.

        Of two answers to one call the first that could be read stays; one that could not is replaced, and its tokens
        are added to those of the new one.

        Raises:
            StoreError: nothing of ``answers`` was written (a full disk, for one); what was before is untouched.
        """
        with self._write() as db:
            for a in answers:
                k = a.key
                row: tuple[Any, ...] = (k.id, k.setup, k.problem, k.number, k.subject, a.outcome, a.raw, a.parsed)
                row += (a.prompt_tokens, a.completion_tokens, a.tokens_estimated, a.structured, a.seconds, time.time())
                db.execute(f"INSERT INTO calls VALUES ({', '.join('?' * len(row))}) {_REPLACE}", row)
                db.execute("DELETE FROM claims WHERE id = ?", (k.id,))

    def note(self, notes: Iterable[tuple[str, str, JsonObject]], *, free: bool = False) -> None:
        """Write ``(candidate id, name, value)``, in place of an earlier note of that name.

        Notes that were ``free`` of cost do not wait for the disk: a machine that loses its power may forget them.
        """
        rows = [(candidate, name, json.dumps(value, sort_keys=True)) for candidate, name, value in notes]
        with self._write(waits=not free) as db:
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", rows)

    def beat(self) -> None:
        """Say that this process lives; at least every `BEAT` seconds while it holds claims."""
        with self._write() as db:
            self._beat(db)

    # --- reading ---------------------------------------------------------------------------------------------------

    def known(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        """``{id: (digest, status)}`` of those problems that are there."""
        # As one JSON text: SQLite bounds the number of parameters of a query.
        query = "SELECT id, digest, status FROM problems WHERE id IN (SELECT value FROM json_each(?))"
        return {row[0]: (row[1], row[2]) for row in self.rows(query, json.dumps(list(ids)))}

    def students(self) -> dict[str, tuple[str, int]]:
        """The setups by which the candidates' lifts were measured: the student of each, and the candidates."""
        query = """SELECT json_extract(value, '$.setup'), json_extract(value, '$.student'), count(*) FROM notes
                   WHERE name = 'lift' GROUP BY 1, 2 ORDER BY 3 DESC, 1"""
        return {setup: (student, many) for setup, student, many in self.rows(query)}

    def texts(self) -> list[tuple[str, str, str]]:
        """Id, problem and answer of each usable problem, the first that was stored last: in a mapping it then wins."""
        query = "SELECT id, problem, answer FROM problems WHERE status = 'ok' ORDER BY rowid DESC"
        return [(id, problem, answer) for id, problem, answer in self.rows(query)]

    def problems(self, ids: Sequence[str] | None = None) -> Iterator[Problem]:
        """Usable problems, by id; all, or those of ``ids`` that are there. In pages, so memory stays flat."""
        chosen = "" if ids is None else "AND p.id IN (SELECT value FROM json_each(?2))"
        last, more = "", ([] if ids is None else [json.dumps(list(ids))])
        query = f"""
            SELECT p.id, p.problem, p.answer, p.response, p.status, p.digest, coalesce(e.value, '{{}}')
            FROM problems p LEFT JOIN extras e ON e.problem = p.id
            WHERE p.status = 'ok' AND p.id > ?1 {chosen} ORDER BY p.id LIMIT {_PAGE}"""
        while rows := self.rows(query, last, *more):
            yield from (Problem(*texts, **json.loads(extras)) for *texts, extras in rows)
            last = rows[-1][0]

    def candidates(self, problem: str) -> list[Candidate]:
        """The strategies of a problem with their provenance and notes, by number."""
        query = """
            SELECT c.id, c.problem, c.number, c.parsed, s.model, s.prompt, s.prompt_sha256,
                   (SELECT json_group_object(name, json(value)) FROM notes WHERE candidate = c.id)
            FROM calls c JOIN setups s ON s.id = c.setup
            WHERE c.problem = ? AND s.kind = 'extract' AND c.outcome = 'ok' ORDER BY c.number, c.id"""
        return [
            Candidate(id, of, number, Strategy.load(parsed), model, prompt, sha, json.loads(notes))
            for id, of, number, parsed, model, prompt, sha, notes in self.rows(query, problem)
        ]

    def with_candidates(self, limit: int | None = None) -> Iterator[tuple[Problem, list[Candidate]]]:
        """The first ``limit`` usable problems, each with its candidates, of which there may be none."""
        return ((problem, self.candidates(problem.id)) for problem in islice(self.problems(), limit))

    def usable(self) -> int:
        """The number of usable problems."""
        return int(self.rows("SELECT count(*) FROM problems WHERE status = 'ok'")[0][0])

    def parsed(self, setup: str, problem: str, subject: str) -> dict[int, Any]:
        """What was read in the usable answers of a setup to a problem, by number."""
        query = "SELECT number, parsed FROM calls WHERE setup = ? AND problem = ? AND subject = ? AND outcome = 'ok'"
        return {number: json.loads(text) for number, text in self.rows(query, setup, problem, subject)}

    def unreadable(self, setup: str) -> dict[str, tuple[int, int]]:
        """Answered calls of a setup in which nothing of use could be read: id to the tokens they took, in and out."""
        query = """SELECT id, prompt_tokens, completion_tokens FROM calls
                   WHERE setup = ? AND outcome != 'ok' AND parsed IS NULL"""
        return {row[0]: (row[1], row[2]) for row in self.rows(query, setup)}

    def claimed_by_others(self, setup: str) -> int:
        """Calls of a setup that other living processes have under way or before them."""
        query = "SELECT w.*, count(*) FROM claims c JOIN workers w ON w.id = c.worker WHERE c.setup = ? GROUP BY w.id"
        return sum(row[5] for row in self.rows(query, setup) if row[0] != self.worker and self._alive(*row[:5]))

    def totals(self, setup: str) -> dict[str, float]:
        """Sums over a setup's answered calls: calls, prompt_tokens, completion_tokens and seconds."""
        names = ("prompt_tokens", "completion_tokens", "seconds")
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in names)
        row = self.rows(f"SELECT count(*), {sums} FROM calls WHERE setup = ?", setup)[0]
        return dict(zip(("calls", *names), row, strict=True))

    def repeated(self, setup: str) -> tuple[int, int]:
        """Usable answers of a setup that repeat another one to their problem word for word, and all of them."""
        query = """SELECT coalesce(sum(many - different), 0), coalesce(sum(many), 0) FROM (
                     SELECT count(*) AS many, count(DISTINCT parsed) AS different
                     FROM calls WHERE setup = ? AND outcome = 'ok' GROUP BY problem)"""
        same, of = self.rows(query, setup)[0]
        return int(same), int(of)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self._lock, self._faults():
            return self._db.execute(query, values).fetchall()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._faults():
            # The tables first: another process may be making the store, and commits them together with the marks.
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            mine, version = (self._db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("application_id", "user_version"))
            if tables and mine != _APPLICATION:
                raise StoreError(f"{self.path} is a database of something else; give another --store.")
            if version > VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer sgpo (its version is {version}, this one reads up to "
                    f"{VERSION}). Upgrade sgpo, or give another --store."
                )
            # A write-ahead log has its index in shared memory, which machines do not share: it would break the file.
            self._shared = on_network(self.path)
            self._db.execute(f"PRAGMA journal_mode = {'DELETE' if self._shared else 'WAL'}")
            self._db.execute("PRAGMA foreign_keys = ON")
        with self._write() as db:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute(_EXTRAS)

    def _beat(self, db: sqlite3.Connection) -> None:
        row = (self.worker, socket.gethostname(), os.getpid(), _PROCESS, time.time())
        db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)", row)

    @staticmethod
    def _alive(worker: str, host: str, pid: int, process: str, beat: float) -> bool:
        """Whether a worker may still be at work."""
        if host == socket.gethostname() and os.name == "posix":
            # In a container, say, that began anew, this process may have the number of the one that is gone.
            if pid == os.getpid() and process != _PROCESS:
                return False
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass
        return abs(time.time() - beat) < STALE  # a clock may have been set back

    @contextmanager
    def _write(self, *, waits: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing; on the disk before this returns where it ``waits`` for that."""
        with self._lock, self._faults():
            self._db.execute(f"PRAGMA synchronous = {'EXTRA' if self._shared else 'FULL' if waits else 'NORMAL'}")
            # The lock for writing at once: two that began by reading would each wait for the other one.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has rolled back by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            remedy = "Look at the file and its folder, or give another --store."
            if "full" in str(error):
                remedy = "Free some space and run the same command again; what was answered before is kept."
            elif "locked" in str(error):
                remedy = "Another process has held it for a minute; wait for it, or end it."
            raise StoreError(f"The store {self.path} failed: {error}. {remedy}") from error
