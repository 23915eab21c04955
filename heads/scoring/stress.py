"""Does a verdict outlast what happens to videos on their way? Scores of a few re-shippings.

Each is the protocol that is scored by, with damage: coarse JPEG, another size, another encoding,
another rate. All come from one open file, and a pass of its own where every picture is encoded
anew. A verdict is steady where all of them stand on one side; else nobody should rely on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from extract.branch import Branch
from extract.running.workload import Rows
from extract.views.protocol import Protocol
from features_store.store import Store
from heads.errors import BadSetting
from heads.measuring.metrics import REAL
from heads.scoring.formats import FORGERY_UNDER, Block
from heads.scoring.rows import UNSURE
from heads.scoring.scorer import Scorer

DAMAGES = ("jpeg50", "resize0.7", "h264crf32", "rate8")
STEADY = "steady"


def protocols(protocol: str) -> dict[str, str]:
    """Damage → the protocol with it."""
    if Protocol.parse(protocol).perturbation is not None:
        raise BadSetting(f"--stress damages videos, and protocol {protocol} does so already.")
    return {damage: f"{protocol}+{damage}" for damage in DAMAGES}


def under_stress(branches: Sequence[Branch], protocol: str) -> list[Branch]:
    """The same networks, each under the protocol and under all of its damages."""
    found = list(branches)
    for name in protocols(protocol).values():
        found += [branch.under(replace(branch.request, protocol=name)) for branch in branches]
    return found


def with_stress(block: Block, scorer: Scorer, store: Store, protocol: str, rows: Rows) -> Block:
    """Rows of a store's videos, with what is said of each of them when it is damaged."""
    # Nobody sent these videos, and their verdicts alone are kept.
    quiet = replace(scorer, neighbours=None, drift=None, parts=False)
    damaged = {
        damage: quiet.from_store(store, name, rows) for damage, name in protocols(protocol).items()
    }
    for damage, found in damaged.items():
        share = found["forgery"] if REAL in scorer.bundle.classes else found["confidence"]
        block = block.append_column(
            pa.field(f"{FORGERY_UNDER}{damage}", pa.float32()), share.cast(pa.float32())
        )
    columns = ["verdict", "flagged", "confidence"]
    said = zip(
        block.select(columns).to_pylist(),
        *(found.select(columns).to_pylist() for found in damaged.values()),
        strict=True,
    )
    words = [_word(own, dict(zip(damaged, others, strict=True))) for own, *others in said]
    return block.append_column(pa.field("stress", pa.string()), pa.array(words, pa.string()))


def _word(own: Mapping[str, object], damaged: Mapping[str, Mapping[str, object]]) -> str | None:
    """None where there is no verdict."""
    if own["confidence"] is None:
        return None
    others = [
        f"{damage} says {_answer(found)}"
        for damage, found in damaged.items()
        if found["confidence"] is not None and _side(found) != _side(own)
    ]
    return f"{UNSURE}: {', '.join(others)}" if others else STEADY


def _side(row: Mapping[str, object]) -> object:
    """What must not change: on which side of the threshold, or real or not."""
    return row["flagged"] if row["flagged"] is not None else row["verdict"] == REAL


def _answer(row: Mapping[str, object]) -> str:
    if row["flagged"] is None:
        return str(row["verdict"])
    return "flagged" if row["flagged"] else "not flagged"
