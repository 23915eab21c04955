"""`telltale label` end to end, and its review page in a real browser where there is one."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from extract.errors import BadManifest
from extract.label_folder import read_decisions
from extract.labelling import Scored, label_videos
from extract.manifest import ManifestOptions, read_manifest
from extract.prior import SCORERS
from extract.review import REVIEW_FILE, review_page, safe_json
from heads.cli import main
from tests.test_extract.clips import write_clip

CHROMIUM = shutil.which("chromium")
EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>__DATA__.mp4"


def label(*arguments: object) -> int:
    return main(["label", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and real clips, one file broken, labelled."""
    base = tmp_path_factory.mktemp("label")
    for source, count in (("gen a", 3), ("gen-b", 2), ("shot", 2)):
        (base / source / "deep").mkdir(parents=True)
        for number in range(count):
            place = "deep/" if number == 1 else ""
            write_clip(base / source / f"{place}clip,{number}.mp4", frames=4 + number)
    (base / "gen-b" / "broken.mp4").write_bytes(b"nothing")
    out = base / "out"
    status = label(base / "gen a", base / "gen-b", "--real", base / "shot", "--out", out,
                   "--workers", 1)  # fmt: skip
    assert status == 3
    return out


def test_it_writes_hfvs_layout(folder: Path) -> None:
    for scheme in ("hfv4", "hfv2"):
        (folder / "labels.json").write_text(json.dumps({"scheme": scheme}))
        options = ManifestOptions(require_ranks=True, check_files=True)
        manifest = read_manifest(folder, options)
        assert len(manifest.videos) == 7
        assert {video.source for video in manifest.videos} == {"gen a", "gen-b", "shot"}
        assert manifest.scheme is not None
        real = manifest.scheme.classes.index("real")
        assert {v.source for v in manifest.videos if v.label == real} == {"shot"}
    (folder / "labels.json").write_text(json.dumps({"scheme": "hfv4"}))
    provenance = json.loads((folder / "provenance.json").read_text())
    assert list(provenance["failed"]) == ["train_data/gen-b/broken.mp4"]
    assert set(provenance["scorers"]) == set(SCORERS)
    assert provenance["sources"]["shot"] == "real"
    original = folder.parent / "gen a" / "clip,0.mp4"
    assert (folder / "train_data" / "gen a" / "clip,0.mp4").samefile(original)


def test_decisions_are_merged_and_survive_another_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    chosen = "train_data/gen a/clip,0.mp4"
    decisions = tmp_path / "decisions.csv"
    decisions.write_text(f'id,label\n"{chosen}",real\n')
    assert label("--out", out, "--apply", decisions) == 0
    (video,) = (v for v in read_manifest(out).videos if v.id == chosen)
    assert (video.label, video.rank) == (3, 0.5)
    decisions.write_text('id,label\n"train_data/gen-b/clip,0.mp4",motion\n')
    assert label("--out", out, "--apply", decisions) == 0
    base = folder.parent
    assert label(base / "gen a", base / "gen-b", "--real", base / "shot", "--out", out) == 3
    by_hand = json.loads((out / "provenance.json").read_text())["decided_by_hand"]
    assert by_hand == {chosen: "real", "train_data/gen-b/clip,0.mp4": "motion"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,label\nnowhere.mp4,motion\n", "line 2: 'nowhere.mp4' is not among"),
        ("id,label\na,blurry\n", "line 2: label 'blurry' is not in scheme"),
        ("id,label\na,motion\na,real\n", "line 3: 'a' was decided as motion"),
        ("file;label\n", "columns id and label"),
    ],
)
def test_wrong_decisions_are_refused(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    path = tmp_path / "decisions.csv"
    path.write_text(text)
    with pytest.raises(BadManifest, match=reason):
        read_decisions(path, ["a"])
    before = (folder / "prior_scores.csv").read_bytes()
    assert label("--out", folder, "--apply", path) == 1
    assert "problem" in capsys.readouterr().err
    assert (folder / "prior_scores.csv").read_bytes() == before


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x").mkdir(parents=True)
    for arguments, reason in (
        ([], "Nothing to label"),
        ([tmp_path / "no"], "not a folder"),
        ([tmp_path / "a" / "x", tmp_path / "b" / "x"], "another name"),
        (["--apply", tmp_path / "d.csv", "--seed", 1], "give --out and --apply only"),
        (["--apply", tmp_path / "d.csv"], "no prior_scores.csv"),
    ):
        assert label(*arguments, "--out", tmp_path / "out") == 1
        assert reason in capsys.readouterr().err


def test_nothing_ends_the_script() -> None:
    text = safe_json([EVIL, "<!--<script>", "&lt;"])
    assert not set("<>&") & set(text)
    assert json.loads(text) == [EVIL, "<!--<script>", "&lt;"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """Keys decide, the filter filters, decisions are kept and saved, and file names stay text."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    videos = [
        Scored(id=name, source="s", scores={"spatial": n, "appearance": n % 3, "motion": -n})
        for n, name in enumerate((EVIL, "b.mp4", "c.mp4", 'd "quoted", é.mp4'))
    ]
    curves = {video.id: {name: [0.0, 0.5, 1.0] for name in SCORERS} for video in videos}
    page_file = tmp_path / REVIEW_FILE
    page_file.write_text(review_page(label_videos(videos), curves), encoding="utf-8")
    write_clip(tmp_path / "b.mp4")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        requests: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        assert page.locator("article").count() == 4
        shown = page.locator(".name").all_text_contents()
        assert set(shown) == {video.id for video in videos}
        page.keyboard.press("3")
        page.keyboard.press("4")
        page.reload()
        assert "2 of 4 decided" in page.locator("#progress").inner_text()
        with page.expect_download() as download:
            page.locator("#save").click()
        download.value.save_as(tmp_path / "decisions.csv")
        page.select_option("#show", "undecided")
        assert page.locator("article").count() == 2
        page.select_option("#show", "all")
        page.locator("#doubt").fill("1")
        doubtful = sum(each.doubt == 1 for each in label_videos(videos))
        assert page.locator("article").count() == doubtful
        assert page.evaluate("window.hacked") is None
        assert errors == []
        assert all(url.startswith(("file:", "blob:")) for url in requests)
        browser.close()
    saved = read_decisions(tmp_path / "decisions.csv", [video.id for video in videos])
    assert saved == {shown[0]: "motion", shown[1]: "real"}
    with (tmp_path / "decisions.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 3
