"""The review page: one HTML file without a network, to verify labels by hand.

Clips are named by their path relative to the page. What comes from files is text to the page: it
is embedded as JSON in which nothing can end the script, and shown as text only.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from extract.errors import BadManifest
from extract.labelling import SCHEME, Labelled
from extract.prior import SCORERS
from extract.prior_scores import Curves

REVIEW_FILE = "review.html"
_BEGIN, _END = '<script type="application/json" id="data">', "</script>"
_MARK = "__DATA__"


def review_page(labelled: Sequence[Labelled], curves: Mapping[str, Curves]) -> str:
    """The page as one text."""
    data = {
        "classes": SCHEME.classes,
        "scorers": SCORERS,
        "videos": [_video(each, curves[each.video.id]) for each in labelled],
    }
    template = (files("extract") / "review_page.html").read_text(encoding="utf-8")
    return template.replace(_MARK, safe_json(data))


def safe_json(data: object) -> str:
    """JSON that no HTML parser takes for markup, whatever the strings say."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def read_curves(out: Path) -> dict[str, Curves]:
    """The curves that a review page shows, by video."""
    path = out / REVIEW_FILE
    try:
        page = path.read_text(encoding="utf-8")
        text = page.split(_BEGIN, 1)[1].split(_END, 1)[0]
        return {video["id"]: video["curves"] for video in json.loads(text)["videos"]}
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise BadManifest(
            str(path), ["missing or damaged; run `telltale label FOLDER… --out …` again"]
        ) from error


def _video(each: Labelled, curves: Curves) -> dict[str, object]:
    return {
        "id": each.video.id,
        "url": quote(each.video.id),
        "source": each.video.source,
        "proposed": each.proposed,
        "label": each.label,
        "decided": each.decided,
        "doubt": round(each.doubt, 4),
        "tie": each.tie,
        "several": len(each.anomalies) > 1,
        "ranks": {name: round(rank, 4) for name, rank in each.ranks.items()},
        "curves": {name: [float(f"{x:.5g}") for x in curves[name]] for name in SCORERS},
    }
