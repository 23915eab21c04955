"""What a file is called in its answer: one answer is of all files with the same content, and each
job shows it under its own name.

So the judge is told no name. `NAME` stands in its rows and on its page, and whoever asks for a job
gets that job's in its place.
"""

import json

from extract.manifest.names import escaped
from heads.reporting.safe import text

NAME = "the-name-of-the-file-3d1f"
"""No character of it is written otherwise in JSON, on a page, or as an id."""


def named_json(document: str, name: str) -> str:
    return document.replace(NAME, json.dumps(_id(name))[1:-1])


def named_page(page: str, name: str) -> str:
    return page.replace(NAME, text(_id(name)))


def _id(name: str) -> str:
    """One that names a whole file, whatever its sender called it: `a#t=0,1` is no second of a."""
    return escaped(name).replace("#t=", "%23t=")
