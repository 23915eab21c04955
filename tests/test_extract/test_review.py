"""The review page: what is in it, and how it behaves in a browser."""

import base64
import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract.errors import BadSetting
from extract.labelling import labelled_set, review, review_clip
from extract.labelling.label import LabelOptions, label
from extract.people.spots import COLUMNS, read_spots
from extract.views.protocol import Protocol
from heads.commands.main import main
from tests.test_extract.clips import full_scan, write_clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=hacked=1>.mp4"
PART = "<img src=x onerror=hacked=1>"
SCRIPT = "</script><script>hacked=1<"
COUNT = 8


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators with a name that would like to be markup; one clip cannot be shown."""
    root = tmp_path_factory.mktemp("review")
    folders = [root / "raw" / "alpha", root / "raw" / "<b>beta"]
    for folder in folders:
        folder.mkdir(parents=True)
        for number in range(COUNT // 2):
            size = (64 + 16 * number, 64 + 2 * number)
            write_clip(folder / f"{number}.mp4", frames=5 + number, size=size)
    (folders[0] / "0.mp4").rename(folders[0] / HOSTILE)
    out = root / "set"
    options = LabelOptions(folders=tuple(folders), out=out, pairs=4)
    found = label(options, bar=False)
    assert review.write_page(out / "review.html", found, 100) == COUNT
    assert review.write_page(out / "few.html", found, 3) == 3
    assert (
        review.write_page(out / "marked.html", found, 100, spots=read_spots(scores(out))) == COUNT
    )
    return out


def scores(out: Path) -> Path:
    """What `telltale score` says of two videos, of nobody in a third, and of an unknown one; the
    last frame of one is asked for, and one beyond the end."""
    rows = [
        ("train_data/alpha/1.mp4", 5, PART, "16.0 11.0 48.0 33.0", 0.75),
        ("train_data/alpha/2.mp4", 6, "face", "-20 10 2000 20", 0.5),
        ("train_data/alpha/3.mp4", 99, "face", "1 2 3 4", 0.5),
        (f"train_data/alpha/{HOSTILE}", None, None, None, None),
        ("train_data/gamma/1.mp4", 1, "face", "1 2 3 4", 0.5),
    ]
    path = out / "scores.parquet"
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(("count", "shown"), [(2, 2), (30, 30), (90, 90), (400, 48)])
def test_films_show_all_frames_or_every_so_many(count: int, shown: int) -> None:
    (view,) = Protocol.parse(f"pairs-{review_clip.PAIRS}").views("v", count)
    numbers = review_clip.shown(view)
    assert len(numbers) == shown
    steps = np.diff(numbers)
    assert steps.max() - steps.min() <= 1


def test_a_film_plays_and_fits_even_when_it_is_noise() -> None:
    random = np.random.default_rng(0)
    frames = {i: random.integers(0, 256, (151, 201, 3), np.uint8) for i in range(40)}
    views = Protocol.parse(f"pairs-{review_clip.PAIRS}").views("v", 40)
    (row,) = review_clip.films(frames, views)
    film = review_clip.film_bytes(row)
    assert 0 < len(film) < review_clip.LIMIT
    with av.open(io.BytesIO(film), "r") as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == 40
    assert (pictures[0].width, pictures[0].height) == (202, 152)


def test_the_page_is_one_file_that_names_no_other_place(labelled: Path) -> None:
    text = (labelled / "review.html").read_text()
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text
    assert "SCRIPT_HASH" not in text
    assert "PAGE_DATA" not in text
    assert "<img" not in text
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert HOSTILE in {Path(clip["id"]).name for clip in data["clips"]}
    doubts = [clip["doubt"] for clip in data["clips"]]
    assert doubts == sorted(doubts, reverse=True)
    assert all(len(curve) == 4 for clip in data["clips"] for curve in clip["curves"])


def test_the_frame_that_looks_worst_is_there_with_its_box(labelled: Path) -> None:
    text = (labelled / "marked.html").read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    found = {clip["id"]: clip["still"] for clip in data["clips"] if "still" in clip}
    assert sorted(found) == ["train_data/alpha/1.mp4", "train_data/alpha/2.mp4"]
    still = found["train_data/alpha/1.mp4"]
    assert (still["part"], still["frame"], still["score"]) == (PART, 5, 0.75)
    assert still["size"] == [80, 66]
    assert still["box"] == [20.0, 16.67, 40.0, 33.33]
    assert found["train_data/alpha/2.mp4"]["box"][::2] == [0.0, 100.0]
    picture = np.frombuffer(base64.b64decode(still["picture"]), np.uint8)
    decoded = cv2.imdecode(picture, cv2.IMREAD_COLOR)
    assert decoded is not None
    shown = decoded[:, :, ::-1].astype(int)
    frames = full_scan(labelled / "train_data" / "alpha" / "1.mp4")
    apart = [np.abs(shown - frame_hwc).mean() for frame_hwc in frames]
    assert int(np.argmin(apart)) == 5
    assert min(apart) < 10


def test_scores_without_findings_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "scores.parquet")
    arguments = ["label", str(tmp_path), "--out", str(tmp_path / "o"), "--findings"]
    with pytest.raises(BadSetting, match="head anatomy"):
        read_spots(tmp_path / "scores.parquet")
    assert main([*arguments, str(tmp_path / "scores.parquet")]) == 1
    assert not (tmp_path / "o").exists()


def test_data_cannot_end_its_element() -> None:
    clip = {"id": f"train_data/x/{SCRIPT}", "doubt": 0.0}
    text = review.page([clip], total=1)
    assert text.count("</script>") == 2
    assert "\\u003c/script>" in text


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", labelled: Path) -> Iterator["Page"]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: _only_itself(asked.url, problems))
    page.goto((labelled / "review.html").as_uri())
    page.wait_for_selector("article")
    yield page
    assert problems == []
    context.close()


def _only_itself(url: str, problems: list[str]) -> None:
    if not url.startswith(("file:", "blob:")):
        problems.append(f"asked for {url}")


def decided(page: "Page") -> dict[str, str]:
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == "decisions.csv"
    text = Path(waiting.value.path()).read_text()
    return {row["id"]: row["label"] for row in csv.DictReader(io.StringIO(text))}


def order(page: "Page") -> list[str]:
    ids: list[str] = page.eval_on_selector_all("article", "all => all.map(a => a.dataset.id)")
    return ids


def test_keys_label_move_and_undo(page: "Page") -> None:
    ids = order(page)
    assert len(ids) == COUNT
    for key in "1", "4", "2", "3":
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    expected = {ids[0]: "spatial", ids[1]: "real", ids[3]: "motion"}
    assert decided(page) == expected
    assert "3 of 8 decided" in (page.text_content("#progress") or "")
    page.reload()
    page.wait_for_selector("article")
    assert decided(page) == expected


def test_clicking_a_label_decides_for_its_clip(page: "Page") -> None:
    third = page.locator("article").nth(2)
    third.get_by_role("button", name="motion").click()
    assert decided(page) == {order(page)[2]: "motion"}
    assert third.get_attribute("class") == "current"


def test_filters_hide_and_keys_skip_what_is_hidden(page: "Page", labelled: Path) -> None:
    doubts = [entry.ranked.doubt for entry in labelled_set.read(labelled).entries if entry.ranked]
    limit = int(100 * float(np.median(doubts)))
    page.fill("#doubt", str(limit))
    shown = page.locator("article:visible").count()
    assert shown == sum(round(doubt, 4) >= limit / 100 for doubt in doubts)
    page.fill("#doubt", "0")
    page.select_option("#source", label="<b>beta")
    assert page.locator("article:visible").count() == COUNT // 2
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("4")
    page.keyboard.press("4")
    chosen = decided(page)
    assert len(chosen) == 2
    assert all("/<b>beta/" in id_ for id_ in chosen)
    page.select_option("#state", "open")
    assert page.locator("article:visible").count() == COUNT // 2 - 2


def until(page: "Page", told: str) -> None:
    """Asked again and again from here: the page's own policy lets nobody evaluate texts in it."""
    end = time.monotonic() + 30
    while not page.evaluate(told):
        assert time.monotonic() < end, told
        page.wait_for_timeout(50)


def test_films_play_and_names_are_only_text(page: "Page") -> None:
    until(page, "document.querySelector('video')?.currentTime > 0")
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("article img").count() == 0
    names = page.locator(".name").all_text_contents()
    assert f"alpha/{HOSTILE}" in names


def test_a_decision_made_in_the_page_is_applied(page: "Page", labelled: Path) -> None:
    page.keyboard.press("4")
    with page.expect_download() as waiting:
        page.click("#save")
    path = str(waiting.value.path())
    assert main(["label", "--apply", path, "--out", str(labelled)]) == 0
    told = {entry.id: entry for entry in labelled_set.read(labelled).entries}
    assert told[order(page)[0]].label == "real"


def test_a_box_lies_on_its_frame_at_any_width(page: "Page", labelled: Path) -> None:
    page.goto((labelled / "marked.html").as_uri())
    marked = 'article[data-id="train_data/alpha/1.mp4"]'
    image = page.locator(f"{marked} img")
    image.scroll_into_view_if_needed()
    until(page, f"(i => i.complete && i.naturalWidth > 0)(document.querySelector(`{marked} img`))")
    for width in 360, 1600:
        page.set_viewport_size({"width": width, "height": 800})
        frame = image.bounding_box()
        box = page.locator('article[data-id="train_data/alpha/1.mp4"] .frame i').bounding_box()
        assert frame is not None
        assert box is not None
        assert (box["x"] - frame["x"]) / frame["width"] == pytest.approx(0.2, abs=0.02)
        assert (box["y"] - frame["y"]) / frame["height"] == pytest.approx(0.167, abs=0.02)
        assert box["width"] / frame["width"] == pytest.approx(0.4, abs=0.02)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    captions = page.locator("figcaption").all_text_contents()
    assert f"looks worst: {PART} · frame 5 · 0.75" in captions
    assert page.evaluate("typeof hacked") == "undefined"


@pytest.mark.parametrize("width", [360, 760, 1600])
def test_nothing_is_cut_off_at_any_width(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    cut = "all => all.filter(b => b.scrollWidth > b.clientWidth).length"
    assert page.eval_on_selector_all(".labels button", cut) == 0
