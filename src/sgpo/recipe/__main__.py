"""``python -m sgpo.recipe --config FILE``, for ``torchrun`` and ``accelerate launch``."""

from sgpo.recipe.run import main

main()
