"""What scores say as a whole: counts, and how right they are where the truth is known."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from heads.data.generators import sources_of
from heads.figures import charts
from heads.measuring.calibration import reliability
from heads.measuring.detection import detection
from heads.measuring.intervals import macro_auc_interval, wilson
from heads.measuring.metrics import confusion_matrix
from heads.reporting.parts import (
    NOTHING,
    Big,
    headline,
    number,
    paragraph,
    percent,
    picture,
    side_by_side,
    table,
)
from heads.reporting.scores import Scores

_MOST_SOURCES = 40
_MOST_POINTS = 50_000
"""Of a curve: more are not seen, and make the page heavy."""


def overview(scores: Scores) -> str:
    """Counts for everyone; accuracy and curves where labels are known."""
    body = headline(list(_big(scores))) + paragraph(_new(scores), "note")
    if scores.judged.any():
        body += paragraph(
            "Accuracy with its 95% interval (Wilson); unsure counts as wrong.", "note"
        )
        body += _curves(scores)
    return body + _by_source(scores)


def _new(scores: Scores) -> str:
    """Whose figures these are."""
    if not (scores.labels >= 0).any():
        return ""
    if scores.known is None:
        return (
            "Whether the bundle learnt from some of these videos is not known: it is not in this "
            "folder."
        )
    count = int(scores.known.sum())
    if not count:
        return "All of them were new to the bundle."
    return (
        f"It learnt from {number(count)} of these videos, or was decided by them: they are in no "
        f"figure of how right it is, and the other {number(int(scores.judged.sum()))} that have a "
        f"label and a score are."
    )


def _big(scores: Scores) -> Iterator[Big]:
    failed = int(scores.failed.sum())
    yield Big(label="videos", value=number(len(scores)), note=f"{number(failed)} failed")
    if scores.judged.any():
        labels = scores.labels[scores.judged]
        hits = int((scores.verdicts[scores.judged] == labels).sum())
        judged = scores.probabilities[scores.judged]
        found = {
            "accuracy, %": wilson(hits, len(labels)),
            "AUC, %": macro_auc_interval(judged, labels, scores.classes),
        }
        detected = detection(judged, labels, scores.classes)
        if detected is not None:
            found["real or not, AUC, %"] = detected.auc
        for label, one in found.items():
            note = f"{one.brackets} n = {one.n:,}".strip()
            yield Big(label=label, value=percent(one.value), note=note)
    else:
        forged = scores.forgery[~np.isnan(scores.forgery)]
        if len(forged):
            yield Big(label="more likely forged, %", value=percent(float((forged > 0.5).mean())))
    counts = Counter(verdict for verdict in scores.texts["verdict"] if verdict)
    unsure = sum(count for verdict, count in counts.items() if verdict not in scores.classes)
    if unsure:
        yield Big(label="unsure, %", value=percent(unsure / len(scores)))


def _curves(scores: Scores) -> str:
    judged = np.flatnonzero(scores.judged)
    labels, probabilities = scores.labels[judged], scores.probabilities[judged]
    matrix = confusion_matrix(labels, probabilities.argmax(1), len(scores.classes))
    drawn = judged[:: -(-len(judged) // _MOST_POINTS)]
    return side_by_side(
        [
            picture(
                charts.roc(scores.probabilities[drawn], scores.labels[drawn], scores.classes),
                "ROC: each class against the rest",
            ),
            picture(
                charts.reliability_curve(reliability(probabilities, labels)),
                "Reliability: on the dotted line, confidence means what it says",
            ),
            picture(
                charts.confusion(matrix, scores.classes),
                "Likeliest class: rows are the truth",
            ),
        ]
    )


def _by_source(scores: Scores) -> str:
    sources = scores.texts.get("source")
    if sources is None or not any(sources):
        return ""
    names = np.array([source or "none" for source in sources], dtype=object)
    common = [name for name, _ in Counter(names.tolist()).most_common(_MOST_SOURCES)]
    known = np.flatnonzero(scores.judged)
    joined = sources_of(names[known].tolist(), scores.labels[known], scores.classes)
    rows = []
    for name in sorted(common):
        inside = names == name
        judged = known[joined.masks[name]] if name in joined.masks else known[names[known] == name]
        right = scores.verdicts[judged] == scores.labels[judged]
        accuracy = wilson(int(right.sum()), len(right))
        forged = scores.forgery[inside & ~np.isnan(scores.forgery)]
        rows.append([
            name, number(int(inside.sum())), number(int(scores.failed[inside].sum())),
            percent(float((forged > 0.5).mean())) if len(forged) else NOTHING,
            f"{percent(accuracy.value)} {accuracy.brackets}" if len(judged) else NOTHING,
            number(len(judged)),
        ])  # fmt: skip
    rest = len(set(names.tolist())) - len(rows)
    more = paragraph(f"{rest:,} smaller sources are not listed.", "note") if rest else ""
    if joined.reals and joined.generators:
        said = f"Accuracy of each generator is with the reals of {', '.join(joined.reals)}."
        more += paragraph(said, "note")
    columns = ("source", "videos", "failed", "more likely forged, %", "accuracy, %", "judged")
    return "<h3>By source</h3>" + table(columns, rows) + more
