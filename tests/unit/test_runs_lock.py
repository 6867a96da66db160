"""One process at a time in a directory; the dead never block."""

import errno
import os
import signal
import subprocess
import sys
import warnings

import pytest

from sgpo.runs.files import InUseError, WriteError, locked

HOLD = """
import os, sys
from sgpo.runs.files import locked
with locked(sys.argv[1], "sgpo eval"):
    if len(sys.argv) > 2:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, b"1")  # only now has the child let go of the lock
            os.read(0, 1)  # as long as the test has this end of the pipe open
            os._exit(0)
        os.read(reader, 1)
    print(os.getpid(), flush=True)
    os.read(0, 1)
"""


def holder(folder, *more):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *more], text=True, **pipes)
    assert child.stdout is not None
    return child, int(child.stdout.readline())


@pytest.mark.parametrize("forked", [(), ("forked",)])
def test_the_refusal_names_the_process_and_the_dead_do_not_block(tmp_path, forked):
    child, pid = holder(tmp_path, *forked)
    try:
        with pytest.raises(InUseError) as caught, locked(tmp_path, "another", remedy="give another --out"):
            pass
        assert f"process {pid}: sgpo eval" in str(caught.value)
        assert str(caught.value).endswith("give another --out.")
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    with locked(tmp_path):  # also where a forked child of the dead process lives on
        pass
    child.stdin.close()


def test_it_is_free_after_the_block_and_after_an_error(tmp_path):
    with locked(tmp_path, "a"), pytest.raises(InUseError, match=f"process {os.getpid()}: a"), locked(tmp_path):
        pass
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == ""


def test_a_directory_that_cannot_be_written_is_one_clear_error(tmp_path):
    with pytest.raises(WriteError, match="no directory"), locked(tmp_path / "gone"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="Not a directory"), locked(tmp_path / "file"):
        pass


def test_a_file_system_without_locks_warns(tmp_path, monkeypatch):
    import fcntl

    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="cannot be locked"), locked(tmp_path):
        pass


def test_a_lock_says_nothing_where_all_is_well(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with locked(tmp_path):
            pass
