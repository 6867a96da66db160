"""What a run looks like: learning curves, and ``sgpo report``, one self-contained HTML page.

``load`` reads a directory into ``run.Run``; each section of the page has a module that turns it into what its template
shows; ``page`` renders them. ``tokens`` and ``lab_tokens`` alone need torch, ``plots`` alone needs matplotlib.
"""

from sgpo._callable import make_callable

make_callable(__name__)
