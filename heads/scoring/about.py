"""What made some scores, in the file itself or beside it: enough to know them again years later."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from extract.errors import BadProtocol
from extract.views.protocol import Protocol
from features_store.installing import DISTRIBUTION
from features_store.store import Store
from heads.parts.arrays import ATTN
from heads.parts.model_card import first_lines
from heads.scoring.meaning import Meaning
from heads.scoring.rows import WORST_PART
from heads.scoring.scorer import Scorer
from heads.scoring.versions import digest
from heads.zoo.anatomy import Anatomy

_PACKAGES = (DISTRIBUTION, "torch", "numpy", "av", "pyarrow")


def about(scorer: Scorer, plan: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Everything but the hash of the inputs' list and what came of it, which are added at the end.

    `name`: what the bundle's folder is called.
    """
    bundle = scorer.bundle
    meaning = Meaning.of(bundle, name)
    found = {
        **plan,
        "detector": meaning.name,
        "means": first_lines(bundle.about),
        "head": bundle.about.head,
        "settings": dict(bundle.about.config),
        "classes": list(bundle.classes),
        "scheme": bundle.about.scheme,
        "fingerprints": dict(bundle.about.fingerprints),
        "branches": dict(bundle.about.branches),
        "views": _views(plan["protocol"]),
        "temperature": bundle.about.temperature,
        "conformal": dict(bundle.about.conformal),
        "calibration": dict(bundle.about.calibration),
        "operating": list(bundle.about.operating),
        "packages": {name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return found | ({"note": meaning.note} if meaning.note else {})


def _views(protocol: str) -> dict[str, Any]:
    """Nothing of features that were computed elsewhere."""
    try:
        return Protocol.parse(protocol).describe()
    except BadProtocol:  # a name of the user's own
        return {}


def plan(
    scorer: Scorer,
    protocol: str,
    place: str,
    reference: str | None,
    **more: object,
) -> dict[str, Any]:
    """All that decides a row beside its input. `place`: where the inputs are; `more`: what only
    some runs have, by name."""
    return {
        **{name: value for name, value in more.items() if value},
        **({"columns": WORST_PART.names} if isinstance(scorer.bundle.head, Anatomy) else {}),
        "place": place,
        "protocol": protocol,
        "bundle": scorer.bundle.content,
        "error rate of sets": scorer.rate,
        "reference": reference,
    }


def reference_state(store: Store, protocol: str) -> str:
    """Tells a reference store from itself with more videos."""
    status = store.find(protocol, ATTN)[0].status()
    ids = store.videos.column("id").tolist()
    return f"{store.place.name} {protocol} {digest(ids, [status.tobytes()])}"
