"""What must fit together before anything is fine-tuned."""

from collections.abc import Mapping
from typing import Any

from extract.branches.internvideo2 import InternVideo2Branch
from extract.views.protocol import Protocol
from extract.views.revisions import with_revisions
from features_store.branch_arrays import BranchArrays
from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import WrongFeatures
from heads.parts.arrays import ATTN, DEPTH


def check_same_depth(learn: Table, decide: Table) -> None:
    if learn.fingerprints.get(DEPTH) != decide.fingerprints.get(DEPTH):
        raise WrongFeatures(
            f"{DEPTH} under {learn.protocol} and {decide.protocol} is of different networks; give "
            f"--validation-protocol {learn.protocol}."
        )


def check_same_pixels(details: Mapping[str, Any], protocol: str) -> None:
    """Views that are decoded now must be those that the store's depth was made of."""
    now = Protocol.parse(protocol).describe()
    there = with_revisions(details, now)["revisions"]
    if there != now["revisions"]:
        raise WrongFeatures(
            f"The store's {protocol} has views of revision {there}, decoding would now make "
            f"{now['revisions']}. Fine-tune from cached frames, or extract into a new store."
        )


def check_start(start: Bundle, store: Store, table: Table, branch: InternVideo2Branch) -> None:
    """The bundle must have been trained on features of this very backbone, and of this depth."""
    if start.classes != table.classes:
        raise WrongFeatures(f"The bundle tells {start.classes}, the store {table.classes}.")
    expected = start.about.fingerprints
    if DEPTH in expected and expected[DEPTH] != table.fingerprints.get(DEPTH):
        raise WrongFeatures(f"The bundle's {DEPTH} is of another fingerprint than the store's.")
    known = [
        store.open_branch(protocol, group)
        for protocol in store.protocols()
        for group in store.branches(protocol)
    ]
    same = {found.spec.fingerprint for found in known if same_network(found, branch)}
    if expected[ATTN] not in same:
        raise WrongFeatures(
            f"The bundle was trained on {ATTN} of fingerprint {expected[ATTN]}; the store has no "
            f"such features of this backbone. Give the backbone, and a store, that it came from."
        )


def same_network(found: BranchArrays, branch: InternVideo2Branch) -> bool:
    there = found.spec.provenance
    decides = branch.decides
    return found.spec.name == "internvideo2" and all(
        there.get(name) == decides[name] for name in ("weights", "architecture", "revision")
    )
