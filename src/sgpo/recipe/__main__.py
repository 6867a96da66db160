"""``python -m sgpo.recipe --config FILE``, for ``torchrun`` and ``accelerate launch``."""

import os

from sgpo.recipe.run import main
from sgpo.runs.processes import mistakes_in_one_line, watch_parent
from sgpo.runs.progress import hush

# A launcher that is killed leaves its ranks behind. Without one the parent may be a shell that ends on purpose (nohup).
if "TORCHELASTIC_RUN_ID" in os.environ:
    watch_parent(os.getppid())
hush()
with mistakes_in_one_line():
    main()
