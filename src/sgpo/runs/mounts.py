"""Whether a file lies on a disk of this machine or on one that a network shares; known on Linux alone."""

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
# fuse.: sshfs, gcsfuse, s3fs and their like; virtual machines and containers share folders of their host by 9p.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afs|ncpfs|9p|ceph|lustre|gpfs|beegfs\w*|panfs|glusterfs|orangefs|pvfs2|wekafs|vboxsf|fuse\..+"
)


def on_network(path: Path) -> bool:
    """Whether a file, which need not exist yet, lies on a network file system; False where that is not known."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    # Escaped as the kernel writes it: a space is \040.
    mounts = [
        (re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point), kind)
        for _, point, kind, *_ in map(str.split, lines)
    ]
    where = os.path.realpath(path)
    # The last of the longest: a mount hides what was mounted at its place before.
    over = [(len(point), i) for i, (point, _) in enumerate(mounts) if where.startswith(point.rstrip("/") + "/")]
    return bool(over) and _NETWORK.fullmatch(mounts[max(over)[1]][1]) is not None
