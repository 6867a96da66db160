"""``python -m sgpo`` is ``sgpo``."""

from sgpo.cli import main

main()
