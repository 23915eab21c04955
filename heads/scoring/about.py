"""What made some scores, in the file itself or beside it: enough to know them again years later."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from features_store.installing import DISTRIBUTION
from features_store.store import Store
from heads.parts.arrays import ATTN
from heads.parts.model_card import warning
from heads.scoring.scorer import Scorer
from heads.scoring.versions import digest

_PACKAGES = (DISTRIBUTION, "torch", "numpy", "av", "pyarrow")


def about(scorer: Scorer, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but what came of it, which is added at the end."""
    bundle = scorer.bundle
    found = {
        **plan,
        "head": bundle.about.head,
        "settings": dict(bundle.about.config),
        "classes": list(bundle.classes),
        "scheme": bundle.about.scheme,
        "fingerprints": dict(bundle.about.fingerprints),
        "branches": dict(bundle.about.branches),
        "temperature": bundle.about.temperature,
        "packages": {name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    words = warning(bundle.about.branches.values())
    return found | ({"note": words} if words else {})


def plan(scorer: Scorer, protocol: str, place: str, reference: str | None) -> dict[str, Any]:
    """All that decides a row beside its input. `place`: where the inputs are."""
    return {
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
