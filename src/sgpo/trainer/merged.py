"""What vLLM is given of an adapter: weights with the adapter merged into them, while the base stays to the bit.

TRL merges the adapter into the base, sends the weights, and takes the adapter off again. In bfloat16 both steps round,
so that the base would wander off with every update, and the adapter that is saved belongs to another one
(huggingface/trl#6688).
"""

from collections.abc import Iterator
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor


def merge_in_copies(generation: Any) -> None:
    """Let TRL's ``generation`` send merged copies of the weights, one layer at a time."""
    own, parameters_of, plain = vars(generation.model), generation.model.named_parameters, generation._iter_named_params

    def copies() -> Iterator[tuple[str, Tensor]]:
        layers = [module for module in generation.model.modules() if isinstance(module, BaseTunerLayer)]
        owners = {id(p): layer for layer in layers for p in layer.get_base_layer().parameters(recurse=False)}
        for name, parameter in parameters_of():
            layer = owners.get(id(parameter))
            yield name, parameter if layer is None else _merged(layer, name.rpartition(".")[2])

    def iterate() -> Iterator[tuple[str, Tensor]]:
        # In place of merging, the model's parameters are the copies, until it is unmerged.
        own["merge_adapter"] = lambda: own.update(named_parameters=copies)
        own["unmerge_adapter"] = lambda: own.pop("named_parameters")
        try:
            yield from plain()
        finally:
            for name in ("merge_adapter", "unmerge_adapter", "named_parameters"):
                own.pop(name, None)

    generation._iter_named_params = iterate


def _merged(layer: Any, name: str) -> Tensor:
    """A copy of the weight or bias ``name`` of the base layer with the adapter merged into it."""
    base = layer.get_base_layer()
    before = {each: (parameter, parameter.detach().clone()) for each, parameter in base.named_parameters(recurse=False)}
    layer.merge()
    merged: Tensor = getattr(base, name).detach().clone()
    layer.unmerge()
    for each, (parameter, values) in before.items():
        setattr(base, each, parameter)  # a quantized layer has been given another one
        parameter.data.copy_(values)
    return merged
