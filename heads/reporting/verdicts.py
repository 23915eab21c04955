"""What scores say as a whole: counts, and how right they are where the truth is known."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from extract.manifest.segments import segment_of
from heads.data.generators import sources_of
from heads.figures import charts
from heads.measuring.calibration import reliability
from heads.measuring.intervals import auc, macro_auc_interval, wilson
from heads.measuring.metrics import confusion_matrix
from heads.reporting.detected import of_scores
from heads.reporting.evaluated import in_words
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
from heads.scoring.rows import FAR

_MOST_SOURCES = 40
_MOST_POINTS = 50_000
"""Of a curve: more are not seen, and make the page heavy."""


def overview(scores: Scores) -> str:
    """Counts for everyone; accuracy and curves where labels are known."""
    body = headline(list(_big(scores))) + paragraph(_new(scores), "note")
    body += "".join(paragraph(words, "note") for words in _cautions(scores))
    if scores.judged.any():
        body += paragraph(
            "Accuracy with its 95% interval (Wilson); unsure counts as wrong.", "note"
        )
        body += of_scores(scores) + _by_class(scores) + _curves(scores)
    return body + _by_source(scores)


def _by_class(scores: Scores) -> str:
    """How often each class is named where it is the label, and how well it is told from others."""
    rows, judged = [], np.flatnonzero(scores.judged)
    labels, verdicts = scores.labels[judged], scores.verdicts[judged]
    for place, name in enumerate(scores.classes):
        inside = labels == place
        named = wilson(int((verdicts[inside] == place).sum()), int(inside.sum()))
        apart = auc(scores.probabilities[judged, place], inside, ("the rest", name))
        rows.append([
            name, number(named.n), f"{percent(named.value)} {named.brackets}".strip(),
            f"{percent(apart.value)} {apart.brackets}".strip(),
        ])  # fmt: skip
    columns = ("class", "videos", "named where it is the label, %", "AUC against the rest, %")
    return "<h3>Each class</h3>" + table(columns, rows)


def _cautions(scores: Scores) -> Iterator[str]:
    """How many verdicts are to be taken for guesses, and why."""
    asked = sum(map(bool, scores.texts.get("stress", ())))
    if asked:
        share = wilson(int(scores.shaken.sum()), asked)
        yield (
            f"Damaged as on their way, {number(int(scores.shaken.sum()))} of {number(asked)} "
            f"({percent(share.value)}% {share.brackets}) are judged otherwise: they are unsure."
        )
    known = int((~np.isnan(scores.numbers.get("unlike", np.empty(0)))).sum())
    if known:
        share = wilson(int(scores.strange.sum()), known)
        yield (
            f"Like nothing that was learnt are {number(int(scores.strange.sum()))} of "
            f"{number(known)} ({percent(share.value)}% {share.brackets}): farther away than all "
            f"but {100 * (1 - FAR):.0f}% of it; 1% would be usual. Take them for guesses."
        )
    groups = Counter(filter(None, scores.texts.get("group", ())))
    if groups:
        yield (
            f"{number(groups.total())} rows look like copies of one another, in "
            f"{number(len(groups))} group{'s' * (len(groups) != 1)}: each row counts by itself."
        )
    segments = [segment_of(one, one.partition("#t=")[0]) for one in scores.texts["id"]]
    cut = sum(one is not None for one in segments)
    if cut:
        yield f"{number(cut)} rows are segments of long videos: their time lines stand below."


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
        for label, one in found.items():
            note = f"{one.brackets} n = {one.n:,}".strip()
            yield Big(label=label, value=percent(one.value), note=note)
    else:
        forged = scores.forgery[~np.isnan(scores.forgery)]
        if len(forged):
            yield _share("more likely forged, %", int((forged > 0.5).sum()), len(forged))
    counts = Counter(verdict for verdict in scores.texts["verdict"] if verdict)
    unsure = sum(count for verdict, count in counts.items() if verdict not in scores.classes)
    if unsure:
        yield _share("unsure, %", unsure, len(scores))


def _share(label: str, count: int, of: int) -> Big:
    """With its interval, and of how many videos it is."""
    found = wilson(count, of)
    return Big(label=label, value=percent(found.value), note=f"{found.brackets} n = {of:,}")


def _curves(scores: Scores) -> str:
    judged = np.flatnonzero(scores.judged)
    labels, probabilities = scores.labels[judged], scores.probabilities[judged]
    matrix = confusion_matrix(labels, probabilities.argmax(1), len(scores.classes))
    found = reliability(probabilities, labels)
    points = "; ".join(
        f"confidence {percent(sure)}%: {percent(right)}% right, {n:,} videos"
        for sure, right, n in zip(*map(np.ndarray.tolist, (
            found.confidence, found.accuracy, found.counts)), strict=True)
    )  # fmt: skip
    drawn = judged[:: -(-len(judged) // _MOST_POINTS)]
    return side_by_side(
        [
            picture(
                charts.roc(scores.probabilities[drawn], scores.labels[drawn], scores.classes),
                "ROC: each class against the rest",
            ),
            picture(
                charts.reliability_curve(found),
                "Reliability: on the dotted line, confidence means what it says; the larger a dot, "
                "the more videos",
                f"Reliability: {points}",
            ),
            picture(
                charts.confusion(matrix, scores.classes),
                "Likeliest class: rows are labels",
                in_words(matrix, scores.classes),
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
