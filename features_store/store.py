"""A feature store: videos, protocols, and what each branch said about each video.

    store = Store.create("hfv.zarr", scheme="hfv4", classes=("appearance", …))
    store.add_videos({"id": […], "label": […]})
    branch = store.branch("test-4x3", BranchSpec(…))
    for shard in branch.missing_shards():
        branch.write_shard(shard, {"cls": …})
    table = store.table(["internvideo2/cls"], where={"split": "train"})

NumPy in, NumPy out. The store is plain Zarr v3: any reader opens it.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from features_store import documents, loading, selection, stream
from features_store.branch_arrays import BranchArrays, check_same
from features_store.chunks import Array
from features_store.creation import create
from features_store.documents import Json
from features_store.errors import (
    AmbiguousKey,
    BadInput,
    Damaged,
    NotAStore,
    ReadFailed,
    StoreExists,
    UnknownKey,
)
from features_store.installing import how_to_install
from features_store.keys import fitting, holder, parted, the_only
from features_store.place import Location, Place, open_place
from features_store.schema import FORMAT_VERSION, BranchSpec, Layout, check_name
from features_store.selection import Selection
from features_store.table import Table, Where
from features_store.video_files import PREFIX as VIDEOS
from features_store.videos import Videos


class Store:
    """An open store. Make one with `Store.create` or `Store.open`."""

    def __init__(self, place: Place, document: Json) -> None:
        self.place = place
        self.scheme = str(document["scheme"])
        self.classes = tuple(document["classes"])
        self.layout = Layout(format=int(document["format"]))
        self.videos = Videos(place, self.classes, self.layout)
        self._hidden: frozenset[tuple[str, str]] = frozenset()

    def __repr__(self) -> str:
        return f"Store({self.place.name!r}, {self.scheme}, {self.videos.count} videos)"

    @staticmethod
    def create(where: Location, *, scheme: str, classes: Sequence[str]) -> "Store":
        """Make an empty store. `scheme` names the label scheme, `classes` its class names."""
        place = open_place(where)
        create(place, scheme, classes)
        store = Store.open(place)
        if (store.scheme, store.classes) != (scheme, tuple(classes)):
            raise StoreExists(
                f"{place.name} was made by another process, as {store!r}. Choose another path."
            )
        return store

    @staticmethod
    def open(where: Location) -> "Store":
        """Open an existing store for reading and writing."""
        place = open_place(where)
        document = documents.read(place, "")
        if document is None:
            raise NotAStore(
                f"{place.name} is not a feature store: it has no zarr.json. Make one with "
                f"`telltale extract … --store {place.name}`."
            )
        attributes = documents.attributes(document)
        if attributes.get("kind") != "store":
            raise NotAStore(f"{place.name} is a part of a store; give the store's own folder.")
        version = attributes["format"]
        if version > FORMAT_VERSION:
            raise NotAStore(
                f"{place.name} has format {version}; this version of Telltale reads up to "
                f"{FORMAT_VERSION}. Update Telltale: git pull, then {how_to_install()}."
            )
        return Store(place, attributes)

    def add_videos(
        self, columns: Mapping[str, Sequence[Any] | Array], *, keep_existing: bool = False
    ) -> Array:
        """Append videos, given as columns (`schema.COLUMNS`); returns the row of each.

        An id that the store has already is an error; with `keep_existing` its row is returned
        instead, provided that label, rank, source and split are what they were.
        """
        return self.videos.add(columns, keep_existing=keep_existing)

    def protocols(self) -> list[str]:
        """Names of the protocols; Damaged where one of them cannot be read."""
        return [name for name in self.protocol_folders() if self._attributes(name)]

    def protocol_details(self, protocol: str) -> Json | None:
        """What a protocol was made with; None where the store has none of that name."""
        check_name(protocol, "protocol")
        if protocol not in self.protocol_folders():
            return None
        details: Json = self._attributes(protocol)["details"]
        return details

    def branches(self, protocol: str) -> list[str]:
        """Names of the branch groups under a protocol; Damaged where one cannot be read."""
        check_name(protocol, "protocol")
        if protocol not in self.protocol_folders():
            have = ", ".join(self.protocols()) or "none"
            raise UnknownKey(f"Protocol {protocol!r} unknown; have: {have}.")
        groups = [g for g in self.branch_folders(protocol) if (protocol, g) not in self._hidden]
        return [name for name in groups if self._attributes(f"{protocol}/{name}")]

    def without(self, groups: Iterable[tuple[str, str]]) -> "Store":
        """The same, as if it had none of these, each a protocol and a branch's full name: then a
        name that fits several means the one that is left."""
        other = copy.copy(self)
        other._hidden = self._hidden | frozenset(groups)
        return other

    def protocol_folders(self) -> list[str]:
        """The same by their folders alone, to look at damaged stores."""
        return [name for name in self._folders("") if name != VIDEOS]

    def branch_folders(self, protocol: str) -> list[str]:
        """Branch groups, by their folders too."""
        return self._folders(protocol)

    def branch(
        self,
        protocol: str,
        spec: BranchSpec,
        *,
        shard_rows: int | None = None,
        protocol_details: Mapping[str, Any] | None = None,
    ) -> BranchArrays:
        """Create a branch, or reopen it where it was made from the same spec."""
        check_name(protocol, "protocol")
        if protocol == VIDEOS:
            raise BadInput(f"Protocol name {protocol!r} is taken by the store; choose another.")
        if shard_rows is not None and not 1 <= shard_rows <= 2**20:
            raise BadInput(f"shard_rows {shard_rows}: give 1 to {2**20}, or leave it out.")
        details = dict(protocol_details or {})
        self._put_group(protocol, {"kind": "protocol", "name": protocol, "details": details})
        attributes = {
            "kind": "branch",
            **spec.to_json(),
            "shard_rows": shard_rows or spec.default_shard_rows(),
        }
        self._put_group(f"{protocol}/{spec.group}", attributes)
        found = self.read_branch(protocol, spec.group)
        check_same(found, spec, shard_rows)
        found.ensure()
        return found

    def open_branch(self, protocol: str, name: str) -> BranchArrays:
        """A branch by its full name, without the fingerprint, or without the preset too."""
        groups = fitting(self.branches(protocol), name, protocol)
        if len(groups) > 1:
            raise AmbiguousKey(
                f"Branch {name!r} fits {' and '.join(groups)} under {protocol}; give one in full."
            )
        return self._opened(protocol, groups[0])

    def find(self, protocol: str, key: str) -> tuple[BranchArrays, str]:
        """The group that holds an array, by `BRANCH/ARRAY`, and the array's name in it."""
        return self._find(protocol, [key])[key]

    def _find(self, protocol: str, keys: Sequence[str]) -> dict[str, tuple[BranchArrays, str]]:
        groups, opened = self.branches(protocol), dict[str, BranchArrays]()
        found = {}
        for key in keys:
            name, array = parted(key)
            fit = fitting(groups, name, protocol)
            opened |= {g: self._opened(protocol, g) for g in fit if g not in opened}
            found[key] = holder([opened[group] for group in fit], key, array), array
        return found

    def _opened(self, protocol: str, group: str) -> BranchArrays:
        branch = self.read_branch(protocol, group)
        for damage in branch.document_damage():
            raise damage
        return branch

    def select(
        self,
        keys: Sequence[str],
        *,
        protocol: str | None = None,
        where: Where = None,
        allow_missing: bool = False,
    ) -> Selection:
        """Resolve names and decide on rows, without reading any features."""
        if isinstance(keys, str) or not keys or len(set(keys)) != len(keys):
            raise BadInput(
                f"Keys {keys!r}: give a list of different keys such as 'internvideo2/cls'."
            )
        protocol = protocol or the_only(self.protocols(), self.place.name)
        branches = self._find(protocol, keys)
        return selection.select(self.videos, branches, where, allow_missing=allow_missing)

    def table(
        self,
        keys: Sequence[str],
        *,
        protocol: str | None = None,
        where: Where = None,
        verify: bool = True,
        allow_missing: bool = False,
        lazy: Sequence[str] = (),
    ) -> Table:
        """Load arrays of many videos into memory, or on demand where `lazy`; see `loading`."""
        chosen = self.select(keys, protocol=protocol, where=where, allow_missing=allow_missing)
        return loading.load(chosen, verify=verify, lazy=lazy)

    def stream(  # noqa: PLR0913 (what to read, and how)
        self,
        keys: Sequence[str],
        *,
        protocol: str | None = None,
        where: Where = None,
        batch: int | None = None,
        shuffle: int | None = None,
        hold: int = 4,
        memory: int | None = None,
        part: tuple[int, int] = (0, 1),
        verify: bool = True,
        allow_missing: bool = False,
    ) -> Iterator[Table]:
        """Read arrays that do not fit in memory, batch by batch; see `stream.Order`."""
        order = stream.Order(
            batch=batch, shuffle=shuffle, hold=hold, memory=memory, part=part
        )  # fmt: skip
        chosen = self.select(keys, protocol=protocol, where=where, allow_missing=allow_missing)
        return stream.stream(chosen, order, verify=verify)

    def info(self) -> Json:
        """What the store holds, as plain data for printing or JSON."""
        labels, counts = np.unique(self.videos.column("label"), return_counts=True)
        named = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        classes = {name: named.get(i, 0) for i, name in enumerate(self.classes)}
        return {
            "place": self.place.name,
            "format": self.layout.format,
            "scheme": self.scheme,
            "videos": self.videos.count,
            "classes": {**classes, "unlabelled": named.get(-1, 0)},
            "protocols": {
                protocol: [self._opened(protocol, name).info() for name in self.branches(protocol)]
                for protocol in self.protocols()
            },
        }

    def read_branch(self, protocol: str, group: str) -> BranchArrays:
        """A branch by its full name, its arrays' documents not looked at."""
        prefix = f"{protocol}/{group}"
        where = f"{self.place.name}/{documents.document_key(prefix)}"
        groups = {"protocol": self._attributes(protocol), "branch": self._attributes(prefix)}
        try:
            branch = BranchArrays(self.place, self.videos, groups)
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(where, f"not a branch of this format ({error})") from error
        if branch.prefix != prefix:
            raise Damaged(where, f"belongs to {branch.prefix}")
        return branch

    def _attributes(self, prefix: str) -> Json:
        document = documents.read(self.place, prefix)
        if document is None:
            where = f"{self.place.name}/{documents.document_key(prefix)}"
            raise Damaged(where, "the file is missing")
        return documents.attributes(document)

    def _put_group(self, prefix: str, attributes: Mapping[str, Any]) -> None:
        content = documents.encode(documents.group(attributes))
        self.place.put_new(documents.document_key(prefix), [content])

    def _folders(self, prefix: str) -> list[str]:
        """Groups below a prefix: folders with something in them, stray files left out."""
        found = []
        for name in self.place.children(prefix):
            if name == "zarr.json" or name.startswith("."):  # some list a file as its own child
                continue
            if self._holds_something(f"{prefix}/{name}" if prefix else name):
                found.append(name)
        return found

    def _holds_something(self, prefix: str) -> bool:
        try:
            below = self.place.children(prefix)
        except (Damaged, ReadFailed):
            return True  # who goes on to read it learns why that is not possible
        return any(child == "zarr.json" or not child.startswith(".") for child in below)
