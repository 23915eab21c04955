"""Whatever a store can be in, as a place."""

import os
from pathlib import Path
from urllib.parse import unquote

from features_store.errors import BadInput
from features_store.place.local import LocalPlace
from features_store.place.place import Location, Place

_FILE = "file://"


def open_place(where: Location) -> Place:
    """A folder's path or `file://` URL, another URL (`s3://…`), a zarr store, or a place."""
    if isinstance(where, Place):
        return where
    if isinstance(where, str | os.PathLike):
        text = os.fspath(where)
        if text.startswith(_FILE):
            return LocalPlace(_folder(text))
        if "://" not in text:
            return LocalPlace(Path(text))
    from features_store.place.remote import RemotePlace, open_url

    if isinstance(where, str | os.PathLike):
        return RemotePlace(open_url(text), text)
    return RemotePlace(where, str(where))


def _folder(url: str) -> Path:
    host, slash, path = url.removeprefix(_FILE).partition("/")
    if host not in ("", "localhost") or not slash:
        raise BadInput(f"{url}: a folder of this machine is file:///its/path, or just its path.")
    return Path("/" + unquote(path))
