"""JSON that a command wrote, read without trust."""

import json
from collections.abc import Mapping
from pathlib import Path

from heads.errors import BadRun

Document = Mapping[str, object]


def read_document(path: Path) -> Document:
    try:
        return mapping_of(json.loads(path.read_text()), path)
    except (ValueError, RecursionError) as error:
        raise BadRun(f"{path} is no JSON: {error}") from error


def part_of(document: Document, name: str, path: Path) -> Document:
    return mapping_of(document.get(name, {}), path)


def mapping_of(found: object, path: Path) -> Document:
    if not isinstance(found, Mapping):
        raise BadRun(f"{path} holds a {type(found).__name__} where names and values belong.")
    return found
