"""The benchmark of forged faces: what its figures are made of, and that the whole of it runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.face_clips import BOXES, LISTED, VIDEOS, around, windows
from benchmarks.forged_faces import Fold, Plan, drawn, fold, judged
from extract.people.detections import Found
from extract.views.forgeries import ANOMALIES
from tests.test_extract import faces
from tests.test_extract.clips import write_clip

KINDS = ["drop", "colour"]


def folds(better: float) -> list[Fold]:
    """Networks that know nothing of the kind that they did not learn from, and all of the others;
    in turns they know `better` of it."""
    made = []
    for seed in range(2):
        for kind in KINDS:
            for way in ("all at once", "in turns"):
                kinds = np.array(["", "", "drop", "drop", "colour", "colour"], object)
                known = np.where(kinds == kind, better if way == "in turns" else 0.5, 1.0)
                forged = np.where(kinds == "", [0.4, 0.6, 0, 0, 0, 0], known)
                pages = np.array([f"{seed}a", f"{seed}b"] * 3, object)
                made.append(
                    Fold(
                        way=way, held_out=kind, seed=seed, real_r=kinds == "", kinds_r=kinds,
                        forged_r=forged, pages_r=pages, losses=[0.5],
                    )
                )  # fmt: skip
    return made


def test_a_kind_is_judged_by_the_networks_that_do_not_know_it_and_by_those_that_do() -> None:
    unknown, known = (drawn(folds(0.5), ["drop"], known=known) for known in (False, True))
    assert unknown["all at once"][0] == 0.5
    assert known["all at once"][0] == 1
    rows = judged(folds(better=0.9))
    worth = {
        (row["kind"], row["known"]): row["auc"]
        for row in rows
        if row["way"] == "in turns - all at once"
    }
    assert worth["drop", "no"] == worth["all", "no"] == pytest.approx(0.5)
    assert worth["drop", "yes"] == 0
    assert {row["networks of a way"] for row in rows if row["kind"] == "all"} == {4}


def test_intervals_come_of_drawing_pages() -> None:
    (row,) = (
        one for one in judged(folds(0.5))
        if (one["kind"], one["known"], one["way"]) == ("drop", "no", "all at once")
    )  # fmt: skip
    assert row["low"] == 0  # both times the page whose whole view looks more forged
    assert row["high"] == 1
    assert row["pages"] == 4


def test_all_that_alignment_looks_at_is_kept() -> None:
    faces = [
        Found(frame=0, kind="face", box=(40.0, 30.0, 60.0, 50.0)),
        Found(frame=1, kind="face", box=(50.0, 34.0, 71.0, 55.0)),
    ]
    left, top, right, bottom = around(faces, 100, 120)
    assert (left, top) == (30, 20)
    assert right >= 82
    assert bottom >= 66
    assert (right - left) % 2 == (bottom - top) % 2 == 0
    assert around(faces, 60, 80)[2:] == (80, 60)


def test_a_network_says_of_pages_that_it_never_saw_how_forged_they_look(tmp_path: Path) -> None:
    names = [f"{name}.mkv" for name in "abcdefghij"]
    (tmp_path / VIDEOS).mkdir()
    for name in names:
        write_clip(tmp_path / VIDEOS / name, frames=20)
    faces.written(tmp_path / BOXES, {name: faces.moving(range(20)) for name in names})
    rows = [f"{name},real,page {name[0]}" for name in names]
    (tmp_path / VIDEOS / LISTED).write_text("\n".join(["path,label,group", *rows]) + "\n")
    plan = Plan(
        work=tmp_path, views=8, steps=2, batch=16, rate=0.01, optimiser="adamw", device="cpu"
    )
    windows(tmp_path, plan.protocol, 1)
    threads = torch.get_num_threads()
    found = fold(plan, "in turns", "warp", 0, 2)
    torch.set_num_threads(threads)
    assert len(np.unique(found.pages_r)) == 5
    assert set(found.kinds_r) - {"clips"} >= set(ANOMALIES)  # the one held out is judged too
    assert found.real_r.sum() == 5
    assert np.isfinite(found.forged_r).all()
    assert len(found.losses) >= 2
