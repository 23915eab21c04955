"""Appearance prior: do the subject and the background stay what they are?

Preset `colours` needs no weights: histograms of colour stand in for the DINO and CLIP
features of VBench's consistency scores; see `extract.colours`.
"""

from extract.branch import BranchRequest
from extract.colours import DECIDES, MEASURES
from extract.pair_scorer import Method, PairScorer, load_scorer

COLOURS = Method(
    preset="colours",
    function="extract.colours:colour_measures",
    measures=len(MEASURES),
    column=MEASURES.index("inconsistency"),
    worst=0.5,
    decides=DECIDES,
    meaning="inconsistency of colours with the first quarter",
)


def load(request: BranchRequest) -> PairScorer:
    return load_scorer(request, COLOURS)
