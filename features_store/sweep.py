"""Garbage collection: what killed writers left behind, and branches that nobody wants any more."""

import time

from features_store.commit import TEMPORARY_SUFFIX
from features_store.errors import UnknownKey
from features_store.places import LEASE, LocalPlace, Place
from features_store.store import Store


def leftovers(place: Place, older_than: float) -> list[str]:
    """Temporary files of at least that age in seconds, and leases of dead writers."""
    found = []
    for key in place.walk(""):
        name = key.rsplit("/", 1)[-1]
        if name == LEASE or (name.endswith(TEMPORARY_SUFFIX) and _age(place, key) >= older_than):
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
    branch_keys(store, prefix)
    # Commit records go first: what is half deleted is missing, not damaged.
    for name in sorted(store.place.children(prefix), key=lambda name: name != "status"):
        store.place.delete_tree(f"{prefix}/{name}/c")
    store.place.delete_tree(prefix)


def _age(place: Place, key: str) -> float:
    if not isinstance(place, LocalPlace):
        return 0.0
    try:
        return time.time() - (place.root / key).stat().st_mtime
    except FileNotFoundError:  # its writer has just finished
        return -1.0
