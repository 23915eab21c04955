"""What is known of a video beside what the networks say: content credentials, and traces of the
programs that wrote the file. A guarded process reads it, and it is all somebody's word.
"""

import math
import sys
from collections.abc import Mapping

from extract.decoding.containers import Limits
from extract.decoding.job import Job, Plan
from extract.decoding.pool import DecodePool
from extract.errors import one_line
from extract.manifest.names import unescaped
from heads.scoring.versions import version

TITLE = "Evidence beside the networks"
ABOUT = "What the file says of itself. It may be forged, and goes with every re-encoding."


def evidence(path: str, root: str | None = None) -> list[str]:
    """Lines about the file as it is now; `root`: nothing is read outside of that folder."""
    limits = Limits(max_seconds=math.inf, max_bytes=sys.maxsize)
    with DecodePool(Plan(looks=(), evidence=True, root=root, limits=limits)) as pool:
        (outcome,) = pool.run([Job(index=0, id=path, path=path)])
    if outcome.failure is not None:
        return [f"the file cannot be read: {outcome.failure}"]
    return list(map(one_line, outcome.words))


def evidence_of(row: Mapping[str, object]) -> list[str]:
    """Of the file that a row is about; nothing is said of another one that took its place."""
    path = unescaped(str(row["path"]))
    if row.get("size") is None:
        return ["the row does not say which version of its file was scored"]
    now = version(path)
    if now == (None, None):
        return [f"{one_line(path)} is not here any more"]
    if now != (row["size"], row["modified"]):
        return [f"{one_line(path)} is another file than the one that was scored"]
    return evidence(path)


def on_screen(lines: list[str]) -> list[str]:
    """With what they are, below a verdict."""
    return ["", f"  {TITLE}. {ABOUT}", *(f"    {line}" for line in lines)]
