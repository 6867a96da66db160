"""Several processes in one run: what the others say when one is gone, and how long they wait for the slowest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import distributed

from sgpo.trainer.checkpoints import last_checkpoint

# gloo raises a plain RuntimeError, of which only the text tells what it is.
_SIGNS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


class LostProcessError(ConnectionError):
    """Another process of the run has ended, or did not answer within ``ddp_timeout``."""


@contextmanager
def lost_process_named(args: Any, accelerator: Accelerator, step: Callable[[], int]) -> Iterator[None]:
    """Turn the error of a collective, which names files and ports of a library, into :class:`LostProcessError`.

    ``step`` gives the optimizer step in progress. NCCL's watchdog ends a process by itself, with a message of its own.
    """
    try:
        yield
    except RuntimeError as error:
        said = " ".join(str(error).split())
        known = isinstance(error, distributed.DistError) or any(sign in said for sign in _SIGNS)
        if accelerator.num_processes == 1 or not known:
            raise
        raise LostProcessError(
            f"Step {step()}: another process of this run has ended, or did not answer within ddp_timeout="
            f"{args.ddp_timeout} s; rank {accelerator.process_index} of {accelerator.num_processes} stops with it. "
            "Look into the other processes' logs for the cause, then start all of them again. "
            f"{last_checkpoint(args.output_dir)}. (torch says: {said[:300]})"
        ) from error


def largest(accelerator: Accelerator, count: int) -> int:
    """The largest ``count`` over all ranks. Every rank calls this."""
    if accelerator.num_processes == 1:
        return count
    return int(accelerator.gather(torch.tensor([count], device=accelerator.device)).max())


def idle_share(accelerator: Accelerator, completion_ids: Sequence[Sequence[int]]) -> float:
    """Share of the ranks' decoding steps in which a rank waits for the longest completion on any rank.

    A rank decodes until the last of its completions ends, and all ranks meet again for the rewards. So of ``n`` ranks
    with longest completions of ``l_1 .. l_n`` tokens this is ``1 - mean(l) / max(l)``. It counts tokens and reads no
    clock, and is the same in every run. Every rank calls this.
    """
    longest = max(map(len, completion_ids), default=0)
    steps = accelerator.gather(torch.tensor([longest], dtype=torch.float32, device=accelerator.device))
    return 1.0 - float(steps.mean() / steps.max().clamp(min=1.0))
