"""Garbage collection: what killed writers left behind, and branches that nobody wants any more."""

from features_store.commit import TEMPORARY_SUFFIX
from features_store.errors import UnknownKey
from features_store.place import Place
from features_store.place.place import PROBE
from features_store.store import Store


def leftovers(place: Place, older_than: float) -> list[str]:
    """Temporary files that nobody has written to for so many seconds."""
    found = []
    for key in place.walk(""):
        name = key.rsplit("/", 1)[-1]
        if name.endswith(TEMPORARY_SUFFIX) or name.startswith(PROBE):
            age = place.age(key)  # None: its writer has just finished
            if age is not None and age >= older_than:
                found.append(key)
    return found


def branch_keys(store: Store, prefix: str) -> list[str]:
    """All keys of the branch `PROTOCOL/BRANCH`; its name must be given in full."""
    known = [
        f"{protocol}/{group}"
        for protocol in store.protocol_folders()
        for group in store.branch_folders(protocol)
    ]
    if prefix not in known:
        raise UnknownKey(
            f"No branch {prefix!r}; have: {', '.join(known) or 'none'}. Give PROTOCOL/BRANCH in "
            f"full, fingerprint included."
        )
    return list(store.place.walk(prefix))


def remove_branch(store: Store, prefix: str) -> None:
    """Delete a branch. Killed half-way, the same call finishes it."""
    keys = branch_keys(store, prefix)
    # Commit records go first: what is half deleted is missing, not damaged.
    records = [key for key in keys if key.startswith(f"{prefix}/status/c")]
    store.place.delete(*records)
    store.place.delete_tree(prefix)
