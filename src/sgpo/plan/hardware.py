"""Machines by name: memory, peak arithmetic and bandwidth, from the makers' data sheets; `cpu` is one kind of core."""

import os
from dataclasses import dataclass, replace

from sgpo.runs.words import nearest

GIB = 1 << 30


@dataclass(frozen=True)
class Device:
    """One accelerator. Peak of dense bfloat16 matrix products, bandwidth of its memory, and per device the bandwidth
    of the links inside and between nodes. Bytes, operations and bytes per second."""

    name: str
    memory: float
    flops: float
    bandwidth: float
    intra_node: float
    inter_node: float

    @property
    def is_cpu(self) -> bool:
        return self.name == "cpu"


@dataclass(frozen=True)
class Hardware:
    """``nodes`` machines of ``per_node`` devices."""

    device: Device
    per_node: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        return self.per_node * self.nodes

    def __str__(self) -> str:
        nodes = f"{self.nodes} nodes x " if self.nodes > 1 else ""
        return f"{nodes}{self.per_node} x {self.device.name} ({self.device.memory / GIB:.0f} GiB each)"


def _gpu(name: str, gib: float, tflops: float, gb_per_s: float, nvlink: float) -> Device:
    return Device(name, gib * GIB, tflops * 1e12, gb_per_s * 1e9, nvlink * 1e9, 50e9)


# memory in GiB, dense bfloat16 TFLOP/s, GB/s of memory, GB/s per direction to the other devices of the node
DEVICES = {
    d.name: d
    for d in (
        _gpu("b200", 180, 2250, 8000, 900),
        _gpu("h200", 141, 989, 4800, 450),
        _gpu("h100", 80, 989, 3350, 450),
        _gpu("a100-80", 80, 312, 2039, 300),
        _gpu("a100-40", 40, 312, 1555, 300),
        _gpu("l40s", 48, 362, 864, 32),
        _gpu("a6000", 48, 155, 768, 32),
        _gpu("rtx5090", 32, 210, 1792, 32),
        _gpu("rtx4090", 24, 165, 1008, 32),
        _gpu("rtx3090", 24, 71, 936, 32),
        _gpu("a10g", 24, 70, 600, 32),
        _gpu("l4", 24, 121, 300, 32),
        # One core with AVX-512, in float32; the memory is this machine's. Older cores have half of it or less.
        Device("cpu", 0, 3.2e11, 1.15e10, 1.15e10, 1e9),
    )
}
ALIASES = {"a100": "a100-80", "4090": "rtx4090", "3090": "rtx3090", "5090": "rtx5090"}


def parse_hardware(text: str | None, *, nodes: int = 1, memory_gib: float | None = None) -> Hardware:
    """``NAME`` or ``NAME:COUNT``, COUNT devices in each of ``nodes`` machines; None: the devices of this machine.

    Raises:
        ValueError: an unknown name (with the nearest ones), or a count or size that is not positive.
    """
    if text is None:
        text, here = _this_machine()
        memory_gib = here if memory_gib is None else memory_gib
    name, _, count = text.strip().lower().partition(":")
    name = ALIASES.get(name, name)
    if name not in DEVICES:
        like = nearest(name, [*DEVICES, *ALIASES], cutoff=0.4)
        raise ValueError(
            f"unknown hardware {name!r}{like}. Known: {', '.join(DEVICES)}; write NAME or NAME:COUNT, and give "
            "--gpu-memory-gib for a device with another amount of memory."
        )
    if count and (not count.isdecimal() or int(count) < 1):
        raise ValueError(f"--hardware is {text!r}, but the count behind the colon must be a whole number >= 1.")
    if nodes < 1:
        raise ValueError(f"--nodes is {nodes}, but must be at least 1.")
    if memory_gib is not None and not memory_gib > 0:
        raise ValueError(f"--gpu-memory-gib is {memory_gib}, but must be above 0.")
    device = DEVICES[name]
    if device.is_cpu:  # COUNT processes share this machine's memory
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        device = replace(device, memory=total / int(count or 1))
    if memory_gib is not None:
        device = replace(device, memory=memory_gib * GIB)
    return Hardware(device, int(count or 1), nodes)


def _this_machine() -> tuple[str, float | None]:
    """The GPUs of this machine, or its CPU, and the memory of each in GiB. A GPU that the table lacks is an L4."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", None
    found = torch.cuda.get_device_properties(0)
    words = found.name.lower().replace("-", " ").replace("geforce rtx ", "rtx").split()
    known = next((name for name in DEVICES if name.split("-")[0] in words), "l4")
    return f"{known}:{torch.cuda.device_count()}", found.total_memory / GIB
