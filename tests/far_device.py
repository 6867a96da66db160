"""A device that is pretended: tensors on it are kept on the CPU, and refuse to be mixed with those that are not on it.

It holds the rules of CUDA. All tensors of an operation are on one device; a scalar (0 dimensions) of the CPU may be
among them, and indices of the CPU too. So a whole training on a machine without a GPU shows whether a tensor was made
on the CPU and forgotten there. Random numbers are the CPU's: the same training on the CPU gives the same bits.

It changes torch for the whole process, so it is imported by workers alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from transformers import TrainingArguments

_MODULE = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 2,  # of which a process may use the first alone
    "current_device": lambda: 0,
    "_is_in_bad_fork": lambda: False,
    "manual_seed_all": lambda seed: None,
    "synchronize": lambda *_: None,
    "empty_cache": lambda: None,
    "get_rng_state": lambda device=0: _of_this_process(device),
    "set_rng_state": lambda state, device=0: _of_this_process(device),
    "get_amp_supported_dtype": lambda: [torch.bfloat16],
}
_setup_privateuseone_for_python_backend("far", SimpleNamespace(**_MODULE))
FAR = torch.device("far:0")
_COPYING = ("aten::copy_", "aten::_to_copy", "aten::to")
_INDEXING = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index")


def _of_this_process(device: Any) -> Any:
    if torch.device("far", device if isinstance(device, int) else device.index) != FAR:
        raise AssertionError(f"{device} is another process's")
    return torch.zeros(1)


class FarTensor(torch.Tensor):
    """A tensor of `FAR`; `held` is where its values are."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "FarTensor":
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset(), "layout": held.layout}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=FAR, **shape)

    def __init__(self, held: torch.Tensor):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    # What torch does below the dispatch, where this device does not exist.
    def __repr__(self) -> str:  # type: ignore[override]
        return f"far {self.held}"

    def __getitem__(self, key: Any) -> Any:
        return torch.Tensor.__getitem__(self, _without_lists(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _without_lists(key), value)

    @property  # type: ignore[override]
    def data(self) -> "FarTensor":
        return FarTensor(self.held.detach())

    @data.setter
    def data(self, values: "FarTensor") -> None:
        self.held = values.held

    def tolist(self) -> Any:
        return self.held.tolist()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def __reduce_ex__(self, protocol: Any) -> Any:  # a file of tensors is read onto the device that the reader names
        return self.held.detach().__reduce_ex__(protocol)

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor of a device is no numpy array; copy it to the CPU first")

    __array__ = numpy


class _Everywhere(TorchDispatchMode):
    """Sees the operations without a far tensor, too: those that make one, and mistakes with plain ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _without_lists(key: Any) -> Any:
    parts = key if isinstance(key, tuple) else (key,)
    made = tuple(
        torch.tensor(part, dtype=None if part else torch.long) if isinstance(part, list) else part for part in parts
    )
    return made if isinstance(key, tuple) else made[0]


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    _require_one_device(func, args, kwargs)
    leaves = tree_leaves((args, kwargs))
    far = any(isinstance(leaf, FarTensor) for leaf in leaves)
    named = [leaf for leaf in leaves if isinstance(leaf, torch.device)]

    def here(leaf: Any) -> Any:
        if isinstance(leaf, torch.device):
            return torch.device("cpu")
        return leaf.held if isinstance(leaf, FarTensor) else leaf

    found = func(
        *tree_map(here, args),
        **{**tree_map(here, kwargs), **({"pin_memory": False} if kwargs.get("pin_memory") else {})},
    )
    if not (named[0].type == "far" if named else far):
        return found
    found = tree_map(lambda one: FarTensor(one) if isinstance(one, torch.Tensor) else one, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if far else found


def _require_one_device(func: Any, args: Any, kwargs: Any) -> None:
    name = func._schema.name
    if name in _COPYING:
        return
    if name in _INDEXING:  # indices of the CPU are taken anywhere, those of a device only there
        indices = [one for one in args[1] if isinstance(one, torch.Tensor)]
        if not isinstance(args[0], FarTensor) and any(isinstance(one, FarTensor) for one in indices):
            raise RuntimeError(f"{func}: indices of a device for a tensor of the CPU")
        args = (args[0], *args[2:])
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if len({one.device for one in tensors if isinstance(one, FarTensor) or one.dim()}) > 1:
        raise RuntimeError(f"{func}: tensors on two devices, {[(tuple(one.shape), one.device) for one in tensors]}")


@contextmanager
def far_device() -> Iterator[None]:
    """Within the block a trainer of transformers finds `FAR` to train on."""
    properties = (TrainingArguments.device, Accelerator.device)
    exchanges = {name: getattr(Accelerator, name) for name in ("gather", "reduce")}
    load, inference = torch.load, torch.inference_mode
    made = {name: getattr(torch, name) for name in ("tensor", "as_tensor")}

    def loaded(path: Any, map_location: Any = None, **options: Any) -> Any:
        if map_location is None or torch.device(map_location).type == "cpu":
            return load(path, map_location=map_location, **options)
        found = load(path, map_location="cpu", **options)
        return tree_map(lambda one: one.to(map_location) if isinstance(one, torch.Tensor) else one, found)

    def only_far(exchange: Any) -> Any:
        def checked(self: Any, tensor: Any, *args: Any, **options: Any) -> Any:
            if near := [one for one in tree_leaves(tensor) if not isinstance(one, FarTensor)]:
                raise RuntimeError(f"{exchange.__name__} of {near[0]!r}: NCCL takes tensors of a GPU alone")
            return exchange(self, tensor, *args, **options)

        return checked

    def moved(make: Any) -> Any:
        def tensor(*args: Any, device: Any = None, **options: Any) -> Any:
            found = make(*args, **options)
            return found if device is None else found.to(device)

        return tensor

    TrainingArguments.device = property(lambda self: (self._setup_devices, FAR)[1])
    Accelerator.device = property(lambda self: FAR)
    torch.load = loaded
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else inference(mode)
    for name, make in made.items():
        setattr(torch, name, moved(make))
    for name, exchange in exchanges.items():
        setattr(Accelerator, name, only_far(exchange))
    torch.__future__.set_swap_module_params_on_conversion(True)  # else `model.to` would take tied weights apart
    try:
        with _Everywhere():
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
        TrainingArguments.device, Accelerator.device = properties
        torch.load, torch.inference_mode = load, inference
        for owner, before in ((torch, made), (Accelerator, exchanges)):
            for name, own in before.items():
                setattr(owner, name, own)
