"""Seconds and bytes on the device of a benchmark, `cpu` or `cuda`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

CUDA = "cuda"
MIB = 1 << 20


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=["cpu", CUDA])


def now(device: str, *, cpu_seconds: bool = False) -> float:
    """Seconds, once the device has done its work: a GPU's is only queued, and a clock would measure the queueing.

    With ``cpu_seconds`` a CPU's are those of this process, so that other programs do not count.
    """
    if device == CUDA:
        import torch

        torch.cuda.synchronize()
    return time.process_time() if cpu_seconds and device != CUDA else time.perf_counter()


def reset_peak(device: str) -> int:
    """Bytes held now; peaks count from here. A GPU's are those of torch's allocator: no CUDA context is in them."""
    if device == CUDA:
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def read_peak(device: str) -> int:
    if device == CUDA:
        import torch

        return torch.cuda.max_memory_allocated()
    return _status_bytes("VmHWM")


def name_of(device: str) -> str:
    """What a figure was measured on."""
    if device == CUDA:
        import torch

        return torch.cuda.get_device_name()
    import platform

    return platform.machine()


def _status_bytes(field: str) -> int:
    """A field of /proc/self/status, which Linux gives in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field + ":")).split()[1]) * 1024
