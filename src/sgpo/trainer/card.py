"""What TRL's model card leaves out."""

from pathlib import Path

_NO_BASE = "[None](https://huggingface.co/None)"
_NO_HUB = 'model="None"'


def complete_card(folder: str, base: str) -> None:
    """Name the base of the model in ``folder`` ("" for one in memory), and the folder, where the hub has neither."""
    path = Path(folder) / "README.md"
    if path.is_file():
        text = path.read_text(encoding="utf-8").replace(_NO_BASE, f"`{base or 'a model in memory'}`")
        path.write_text(text.replace(_NO_HUB, f'model="{folder}"'), encoding="utf-8")
