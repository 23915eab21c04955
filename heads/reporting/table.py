"""The score table: its rows as JSON, which page.js sorts, filters and pages.

Columns are packed: a text with few values is a list of names and a number per row, a share is an
integer of ten-thousandths.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.reporting.safe import shown, text
from heads.reporting.scores import PROBABILITY, Column, Scores
from heads.scoring.formats import FORGERY_UNDER

MAX_ROWS = 200_000
"""More would make a file that phones cannot open."""
_TITLES = {
    "id": "video", "source": "source", "label": "label", "verdict": "verdict", "set": "set",
    "nearest_id": "nearest known", "nearest_source": "its source", "error": "error",
    "confidence": "confidence", "forgery": "forgery", "spread": "spread",
    "nearest_similarity": "similarity", "known": "learnt from", "flagged": "over the threshold",
    "group": "looks like a copy of", "copies": "copies", "stress": "damaged as on its way",
    "unlike": "unlike what it learnt from", "worst_part": "looks worst",
    "worst_person": "of person", "worst_frame": "in frame", "worst_score": "how abnormal",
    "worst_box": "box there",
}  # fmt: skip
_CHOICES = ("source", "label", "verdict", "set", "nearest_source", "known", "flagged", "worst_part")
_SHARES = ("confidence", "forgery", "spread", "worst_score")
_FILTERS = ("source", "label", "verdict", "known", "flagged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One column as JSON holds it."""

    key: str
    kind: str
    """text: a string per row; choice: a place in `names`; share: ten-thousandths or -1; number."""
    values: Sequence[object]
    names: Sequence[str] = ()

    def document(self) -> dict[str, object]:
        title = _TITLES.get(self.key, self.key.removeprefix(PROBABILITY))
        if title.startswith(FORGERY_UNDER):
            title = f"forgery under {title.removeprefix(FORGERY_UNDER)}"
        found: dict[str, object] = {
            "key": self.key, "title": shown(title), "kind": self.kind, "values": self.values
        }  # fmt: skip
        return {**found, "names": self.names} if self.kind == "choice" else found


def score_table(scores: Scores, limit: int = MAX_ROWS) -> str:
    """The table's controls, an empty table, and the data that fills it."""
    columns = pack(scores, limit)
    left_out = len(scores) - limit
    note = (
        f'<p class="note">The table holds the first {limit:,} of {len(scores):,} videos; figures '
        f"and gallery are of all.</p>"
        if left_out > 0
        else ""
    )
    chosen = "".join(_select(one) for one in columns if one.key in _FILTERS and len(one.names) > 1)
    judged = '<option value="wrong">mistakes</option>' if (scores.labels >= 0).any() else ""
    failed = '<option value="failed">failures</option>' if scores.failed.any() else ""
    show = (
        f'<label>show <select id="show"><option value="">all</option>{judged}{failed}</select>'
        f"</label>"
        if judged or failed
        else ""
    )
    return (
        f'{note}<form id="filters" role="search"><label class="wide">find <input id="find" '
        f'type="search" placeholder="part of a name or an error" autocomplete="off"></label>'
        f'{chosen}{show}</form><div class="tools"><p id="count" role="status"></p><button '
        'type="button" id="download">download these rows as CSV</button></div><details class='
        '"choose"><summary>columns</summary><div id="columns" role="group" aria-label="columns">'
        '</div></details><div class="scroll" tabindex="0" role="group" aria-label="every video">'
        '<table id="scores"><thead></thead><tbody></tbody></table></div>'
        '<nav id="pages" aria-label="pages of the table"><button type="button" id="first">first'
        '</button><button type="button" id="back">back</button><span id="place"></span>'
        '<button type="button" id="next">next</button><button type="button" id="last">last'
        "</button></nav><noscript><p>The table needs scripts; the file of scores has the same rows."
        f"</p></noscript>{embedded(columns)}"
    )


def embedded(columns: Sequence[Packed]) -> str:
    """JSON that no content can break out of: there is no `<` in it."""
    document = {"columns": [one.document() for one in columns]}
    packed = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    harmless = packed.replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{harmless}</script>'


def pack(scores: Scores, limit: int) -> list[Packed]:
    """Columns in the order in which people read them."""
    texts, numbers = dict(scores.texts), dict(scores.numbers)
    if scores.copies.any():
        numbers["copies"] = np.where(scores.copies > 0, scores.copies, np.nan)
    if scores.known is not None and scores.known.any():
        texts["known"] = ["yes" if known else "no" for known in scores.known]
    order = [
        "id", "verdict", "confidence", "label", "source", "forgery", "flagged", "copies", "group",
        "stress", "unlike",
        *(f"{PROBABILITY}{name}" for name in scores.classes),
        *(name for name in numbers if name.startswith(FORGERY_UNDER)),
        "worst_part", "worst_score", "worst_frame", "worst_person", "worst_box",
        "known", "set", "spread", "nearest_id", "nearest_source", "nearest_similarity", "error",
    ]  # fmt: skip
    found = []
    for key in order:
        if key in numbers:
            found.append(_numbers(key, numbers[key][:limit]))
        elif key in texts and (key in ("id", "verdict") or any(texts[key])):
            found.append(_texts(key, texts[key][:limit]))
    return found


def _texts(key: str, values: Sequence[str]) -> Packed:
    if key not in _CHOICES:
        return Packed(key=key, kind="text", values=[shown(value) for value in values])
    names = sorted(set(values))
    places = {name: place for place, name in enumerate(names)}
    codes = [places[value] for value in values]
    return Packed(key=key, kind="choice", values=codes, names=[shown(name) for name in names])


def _numbers(key: str, values: Column) -> Packed:
    if key not in _SHARES and not key.startswith((PROBABILITY, FORGERY_UNDER)):
        rounded = [None if np.isnan(value) else round(value, 4) for value in values.tolist()]
        return Packed(key=key, kind="number", values=rounded)
    shares = np.round(np.clip(np.nan_to_num(values), 0, 100) * 10_000).astype(np.int64)
    return Packed(key=key, kind="share", values=np.where(np.isnan(values), -1, shares).tolist())


def _select(column: Packed) -> str:
    options = "".join(
        f'<option value="{place}">{text(name or "none")}</option>'
        for place, name in enumerate(column.names)
    )
    return (
        f'<label>{text(_TITLES[column.key])} <select data-column="{text(column.key)}">'
        f'<option value="">all</option>{options}</select></label>'
    )
