"""Metadata documents rebuilt from what other documents say.

Every group's attributes are kept a second time below it, and arrays' documents follow from their
group's, so one damaged `zarr.json` anywhere costs nothing: `telltale store repair` writes it anew.
"""

from collections.abc import Iterator

from features_store import documents
from features_store.chunks import CRC_BYTES
from features_store.documents import Json
from features_store.errors import Damaged, ReadFailed
from features_store.place import Place
from features_store.schema import Layout
from features_store.store import Store
from features_store.video_files import CHUNK_ROWS, VideoFiles
from features_store.video_files import PREFIX as VIDEOS


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
    except (Damaged, ReadFailed):
        return None


def _videos(place: Place) -> Json | None:
    """The number of videos is that of the columns, if they agree: chunks are written before."""
    root = _attributes(place, "")
    if root is None:
        return None
    layout = Layout(format=int(root["format"]))
    columns = [_intact(place, f"{VIDEOS}/{name}") for name in layout.columns]
    lengths = {column["shape"][0] if column else None for column in columns}
    if len(lengths) != 1 or None in lengths:
        return None
    count = int(lengths.pop() or 0)
    attributes: Json = {"kind": "videos", "count": count, "store": root}
    if layout.records:
        attributes["chunks"] = {name: _crcs(place, name, layout, count) for name in layout.columns}
    return documents.group(attributes)


def _crcs(place: Place, name: str, layout: Layout, count: int) -> list[list[str]]:
    """The checksums that a column's chunks carry; nothing is left that says others."""
    array = VideoFiles(place, layout).array(name)
    values = [place.get(array.key(chunk)) or b"" for chunk in range(-(-count // CHUNK_ROWS))]
    return [[f"{int.from_bytes(value[-CRC_BYTES:], 'little'):08x}"] for value in values]


def _column(place: Place, name: str) -> Json | None:
    videos = _attributes(place, VIDEOS)
    if videos is None:
        return None
    layout = Layout(format=int(videos["store"]["format"]))
    if name not in layout.columns:
        return None
    return VideoFiles(place, layout).array(name).document(int(videos["count"]))


def _array(place: Place, parts: list[str]) -> Json | None:
    if not all(_intact(place, prefix) for prefix in _above(parts)):
        return None
    store = Store.open(place)
    branch = store.read_branch(parts[0], parts[1])
    return branch.array_documents(store.videos.count).get("/".join(parts))


def _above(parts: list[str]) -> Iterator[str]:
    yield from ("", VIDEOS, parts[0], "/".join(parts[:2]))
