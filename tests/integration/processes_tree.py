"""A tree of processes as a comparison on a recipe has one; started, and killed, by test_processes.py.

processes_tree.py FOLDER: this process -> one of the pool -> a verifier process, and a guard -> a launcher -> a rank in
a session of its own, and one that has lost its parent. It ends in an error once FOLDER holds a file "fail".
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sgpo.compare import launch
from sgpo.rewards.process import Worker
from sgpo.runs.jobs import ProcessJob, run_jobs
from sgpo.runs.processes import ended_tidily, watch_parent


def cell(folder: Path, report: Any) -> None:
    """A job that does not end."""
    verifier = Worker(512)
    launch.run_process([sys.executable, __file__, "launcher"], folder, "cell", report)
    verifier.kill()


def failing(folder: Path, report: Any) -> None:
    while not (folder / "fail").exists():
        time.sleep(0.1)
    raise ValueError("as it was told")


def launcher() -> None:
    subprocess.run(["sh", "-c", "sleep 600 &"], start_new_session=True, check=True)
    rank = [sys.executable, __file__, "rank", str(os.getpid())]
    subprocess.run(rank, start_new_session=True, check=True)


def rank(parent: int) -> None:
    """As sgpo.compare.recipe_cell, and deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch_parent(parent)
    while True:  # computes without pause
        pass


def main(what: str, parent: str = "") -> None:
    if what == "launcher":
        launcher()
    elif what == "rank":
        rank(int(parent))
    else:
        folder = Path(what)
        with ended_tidily():
            run_jobs([ProcessJob("cell", cell, (folder,)), ProcessJob("failing", failing, (folder,))], 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
