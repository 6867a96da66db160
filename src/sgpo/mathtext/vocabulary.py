"""Sets of words, written as one text."""


def words(text: str) -> frozenset[str]:
    """The words of a text, which are parted by spaces."""
    return frozenset(text.split())
