"""Metadata documents rebuilt from what other documents say.

Every group's attributes are kept a second time below it, and arrays' documents follow from their
group's, so one damaged `zarr.json` anywhere costs nothing: `telltale store repair` writes it anew.
"""

from collections.abc import Iterator

from features_store import documents
from features_store.documents import Json
from features_store.errors import Damaged
from features_store.places import Place
from features_store.schema import COLUMNS
from features_store.store import Store
from features_store.videos import PREFIX as VIDEOS
from features_store.videos import column_array


def find(place: Place, prefix: str) -> Json | None:
    """The document that belongs at a prefix, made without looking at the one that is there."""
    parts = prefix.split("/") if prefix else []
    if not parts:
        videos = _attributes(place, VIDEOS)
        return documents.group(videos["store"]) if videos else None
    if parts[0] == VIDEOS:
        return _videos(place) if len(parts) == 1 else _column(place, parts[1])
    if len(parts) == 3:
        return _array(place, parts)
    for group in place.children(parts[0]) if len(parts) == 1 else parts[1:]:
        status = _attributes(place, f"{parts[0]}/{group}/status")
        if status:
            return documents.group(status["groups"]["protocol" if len(parts) == 1 else "branch"])
    return None


def _attributes(place: Place, prefix: str) -> Json | None:
    document = _intact(place, prefix)
    return documents.attributes(document) if document else None


def _intact(place: Place, prefix: str) -> Json | None:
    try:
        return documents.read(place, prefix)
    except Damaged:
        return None


def _videos(place: Place) -> Json | None:
    """The number of videos is that of the columns, if they agree: chunks are written before."""
    root = _attributes(place, "")
    columns = [_intact(place, f"{VIDEOS}/{name}") for name in COLUMNS]
    lengths = {column["shape"][0] if column else None for column in columns}
    if root is None or len(lengths) != 1 or None in lengths:
        return None
    return documents.group({"kind": "videos", "count": lengths.pop(), "store": root})


def _column(place: Place, name: str) -> Json | None:
    videos = _attributes(place, VIDEOS)
    if videos is None or name not in COLUMNS:
        return None
    return column_array(place, name).document(int(videos["count"]))


def _array(place: Place, parts: list[str]) -> Json | None:
    if not all(_intact(place, prefix) for prefix in _above(parts)):
        return None
    store = Store.open(place)
    branch = store.read_branch(parts[0], parts[1])
    return branch.array_documents(store.videos.count).get("/".join(parts))


def _above(parts: list[str]) -> Iterator[str]:
    yield from ("", VIDEOS, parts[0], "/".join(parts[:2]))
