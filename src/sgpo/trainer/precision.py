"""Models in two precisions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def one_precision(accelerator: Any, model: Any) -> Iterator[None]:
    """Autocast around a forward pass of a model in two precisions, which TRL leaves out where it samples.

    Such is a model that PEFT prepared for k-bit training, with norms in float32.

    Raises:
        ValueError: the model cannot run without autocast, and the arguments ask for none.
    """
    # PEFT casts an adapter's weights itself.
    floats = (p for name, p in model.named_parameters() if p.is_floating_point() and "lora_" not in name)
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in floats})
    if len(dtypes) < 2:
        yield
        return
    try:
        with accelerator.autocast():
            yield
    except RuntimeError as error:
        if "same dtype" not in str(error):
            raise
        raise ValueError(
            f"The model has weights of {dtypes}, which do not multiply each other ({error}). Set bf16=True, so that "
            "they run under autocast, or load it in one of these (model_init_kwargs: dtype)."
        ) from error
