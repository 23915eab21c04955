"""Zarr v3 metadata documents (`zarr.json`) that notice when they were damaged.

A document is written by this module alone and carries a seal: the crc32c of its own canonical
JSON, kept in `attributes.telltale.seal`. Any zarr reader ignores it; this one refuses a document
whose seal is missing or broken, so that a flipped bit in a shape or a class name cannot turn into
wrong numbers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import crc32c

from features_store.errors import BadInput, Damaged
from features_store.place import Place
from features_store.place.place import Version

Json = dict[str, Any]


def group(attributes: Mapping[str, Any]) -> Json:
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"telltale": dict(attributes)},
    }


def array(  # noqa: PLR0913 (the fields of a zarr array)
    *,
    shape: Sequence[int],
    chunk: Sequence[int],
    data_type: str,
    fill: float | str,
    codecs: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    separator: str,
    attributes: Mapping[str, Any] | None = None,
) -> Json:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": fill,
        "codecs": [dict(codec) for codec in codecs],
        "dimension_names": list(names),
        "attributes": {"telltale": dict(attributes or {})},
    }


def encode(document: Json) -> bytes:
    """The document's bytes, sealed."""
    try:
        # As JSON has it: numbers that were keys become text, and are sorted as such by the seal.
        document = json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(f"The description is not JSON ({error}); give texts and numbers.") from error
    sealed = {**document, "attributes": {**document["attributes"]}}
    sealed["attributes"]["telltale"] = {
        **document["attributes"]["telltale"],
        "seal": _seal(document),
    }
    return json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False).encode()


def decode(content: bytes, place: str) -> Json:
    """The document without its seal; Damaged where the seal does not fit."""
    try:
        document = json.loads(content)
        seal = document["attributes"]["telltale"].pop("seal")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(place, "not a metadata document of Telltale") from error
    if not isinstance(document, dict) or seal != _seal(document):
        raise Damaged(place, "the metadata was changed after it was written")
    return document


def read(place: Place, prefix: str) -> Json | None:
    """The document of a group or array, None where there is none."""
    key = document_key(prefix)
    content = place.get(key)
    return None if content is None else decode(content, f"{place.name}/{key}")


def read_with_version(place: Place, prefix: str) -> tuple[Json | None, Version]:
    """The same, and the version that `swap` asks for."""
    key = document_key(prefix)
    found = place.read(key)
    if found.content is None:
        return None, found.version
    return decode(found.content, f"{place.name}/{key}"), found.version


def write(place: Place, prefix: str, document: Json) -> None:
    place.put(document_key(prefix), [encode(document)])


def swap(place: Place, prefix: str, document: Json, seen: Version) -> Version:
    """Write it, provided that the one of version `seen` is still there; see `Place.swap`."""
    return place.swap(document_key(prefix), [encode(document)], seen)


def document_key(prefix: str) -> str:
    return f"{prefix}/zarr.json" if prefix else "zarr.json"


def attributes(document: Json) -> Json:
    own: Json = document["attributes"]["telltale"]
    return own


def _seal(document: Json) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{crc32c.crc32c(canonical.encode()):08x}"
