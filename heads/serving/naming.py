"""What a file is called in its answer: one answer is of all files with the same content, and each
job shows it under its own name.

So `NAME` stands in the rows and on the page that the judge makes, and whoever asks for a job gets
that job's in its place.
"""

import json

from extract.manifest.names import escaped
from heads.reporting.safe import text

NAME = "the-name-of-the-file-3d1f"
"""No character of it is written otherwise in JSON, on a page, or as an id."""


def named_json(document: str, name: str) -> str:
    return document.replace(NAME, json.dumps(file_id(name))[1:-1])


def named_page(page: str, name: str) -> str:
    return page.replace(NAME, text(file_id(name)))


def file_id(name: str) -> str:
    """One that names a whole file, whatever its sender called it: `a#t=0,1` is no second of a."""
    return escaped(name).replace("#t=", "%23t=")
