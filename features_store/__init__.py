"""The feature store: what big frozen networks said about every video, kept in Zarr v3.

from features_store import ArraySpec, BranchSpec, Store
"""

from features_store.errors import (
    AmbiguousKey,
    BadInput,
    Damaged,
    NotAStore,
    NotComputed,
    ReadFailed,
    SpecMismatch,
    StoreError,
    StoreExists,
    TelltaleError,
    UnknownKey,
    WriteFailed,
)
from features_store.schema import ArraySpec, BranchSpec, Status, fingerprint
from features_store.store import Store
from features_store.table import Table

__all__ = [
    "AmbiguousKey",
    "ArraySpec",
    "BadInput",
    "BranchSpec",
    "Damaged",
    "NotAStore",
    "NotComputed",
    "ReadFailed",
    "SpecMismatch",
    "Status",
    "Store",
    "StoreError",
    "StoreExists",
    "Table",
    "TelltaleError",
    "UnknownKey",
    "WriteFailed",
    "fingerprint",
]
