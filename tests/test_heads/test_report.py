"""`telltale report` without a browser: what it finds, reads, chooses, and how it says no."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from extract.decoding.video import open_video
from extract.people.spots import Spot
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.commands.main import main
from heads.errors import BadRun
from heads.reporting import gallery as report_gallery
from heads.reporting import table as report_table
from heads.reporting.gallery import STILLS, groups, spot_of
from heads.reporting.page import write_report
from heads.reporting.parts import p_value, percent, picture
from heads.reporting.safe import shown, text
from heads.reporting.scores import SUFFIXES, Scores, read_scores
from tests.test_extract.clips import write_clip
from tests.test_features_store.test_cli import here
from tests.test_heads.runs import HOSTILE, score_columns, write_run, write_scores
from tests.test_heads.stores import write_store
from tests.test_heads.tables import CLASSES


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    write_scores(tmp_path / "s/scores.parquet", score_columns())
    return read_scores(tmp_path / "s/scores.parquet")


def test_everything_a_run_holds_is_on_one_page(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_scores(tmp_path / "run/scored/scores.parquet", score_columns())
    written = write_report(tmp_path / "run")
    assert written.page == tmp_path / "run/report.html"
    assert written.sections == [
        "Evaluation", "Verdicts", "Worth a look", "Every video", "Across generators", "Ablation",
        "Tuning", "Shortcut audit", "The head",
    ]  # fmt: skip
    assert written.problems == []
    page = written.page.read_text()
    for said in ("Made-up people; these networks know nothing of real ones", "hfv4",
                 "file facts alone", "70.0 [69.0, 71.5]",
                 "+10.0 [4.0, 15.0] (0.012)", "80 videos, 2 seeds; intervals of 95% over both",
                 "paper: AUC, %", "65.8", "87.5",
                 "coverage promised"):  # fmt: skip
        assert said in page
    assert page.count("data:image/svg+xml") == 3 + 4 + 5 + 3  # confusions, curves; of scores; files
    assert "default-src 'none'" in page
    places = re.findall(r'\b(?:src|href)="(data:|#|.{9})', page)
    assert set(places) == {"data:", "#"}
    assert '<th scope="row">validation AUC, %</th><td>87.5</td>' in page
    assert p_value(0.0004) == "<0.001"
    assert p_value(0.04321) == "0.043"
    assert "<dt>test, %</dt><dd>50.0, 25.0</dd>" in page
    assert re.search(r"<dt>real or not, AUC, %</dt><dd>[\d.]+<small>\[[\d.]+, [\d.]+\]", page)


def test_text_from_files_is_only_ever_text(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_scores(tmp_path / "scores.parquet", score_columns())
    page = write_report(tmp_path).page.read_text()
    assert page.count("<script") == page.count("</script>") == 2  # the data and the program
    assert "<b>pika" not in page
    assert "<b>backbone" not in page
    assert "\u202e" not in page
    assert shown("a\u202eb\ud800") == "a⟨U+202E⟩b⟨U+D800⟩"
    assert text("\"'<>&") == "&quot;&#x27;&lt;&gt;&amp;"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_are_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    columns = score_columns()
    write_scores(tmp_path / f"scores{suffix}", columns)
    found = read_scores(tmp_path / f"scores{suffix}")
    assert found.classes == CLASSES
    assert list(found.texts["id"]) == columns["id"]
    assert list(found.texts["error"]) == columns["error"]
    expected = [np.nan if value is None else value for value in columns["p_motion"]]
    np.testing.assert_allclose(found.probabilities[:, 2], np.array(expected, float), rtol=1e-12)
    assert found.judged.sum() == 58
    assert found.failed.sum() == 2


def test_scores_that_spreadsheets_must_not_run_are_read_back(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {"id": ["'=a.mp4", "'b.mp4"], "verdict": ["real", "real"]}
    write_scores(tmp_path / "scores.csv", columns)
    assert read_scores(tmp_path / "scores.csv").texts["id"] == ["=a.mp4", "'b.mp4"]


def test_id_and_verdict_are_enough(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.jsonl", {"id": ["a", "b"], "verdict": ["real", "unsure"]})
    page = write_report(tmp_path)
    assert page.sections == ["Verdicts", "Every video"]


def test_scores_of_nothing_make_a_page(tmp_path: Path) -> None:
    empty = {name: values[:0] for name, values in score_columns().items()}
    write_scores(tmp_path / "scores.csv", empty)
    assert write_report(tmp_path).sections == ["Verdicts", "Every video"]


def test_sets_may_be_lists(tmp_path: Path) -> None:
    found: dict[str, list[object]] = {"id": ["a"], "verdict": ["x"], "set": [["x", "y"]]}
    write_scores(tmp_path / "scores.parquet", found)
    assert read_scores(tmp_path / "scores.parquet").texts["set"] == ["x|y"]


def test_the_gallery_shows_the_surest_and_the_least_sure(scores: Scores) -> None:
    wrong, right, unsure = groups(scores)
    assert wrong.title == "Surest and wrong"
    assert len(wrong.rows) == len(right.rows) == len(unsure.rows) == report_gallery.EACH
    assert len({*wrong.rows, *right.rows, *unsure.rows}) == 3 * report_gallery.EACH
    for group, same in ((wrong, False), (right, True)):
        order = scores.confidence[list(group.rows)]
        assert (np.diff(order) <= 0).all()
        assert all((scores.labels[row] == scores.verdicts[row]) == same for row in group.rows)
    mistakes = (scores.labels != scores.verdicts) & ~scores.failed
    assert scores.confidence[wrong.rows[0]] == scores.confidence[mistakes].max()
    assert scores.confidence[unsure.rows[0]] == np.nanmin(scores.confidence)
    assert not scores.failed[[*wrong.rows, *right.rows, *unsure.rows]].any()


def test_without_labels_the_gallery_goes_by_what_was_said(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", score_columns(labels=False))
    scores = read_scores(tmp_path / "scores.parquet")
    forged, real, _ = groups(scores)
    assert forged.title == "Surest forgeries"
    assert scores.forgery[forged.rows[0]] == np.nanmax(scores.forgery)
    assert {scores.texts["verdict"][row] for row in real.rows} == {"real"}
    page = write_report(tmp_path).page.read_text()
    assert "more likely forged" in page
    assert "ROC" not in page


def test_frames_come_from_the_files_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list(write_data_set(tmp_path / "data", SyntheticOptions(videos=1)))
    inside = str(made[0].relative_to(tmp_path))
    monkeypatch.setattr("extract.decoding.picture.open_video", None)  # nothing decodes here
    with report_gallery.Shown(tmp_path) as shown:
        found = shown.frames(inside)
        assert len(found) == STILLS.count
        assert all(one.url.startswith("data:image/jpeg;base64,") for one in found)
        assert [one.at for one in found][:3] == ["0:00", "0:00.4", "0:00.8"]
        part = shown.frames(inside, f"{inside}#t=1.0,2.0")
        assert part[0].at == "0:01"
        assert part[-1].at == "0:01.9"
        made[0].write_bytes(made[0].read_bytes()[:200])
        assert shown.frames(inside) == []
        assert shown.frames("gone.mp4") == []
        assert shown.frames("nul\0.mp4") == []
        assert shown.frames("x" * 5000) == []


def test_the_part_that_looks_worst_has_a_box_on_its_frame(tmp_path: Path) -> None:
    made = list(write_data_set(tmp_path / "data", SyntheticOptions(videos=1)))
    columns = {name: values[:3] for name, values in score_columns().items()}
    columns["path"] = [str(made[0])] * 3
    columns |= {
        "worst_frame": [5, 10**6, None], "worst_part": ["hand", "<b>hand", None],
        "worst_box": ["10 12 140 160", "inf 0 1 x", None], "worst_person": [2, 0, None],
        "worst_score": [0.25, 0.5, None],
    }  # fmt: skip
    write_scores(tmp_path / "scores.csv", columns)
    scores = read_scores(tmp_path / "scores.csv")
    spot = spot_of(scores, 0)
    assert spot == Spot(frame=5, box=(10, 12, 140, 160), part="hand", score=0.25)
    assert spot_of(scores, 1) is None
    assert spot_of(scores, 2) is None
    with report_gallery.Shown(tmp_path) as shown:
        plain = shown.frames(str(made[0]))
        first, *others = shown.frames(str(made[0]), "", spot)
        late = replace(spot, frame=10**6)
        assert shown.frames(str(made[0]), "", late) == plain
    assert others == plain
    with open_video(made[0]) as video:
        frame = video.read([5])[5]
        scale = STILLS.side / max(video.info.width, video.info.height)
    image = pixels(first.url)
    assert first.words
    size = (image.shape[1], image.shape[0])
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    red = np.argwhere(np.abs(image.astype(int) - small).max(-1) > 90)
    assert np.abs(red.min(0) - [12 * scale, 10 * scale]).max() <= 3
    assert np.abs(red.max(0) - [160 * scale, 140 * scale]).max() <= 3
    page = write_report(tmp_path).page.read_text()
    assert page.count("looks worst: hand, frame 5") == 1
    packed = {one.key: one for one in report_table.pack(scores, 3)}
    assert packed["worst_part"].names == ["", "<b>hand", "hand"]
    assert packed["worst_part"].values == [2, 1, 0]
    assert packed["worst_frame"].values == [5, 10**6, None]
    assert packed["worst_score"].values == [2500, 5000, -1]
    assert packed["worst_person"].values == [2, 0, None]
    assert packed["worst_box"].values == ["10 12 140 160", "inf 0 1 x", ""]


def pixels(url: str) -> np.ndarray:
    """Of a JPEG in a data URL."""
    content = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image[:, :, ::-1], np.uint8)


def test_frames_are_small_and_keep_their_shape(tmp_path: Path) -> None:
    write_clip(tmp_path / "v.mp4", size=(96, 320))
    with report_gallery.Shown(tmp_path) as shown:
        found = shown.frames("v.mp4")
    assert pixels(found[0].url).shape == (STILLS.side, round(96 * STILLS.side / 320), 3)
    assert [one.at for one in found][-1] == "0:01.2"


def test_the_tables_data_cannot_leave_its_element(scores: Scores) -> None:
    made = report_table.embedded(report_table.pack(scores, 60))
    inside = made.partition(">")[2].removesuffix("</script>")
    assert "<" not in inside
    columns = {one["key"]: one for one in json.loads(inside)["columns"]}
    assert columns["id"]["values"][: len(HOSTILE)] == [shown(name) for name in HOSTILE]
    assert columns["source"]["names"] == ["kling", "pika & co"]
    assert columns["source"]["values"][:3] == [0, 1, 0]
    shares = np.array([columns[f"p_{name}"]["values"] for name in CLASSES])
    np.testing.assert_allclose(shares[:, :58] / 1e4, scores.probabilities[:58].T, atol=6e-5)
    assert (shares[:, 58:] == -1).all()
    assert columns["nearest_similarity"]["values"][-1] is None
    assert "path" not in columns


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_copies_are_counted_in_table_gallery_and_words(tmp_path: Path, suffix: str) -> None:
    group = [*["a<b>.mp4"] * 58, None, None]
    write_scores(tmp_path / f"scores{suffix}", {**score_columns(), "group": group})
    scores = read_scores(tmp_path / f"scores{suffix}")
    columns = {one.key: one.values for one in report_table.pack(scores, 60)}
    assert columns["copies"] == [*[58] * 58, None, None]
    assert columns["group"][:2] == ["a<b>.mp4"] * 2
    page = write_report(tmp_path).page.read_text()
    assert page.count("one of 58 copies") == 3 * report_gallery.EACH
    assert "58 rows look like copies of one another, in 1 group: each row" in page


def test_a_table_too_long_says_what_it_leaves_out(scores: Scores) -> None:
    made = report_table.score_table(scores, limit=10)
    assert "first 10 of 60 videos" in made
    assert "first" not in report_table.score_table(scores, 60).partition("<form")[0]
    assert len(report_table.pack(scores, 10)[0].values) == 10


def test_what_cannot_be_shown_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    (tmp_path / "tune/tune.json").write_text("[]")
    (tmp_path / "ablation/ablation.csv").write_text("row\nx\n")
    (tmp_path / "scores.parquet").write_bytes(b"PAR1")
    write_scores(tmp_path / "other/scores.csv", score_columns())
    written = write_report(tmp_path)
    assert written.sections == ["Across generators", "Shortcut audit", "The head"]
    assert len(written.problems) == 5
    page = written.page.read_text()
    for name in ("evaluation.json", "tune.json", "ablation.csv", "scores.parquet", "scores.csv"):
        assert any(name in why for why in written.problems)
        assert page.count(name) >= 1


def test_scores_without_a_verdict_are_refused(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", {"id": ["a"], "value": [1.0]})
    with pytest.raises(BadRun, match=r"no column verdict; it has id, value"):
        read_scores(tmp_path / "scores.csv")
    with pytest.raises(BadRun, match=r"Nothing in .* can be shown"):
        write_report(tmp_path)
    write_scores(tmp_path / "scores.csv", {"id": ["a"], "verdict": ["x"], "spread": ["high"]})
    with pytest.raises(BadRun, match="of another kind"):
        read_scores(tmp_path / "scores.csv")
    write_scores(tmp_path / "scores.csv", {"id": ["a"], "verdict": ["x"], "p_x": [-0.5]})
    with pytest.raises(BadRun, match="outside 0 to 1"):
        read_scores(tmp_path / "scores.csv")
    for damaged in ('{"id": "a", ', "[1]", "{}", ""):
        (tmp_path / "scores.jsonl").write_text(damaged)
        with pytest.raises(BadRun):
            read_scores(tmp_path / "scores.jsonl")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_names_and_numbers_survive(tmp_path: Path, suffix: str) -> None:
    columns: dict[str, list[object]] = {
        "id": ["NA", "2024-01-01", "null"], "verdict": ["$x_$", "real", "real"],
        "p_$x_$": [1.0000001, 0.25, 0.5], "p_real": [-1e-7, 0.75, 0.5],
        "label": ["$x_$", "real", "?"],
        "spread": [float("inf"), None, 1e300], "source": ["<b>", "", "$"],
    }  # fmt: skip
    write_scores(tmp_path / f"scores{suffix}", columns)
    found = read_scores(tmp_path / f"scores{suffix}")
    assert list(found.texts["id"]) == columns["id"]
    assert found.labels.tolist() == [0, 1, -1]
    assert write_report(tmp_path).sections == ["Verdicts", "Worth a look", "Every video"]


def test_stores_hidden_folders_and_the_deep_are_passed_by(tmp_path: Path) -> None:
    for place in (".hidden", "store", "a/b/c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "audit.txt").write_text("x")
    (tmp_path / "store/zarr.json").write_text("{}")
    with pytest.raises(BadRun, match="holds nothing that a report shows"):
        write_report(tmp_path)
    with pytest.raises(BadRun, match="is no folder"):
        write_report(tmp_path / "absent")
    (tmp_path / "a/b/audit.txt").write_text("x")
    (tmp_path / "a/audit.txt").write_text("y")
    assert write_report(tmp_path).sections == ["Shortcut audit: a", "Shortcut audit: a/b"]


def test_pictures_are_isolated_and_numbers_readable() -> None:
    made = picture('<?xml version="1.0"?><svg width="1"><script>', "<caption>")
    assert "<script>" not in made
    assert "&lt;caption&gt;" in made
    assert percent(0.1234) == "12.3"
    assert percent(None) == percent(float("nan")) == percent("x") == percent(value=True) == "—"


def test_figures_agree_with_the_scores(scores: Scores) -> None:
    from heads.reporting.verdicts import overview

    judged = np.flatnonzero(scores.judged)
    share = (scores.labels[judged] == scores.verdicts[judged]).mean()
    assert f"<dd>{percent(float(share))}<small>[" in overview(scores)
    rows = [int((scores.labels[judged] == place).sum()) for place in range(len(CLASSES))]
    for name, count in zip(CLASSES, rows, strict=True):  # in words, for who sees no picture
        assert f"of {count} labelled {name}: " in overview(scores)
    over = scores.forgery > 0.5
    flagged = replace(scores, texts={**scores.texts, "flagged": [str(one) for one in over]})
    real = scores.labels[judged] == CLASSES.index("real")
    for words, rest in (("found", ~real), ("false alarms", real)):
        row = f'<tr><th scope="row">{words} over the bundle&#x27;s threshold</th>'
        hits = percent(float(over[judged][rest].mean()))
        assert f"{row}<td>{hits}</td><td>[" in overview(flagged)
    unsure = replace(scores, texts={**scores.texts, "verdict": ["unsure"] * len(scores)})
    assert "<dd>0.0<small>[" in overview(unsure)
    assert "<dt>unsure, %</dt><dd>100.0" in overview(unsure)


def test_the_command(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", score_columns())
    printed = here("report", tmp_path, "--out", tmp_path / "pages/page.html")
    assert printed.splitlines() == [
        "shown: Verdicts, Worth a look, Every video",
        f"page: {tmp_path / 'pages/page.html'}",
    ]
    (tmp_path / "empty").mkdir()
    printed = here("report", tmp_path / "empty", expect=1)
    assert "bundle.json (telltale train)" in printed


def test_what_was_learnt_from_is_in_no_figure_of_how_right_it_is(tmp_path: Path) -> None:
    write_store(tmp_path / "s", 120)
    run = tmp_path / "run"
    place = ["--store", str(tmp_path / "s"), "--head", "linear"]
    assert main(["train", *place, "--out", str(run / "head")]) == 0
    scores = str(run / "scores.parquet")
    assert main(["score", str(tmp_path / "s"), "--bundle", str(run / "head"), "--out", scores]) == 0
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "It learnt from 92 of these videos, or was decided by them" in page
    assert '"title":"learnt from"' in page
    assert "n = 28" in page
    assert "n = 120" not in page
    shutil.rmtree(run / "head")
    assert main(["report", str(run)]) == 0
    assert "learnt from some of these videos is not known" in (run / "report.html").read_text()
