"""What must fit together before anything is fine-tuned."""

from collections.abc import Mapping, Sequence
from typing import Any

from extract.views.protocol import Protocol
from extract.views.revisions import with_revisions
from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import WrongFeatures
from heads.finetuning.backbone import Backbone
from heads.parts.arrays import DEPTH


def check_same_beside(learn: Table, decide: Table, keys: Sequence[str] = (DEPTH,)) -> None:
    """Cached vectors of other networks must be of the same ones where a run learns and judges."""
    for key in keys:
        if learn.fingerprints.get(key) != decide.fingerprints.get(key):
            raise WrongFeatures(
                f"{key} under {learn.protocol} and {decide.protocol} is of different networks; "
                f"give --validation-protocol {learn.protocol}."
            )


def check_same_pixels(details: Mapping[str, Any], protocol: str) -> None:
    """Views that are decoded now must be those that the store's features were made of."""
    now = Protocol.parse(protocol).describe()
    there = with_revisions(details, now)["revisions"]
    if there != now["revisions"]:
        raise WrongFeatures(
            f"The store's {protocol} has views of revision {there}, decoding would now make "
            f"{now['revisions']}. Fine-tune from cached frames, or extract into a new store."
        )


def check_start(start: Bundle, store: Store, table: Table, backbone: Backbone) -> None:
    """The bundle must have been trained on features of this very backbone, and of the same other
    networks."""
    if start.classes != table.classes:
        raise WrongFeatures(f"The bundle tells {start.classes}, the store {table.classes}.")
    expected = start.about.fingerprints
    for key in backbone.beside(tuple(expected)):
        if expected[key] != table.fingerprints.get(key):
            raise WrongFeatures(f"The bundle's {key} is of another fingerprint than the store's.")
    known = [
        store.open_branch(protocol, group)
        for protocol in store.protocols()
        for group in store.branches(protocol)
    ]
    same = {found.spec.fingerprint for found in known if backbone.made(found)}
    own = [key for key in expected if backbone.is_own(key)]
    if not own:
        raise WrongFeatures(
            f"The bundle was trained on {', '.join(expected)}, none of which this backbone makes."
        )
    for key in own:
        if expected[key] not in same:
            raise WrongFeatures(
                f"The bundle was trained on {key} of fingerprint {expected[key]}; the store has no "
                f"such features of this backbone. Give the backbone, and a store, that it came "
                f"from."
            )
