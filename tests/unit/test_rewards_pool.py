"""The workers: deadline, memory, replacement, threads, forks, data loaders, and what a parent imports."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sgpo import rewards
from sgpo.rewards import pool as pools
from sgpo.rewards import process as processes
from sgpo.rewards.worker import Judgement, Question

BOMBS = [  # each takes minutes or gigabytes without a limit
    r"9^{9^{9^{9}}}",
    r"(10^{10})!",
    r"\sum_{k=1}^{10^{9}} \frac{1}{k^{k}}",
    r"\binom{10^{9}}{5 \cdot 10^{8}}",
    "+".join(f"\\sqrt{{{k}}}" for k in range(2, 90)),
    "(" * 45 + "x" + "+1)^{9}" * 45,
]


@pytest.fixture
def small_pool() -> Iterator[None]:
    rewards.configure(workers=1, memory_mb=512)
    yield
    rewards.configure(workers=2, memory_mb=512)


def test_bombs_end_at_the_deadline_and_memory_is_bounded() -> None:
    verdicts = rewards.verify_batch([f"\\boxed{{{bomb}}}" for bomb in BOMBS], [r"\pi + x"] * len(BOMBS), timeout=1.0)
    for bomb, verdict in zip(BOMBS, verdicts, strict=True):
        assert not verdict.correct, bomb
        assert verdict.seconds < 60, (bomb, verdict)


def test_a_killed_worker_costs_its_own_item_and_is_replaced(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    call = processes.Worker.call

    def short_for_the_bomb(self: processes.Worker, question: Question, timeout: float) -> Judgement:
        return call(self, question, 1.0 if "binom" in question.answer[0] else timeout)

    monkeypatch.setattr(processes.Worker, "call", short_for_the_bomb)
    before = rewards.stats()
    responses = [r"\boxed{\frac{2}{4}}", f"\\boxed{{{BOMBS[3]}}}", r"\boxed{\frac{3}{6}}"]
    verdicts = rewards.verify_batch(responses, [r"\frac12", r"\pi", r"\frac12"], timeout=60)
    assert [verdict.reason for verdict in verdicts] == ["equivalent", "timeout", "equivalent"]
    after = rewards.stats()
    assert after["timeouts"] - before["timeouts"] == 1
    assert after["replaced"] - before["replaced"] == 1


def test_a_worker_killed_while_idle_costs_no_verdict(small_pool: None) -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    for wait in (True, False):  # long before the next item, and at the very moment
        (worker,) = pools.get_pool().workers
        os.kill(worker.process.pid, signal.SIGKILL)
        if wait:
            worker.process.wait()
        assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").reason == "equivalent"
    stats = rewards.stats()
    assert (stats["crashes"], stats["replaced"]) == (0, 2)


def test_all_workers_killed_while_idle_cost_no_verdict() -> None:
    rewards.configure(workers=2, memory_mb=512)
    items = [rf"\boxed{{\frac{{{k}}}{{{2 * k}}}}}" for k in range(2, 10)]
    assert all(verdict.correct for verdict in rewards.verify_batch(items, [r"\frac{1}{2}"] * 8))
    for worker in pools.get_pool().workers:
        os.kill(worker.process.pid, signal.SIGKILL)
    assert all(verdict.correct for verdict in rewards.verify_batch(items, [r"\frac{1}{2}"] * 8))
    assert rewards.stats()["crashes"] == 0


def test_workers_that_are_dying_when_they_are_taken_cost_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process looks alive until it is collected: here every idle one is taken in that moment."""
    rewards.configure(workers=4, memory_mb=512)
    items = [rf"\boxed{{\frac{{{k}}}{{{2 * k}}}}}" for k in range(2, 18)]
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda item: rewards.verify(item, r"\frac{1}{2}").correct, items))
    for worker in pools.get_pool().workers:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        monkeypatch.setattr(worker, "alive", lambda: True)
    assert rewards.verify(r"\boxed{\frac{3}{6}}", r"\frac{1}{2}").reason == "equivalent"
    assert rewards.stats()["crashes"] == 0
    rewards.configure(workers=2, memory_mb=512)


def test_a_worker_killed_at_work_is_replaced_and_its_item_tried_once_more(
    small_pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    first = next(iter(pools.get_pool().workers))
    os.kill(first.process.pid, signal.SIGSTOP)  # it holds the item and does not answer
    receive = processes.Worker._receive

    def killed_by_then(self: processes.Worker, deadline: float) -> object:
        if self is first:
            os.kill(first.process.pid, signal.SIGKILL)
        return receive(self, deadline)

    monkeypatch.setattr(processes.Worker, "_receive", killed_by_then)
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}", timeout=60).reason == "equivalent"
    assert rewards.stats()["retried"] == 1


def test_an_item_that_kills_two_workers_is_a_crash(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(self: processes.Worker, request: object, timeout: float) -> dict[str, object]:
        self.process.kill()
        raise processes.WorkerDiedError

    monkeypatch.setattr(processes.Worker, "call", dies)
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").reason == "crash"
    monkeypatch.undo()
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").reason == "equivalent"
    stats = rewards.stats()
    assert (stats["crashes"], stats["retried"], stats["items"]) == (1, 1, 2)


def test_a_worker_killed_while_it_starts_is_replaced(small_pool: None) -> None:
    pool = pools.get_pool()
    with pool._changed:
        worker = pool._start()
        pool._idle.append(worker)
    os.kill(worker.process.pid, signal.SIGKILL)
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").reason == "equivalent"


def test_workers_killed_while_they_start_are_replaced_several_times_in_a_row(
    small_pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools.get_pool()
    started, start = [], pool._start

    def killed_at_first() -> object:
        worker = start()
        started.append(worker)
        if len(started) <= 4:
            os.kill(worker.process.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(pool, "_start", killed_at_first)
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").reason == "equivalent"
    assert len(started) == 5


def test_a_worker_is_held_to_its_memory(small_pool: None) -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    (worker,) = pools.get_pool().workers
    if not sys.platform.startswith("linux"):
        pytest.skip("RLIMIT_AS binds on Linux")
    with open(f"/proc/{worker.process.pid}/limits") as handle:
        limit = next(line for line in handle if line.startswith("Max address space")).split()
    assert limit[3:5] == [str(512 << 20)] * 2


def test_replies_survive_a_library_that_prints(small_pool: None) -> None:
    assert rewards.verify(r"\boxed{\operatorname{print}(1)}", "1").reason in ("different", "unparsable")
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").correct


@pytest.mark.parametrize("code", ["__import__('os').system('touch {}')", "open('{}','w')", "exec(\"open('{}','w')\")"])
def test_no_code_is_run(code: str, tmp_path: object) -> None:
    target = os.path.join(str(tmp_path), "ran")
    answer = code.replace("{}", target)
    assert not rewards.verify(f"\\boxed{{{answer}}}", "1").correct
    assert not rewards.verify(r"\boxed{1}", f"\\text{{{answer}}}").correct
    assert not os.path.exists(target)


def test_sixteen_callers_agree_with_one() -> None:
    items = [(rf"\boxed{{\frac{{{k}}}{{{2 * k}}}}}", r"\frac{1}{2}" if k % 2 else r"\sqrt{2}") for k in range(1, 65)]
    alone = [rewards.verify(response, gold, timeout=60).correct for response, gold in items]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda item: rewards.verify(*item, timeout=60).correct, items))
    assert together == alone


def test_off_the_main_thread_and_async() -> None:
    found: list[rewards.Verdict] = []
    thread = threading.Thread(target=lambda: found.append(rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")))
    thread.start()
    thread.join()
    assert found[0].correct

    async def gather() -> list[rewards.Verdict]:
        return list(await asyncio.gather(*(rewards.averify(rf"\boxed{{{k}/2}}", "3") for k in range(4, 9))))

    assert [verdict.correct for verdict in asyncio.run(gather())] == [False, False, True, False, False]


def test_after_a_fork_the_child_has_workers_of_its_own() -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    parents = {worker.process.pid for worker in pools.get_pool().workers}
    child = os.fork()
    if child == 0:
        correct = rewards.verify(r"\boxed{\sqrt{18}}", r"3\sqrt{2}").correct
        own = {worker.process.pid for worker in pools.get_pool().workers}
        pools._at_exit()
        os._exit(0 if correct and not own & parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rewards.verify(r"\boxed{\sqrt{18}}", r"3\sqrt{2}").correct
    assert parents & {worker.process.pid for worker in pools.get_pool().workers}


def test_inside_a_dataloader() -> None:
    data = pytest.importorskip("torch.utils.data")

    class Verified:  # a map-style data set
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> float:
            return float(rewards.verify(rf"\boxed{{{index}/2}}", "3", timeout=60).correct)

    loader = data.DataLoader(Verified(), batch_size=4, num_workers=2)
    assert [value for batch in loader for value in batch.tolist()] == [0, 0, 0, 0, 0, 0, 1, 0]


def test_a_fresh_interpreter_loads_neither_torch_nor_sympy_and_leaves_no_process() -> None:
    script = (
        "import sys, sgpo.rewards as r\n"
        "from sgpo.rewards import pool\n"
        "print(sorted({'torch', 'sympy', 'math_verify'} & set(sys.modules)))\n"
        "print(r.verify(r'\\boxed{\\sqrt{8}}', r'2\\sqrt{2}', timeout=60).correct)\n"
        "print(*[w.process.pid for w in pool.get_pool().workers])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=True)
    loaded, correct, *pids = done.stdout.split("\n")
    assert (loaded, correct, done.stderr) == ("[]", "True", "")
    for pid in pids[0].split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    script = (
        "import time, sgpo.rewards as r\nfrom sgpo.rewards import pool\n"
        "r.verify(r'\\boxed{\\sqrt{8}}', r'2\\sqrt{2}')\n"
        "print(*[w.process.pid for w in pool.get_pool().workers], flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by five minutes")


def test_a_verifier_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards.configure(workers=1)
    monkeypatch.setattr(processes, "_BOOT", "import sys; sys.exit(3)")
    with pytest.raises(rewards.VerifierError, match="did not start"):
        rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    monkeypatch.undo()
    rewards.configure(workers=2)
    assert rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").correct


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": float("nan")}, {"tolerance": -1}, {"max_chars": 0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        rewards.verify("7", "7", **options)  # type: ignore[arg-type]


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        rewards.configure(workers=0)
    with pytest.raises(ValueError, match="memory_mb is 10"):
        rewards.configure(memory_mb=10)


def test_a_worker_that_got_no_cpu_is_given_a_little_longer(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    (worker,) = pools.get_pool().workers
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("CPU time is read from /proc")
    os.kill(worker.process.pid, signal.SIGSTOP)
    receive, given = processes.Worker._receive, []

    def stopped_at_first(self: processes.Worker, deadline: float) -> object:
        given.append(deadline - time.monotonic())
        if len(given) == 1:
            raise processes.WorkerTimeoutError  # as after these ten minutes
        os.kill(self.process.pid, signal.SIGCONT)
        return receive(self, deadline)

    monkeypatch.setattr(processes.Worker, "_receive", stopped_at_first)
    assert rewards.verify(r"\boxed{\sqrt{18}}", r"3\sqrt{2}", timeout=600).correct
    assert 500 < given[0] <= 600
    assert 140 < given[1] <= 240  # 0.4 of the deadline
    assert len(given) == 2


def test_a_worker_that_never_gets_a_cpu_is_given_up(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards.verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")
    (worker,) = pools.get_pool().workers
    receive, waits = processes.Worker._receive, []

    def counted(self: processes.Worker, deadline: float) -> object:
        waits.append(self)
        return receive(self, deadline)

    monkeypatch.setattr(processes.Worker, "_receive", counted)
    os.kill(worker.process.pid, signal.SIGSTOP)
    assert rewards.verify(r"\boxed{\sqrt{18}}", r"3\sqrt{2}", timeout=0.5).reason == "timeout"
    assert waits == [worker, worker]  # for the deadline, and a little longer
