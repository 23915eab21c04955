"""Making an empty store, once, whoever else is at it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from features_store import documents
from features_store.commit import TEMPORARY_SUFFIX
from features_store.errors import BadInput, StoreExists
from features_store.place import Place
from features_store.place.place import PROBE
from features_store.schema import COLUMNS, FORMAT_VERSION, Layout, check_name
from features_store.video_files import PREFIX as VIDEOS
from features_store.videos import Videos

if TYPE_CHECKING:
    from features_store.documents import Json


def create(place: Place, scheme: str, classes: Sequence[str]) -> None:
    """Write the documents of a store without videos.

    Of several processes the first decides what it is. What a killed one left is gone on with.
    """
    check_name(scheme, "scheme")
    classes = [str(name) for name in classes]
    if not classes or len(set(classes)) != len(classes) or not all(classes):
        raise BadInput(f"Classes {classes}: give one or more different, non-empty names.")
    _require_empty(place)
    attributes: Json = {
        "kind": "store",
        "format": FORMAT_VERSION,
        "scheme": scheme,
        "classes": classes,
    }
    attributes = Videos.create(place, attributes, Layout(format=FORMAT_VERSION))
    place.put_new("zarr.json", [documents.encode(documents.group(attributes))])


def _require_empty(place: Place) -> None:
    """Nothing may be in the way but what a killed or another `create` has left."""
    there = {
        name
        for name in place.children("")
        if not name.endswith(TEMPORARY_SUFFIX) and not name.startswith(PROBE)
    }
    ours = all(
        name in (*COLUMNS, "zarr.json") and _only_documents(place, f"{VIDEOS}/{name}")
        for name in place.children(VIDEOS)
        if not name.startswith(".")
    )
    if "zarr.json" in there or there - {VIDEOS} or not ours:
        raise StoreExists(
            f"{place.name} exists and is not empty. Open it instead, or choose another path."
        )


def _only_documents(place: Place, prefix: str) -> bool:
    names = {name for name in place.children(prefix) if not name.startswith(".")}
    return names <= {"zarr.json"}
