"""Where a store's bytes live: a folder, an object store, or something that can only be read."""

from features_store.place.local import LocalPlace
from features_store.place.opening import open_place
from features_store.place.place import Buffers, Location, Place, View

__all__ = ["Buffers", "LocalPlace", "Location", "Place", "View", "open_place"]
