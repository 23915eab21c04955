"""The review page: one HTML file that shows clips, their curves and proposed labels.

Everything is inside: films, curves, script, style. The page loads nothing and can run nothing but
its own script, whose hash its policy names; names of files are data, never markup. It holds the
most doubtful clips first, at most as many as asked for.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.decoding.job import Job, Look, Plan
from extract.decoding.pool import DecodePool
from extract.labelling.label import Labelling
from extract.labelling.labelled_set import Entry
from extract.labelling.prior_labels import CLASSES, PRIORS
from extract.labelling.review_clip import FILM, PAIRS, RATE, film_bytes
from extract.labelling.review_still import stills
from extract.people.spots import Spot
from extract.processes import default_workers
from features_store.commit import write_file

Curves = Mapping[str, NDArray[np.float64]]
Clip = Mapping[str, object]
_PAGE = "review_page.html"


def write_page(
    path: Path,
    found: Labelling,
    limit: int,
    workers: int | None = None,
    spots: Mapping[str, Spot] | None = None,
) -> int:
    """Write the page; says how many clips are in it. `spots`: where somebody looks worst."""
    entries = most_doubtful(found.made.entries, limit)
    count = max(1, min(workers or default_workers(), len(entries)))
    made = {str(one["id"]): dict(one) for one in _clips(found, entries, count)}
    for name, still in stills(_jobs(found, entries), spots or {}, str(found.root), count):
        made[name]["still"] = still
    clips = sorted(made.values(), key=lambda clip: -float(str(clip["doubt"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, [page(clips, total=len(found.made.entries)).encode()])
    return len(clips)


def most_doubtful(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """Generated videos by doubt; real ones are taken at their word."""
    ranked = [entry for entry in entries if entry.ranked is not None]
    return sorted(ranked, key=lambda entry: (-_doubt(entry), entry.id))[:limit]


def _doubt(entry: Entry) -> float:
    return 0.0 if entry.ranked is None else entry.ranked.doubt


def _jobs(found: Labelling, entries: Sequence[Entry]) -> list[Job]:
    return [
        Job(index=index, id=entry.id, path=str(found.root / entry.id))
        for index, entry in enumerate(entries)
    ]


def _clips(found: Labelling, entries: Sequence[Entry], workers: int) -> Iterator[Clip]:
    plan = Plan(looks=(Look(protocol=f"pairs-{PAIRS}", outputs=(FILM,)),), root=str(found.root))
    with DecodePool(plan, workers=workers) as pool:
        for outcome in pool.run(_jobs(found, entries)):
            entry = entries[outcome.job.index]
            film, seconds = "", 0.0
            if outcome.ok and outcome.info is not None:
                film = base64.b64encode(
                    film_bytes(np.asarray(outcome.arrays["film"][0], np.uint8))
                ).decode()
                seconds = outcome.info.frames / max(outcome.info.fps, 1e-3)
            yield clip(entry, found.curves[entry.id], film, seconds)


def clip(entry: Entry, curves: Curves, film: str, seconds: float) -> Clip:
    """What the page knows of one video."""
    assert entry.ranked is not None
    return {
        "id": entry.id,
        "source": entry.source,
        "proposed": entry.proposed,
        "ranks": [entry.ranked.ranks[prior] for prior in PRIORS],
        "count": entry.ranked.count,
        "doubt": round(entry.ranked.doubt, 4),
        "tied": entry.ranked.tied,
        "also": entry.ranked.also,
        "curves": [[float(f"{x:.4g}") for x in curves[prior].tolist()] for prior in PRIORS],
        "film": film,
        "seconds": round(seconds, 3),
    }


def page(clips: Sequence[Clip], *, total: int) -> str:
    """The page's text."""
    template = files("extract.labelling").joinpath(_PAGE).read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    ids = json.dumps([clip["id"] for clip in clips])
    data = {
        "key": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "classes": CLASSES,
        "priors": PRIORS,
        "rate": RATE,
        "total": total,
        "clips": list(clips),
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return template.replace("SCRIPT_HASH", digest).replace("PAGE_DATA", text, 1)
