"""What a recipe says of videos that it did not learn from: every labelled video once, by a head
trained on the other folds.

From this come cross-validated numbers, the temperature, and thresholds of conformal sets: promises
for new videos like all of these. The videos that decide on epochs are usually no such sample: in
HFV they are the most obvious fifth, and thresholds from them promised 95% and covered 75%.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.data.folds import Groups, fold_numbers
from heads.data.sides import Data, Mask
from heads.head import Head, Probabilities
from heads.training.side_by_side import Fit, learnt

FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """Predictions, in the order of the judged table."""

    ids: NDArray[np.generic]
    labels: NDArray[np.int64]
    sources: NDArray[np.generic]
    probabilities: Probabilities
    """(n, V, C), as heads give them: without a temperature."""
    folds: int


def most_folds(labels: NDArray[np.integer], wanted: int = FOLDS) -> int:
    """As many folds as the rarest class allows; less than 2: none are possible."""
    counts = np.bincount(labels[labels >= 0])
    return int(min(wanted, counts[counts > 0].min())) if len(counts) else 0


def out_of_fold(
    make: Callable[[], Head],
    whole: Data,
    deciding: Mask,
    *,
    folds: int = FOLDS,
    device: str = "cpu",
    groups: Groups = None,
) -> OutOfFold:
    """`whole` has every video twice, as it is learnt from and as it is judged; `deciding`, over all
    videos of the store, are those that decide on epochs, less the ones of the fold that is out."""
    judged, teaching = whole.validation, whole.train
    own = None if groups is None else groups[judged.rows]
    numbers = fold_numbers(judged.ids, judged.labels, folds, own)
    number_of = np.full(len(deciding), -1)
    number_of[judged.rows] = numbers
    fits = (
        Fit(
            head=make(), train=teaching, deciding=judged, device=device,
            learns=(number_of[teaching.rows] != fold) & ~deciding[teaching.rows],
            decides=(numbers != fold) & deciding[judged.rows],
        )
        for fold in range(folds)
    )  # fmt: skip
    found: Probabilities | None = None
    for fold, (head, _) in enumerate(learnt(fits)):
        said = head.predict(judged.take(numbers == fold))
        if found is None:
            found = np.zeros((len(judged), *said.shape[1:]), np.float32)
        found[numbers == fold] = said
    assert found is not None
    return OutOfFold(
        ids=judged.ids, labels=judged.labels.astype(np.int64), sources=judged.sources,
        probabilities=found, folds=folds,
    )  # fmt: skip
