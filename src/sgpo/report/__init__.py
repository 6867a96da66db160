"""What a run looks like: learning curves, and ``sgpo report``, one self-contained HTML page.

``load`` reads a directory into ``run.Run``; ``views`` and its neighbours turn that into what the templates show;
``page`` renders them. ``tokens`` alone needs torch, ``plots`` alone needs matplotlib.
"""

from sgpo._callable import make_callable

make_callable(__name__)
