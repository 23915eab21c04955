"""Which scored videos the bundle knew already: it learnt from them, or was decided by them.

Figures of how right it is are about the others. The scores name their bundle by its content, so it
is found where it lies in the same run.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features_store.errors import TelltaleError
from heads.bundle import Bundle
from heads.scoring.output import read_about

Known = NDArray[np.bool_] | None


def known(scores: Path, ids: Sequence[str], bundles: Sequence[Path]) -> Known:
    """One for each row; None where the bundle that made the scores is not among these."""
    try:
        content = read_about(scores).get("bundle")
    except (OSError, ValueError):  # scores of another tool, or without what stands beside them
        return None
    for place in bundles:
        try:
            bundle = Bundle.load(place.parent)
        except (TelltaleError, OSError, ValueError):  # its own chapter says what is wrong with it
            continue
        if bundle.content == content:
            return bundle.rows.knows(ids)
    return None
