"""Manifests in every form, and everything that can be wrong with them, reported at once."""

import io
import json
import math
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from extract.errors import BadManifest, BadSetting
from extract.manifest.labels import SCHEMES, label_scheme
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from extract.manifest.ranks import rank_scores, with_ranks
from features_store import Store

HFV4 = ManifestOptions(scheme="hfv4")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def labels(manifest: Manifest) -> dict[str, int]:
    return {video.id: video.label for video in manifest.videos}


def problems(path: Path, options: ManifestOptions = HFV4) -> list[str]:
    with pytest.raises(BadManifest) as caught:
        read_manifest(path, options)
    return list(caught.value.problems)


@pytest.fixture
def hfv(tmp_path: Path) -> Path:
    train, test = tmp_path / "train_data" / "GenA", tmp_path / "eval_data" / "Gen B"
    touch(train, "a.mp4", "A person is clapping-0.mp4", "Vchitect-2.0_001.mp4")
    touch(test, "a.mp4", "b.mp4")
    write(train / "train_4.csv", "a,0,0.25\nA person is clapping-0.mp4,2,1\n")
    write(train / "val_4.csv", "Vchitect-2.0_001,3,0\n")
    write(train / "train_2.csv", "a,0\n")
    write(test / "test_4.csv", "a.mp4,1\nb,3\n")
    write(test / "val_4.csv", "b,3\n")
    return tmp_path


def test_hfv_root(hfv: Path) -> None:
    manifest = read_manifest(hfv, HFV4)
    assert labels(manifest) == {
        "train_data/GenA/a.mp4": 0,
        "train_data/GenA/A person is clapping-0.mp4": 2,
        "train_data/GenA/Vchitect-2.0_001.mp4": 3,
        "eval_data/Gen B/b.mp4": 3,
        "eval_data/Gen B/a.mp4": 1,
    }
    by_id = {video.id: video for video in manifest.videos}
    assert by_id["train_data/GenA/a.mp4"].rank == 0.25
    assert by_id["train_data/GenA/a.mp4"].source == "GenA"
    assert by_id["eval_data/Gen B/b.mp4"].split == "val+test"
    assert {video.id for video in manifest.only_split("val").videos} == {
        "train_data/GenA/Vchitect-2.0_001.mp4",
        "eval_data/Gen B/b.mp4",
    }
    with pytest.raises(BadManifest, match="have: test, train, val"):
        manifest.only_split("dev")
    read_manifest(hfv, ManifestOptions(scheme="hfv4", check_files=True))


def test_hfv_folder_and_list(hfv: Path) -> None:
    folder = hfv / "train_data" / "GenA"
    assert set(labels(read_manifest(folder, HFV4))) == {
        "a.mp4",
        "A person is clapping-0.mp4",
        "Vchitect-2.0_001.mp4",
    }
    one = read_manifest(folder / "train_2.csv", ManifestOptions(scheme="hfv2", root=hfv))
    assert labels(one) == {"train_data/GenA/a.mp4": 0}
    assert one.videos[0].split == "train"


def test_a_scheme_is_never_guessed(hfv: Path, tmp_path: Path) -> None:
    assert "needs its label scheme" in problems(hfv, ManifestOptions())[0]
    table = write(tmp_path / "t.csv", "path,label\na.mp4,1\n")
    assert "no label scheme" in problems(table, ManifestOptions())[0]
    write(tmp_path / "labels.json", json.dumps({"scheme": "hfv4-paper"}))
    manifest = read_manifest(hfv)
    assert manifest.scheme == SCHEMES["hfv4-paper"]
    assert "labels.json says scheme hfv4-paper" in problems(hfv, HFV4)[0]
    with pytest.raises(BadSetting, match="Did you mean hfv4"):
        label_scheme("hvf4")


def test_tables_and_lists_say_the_same(tmp_path: Path) -> None:
    rows = [("x/a.mp4", "motion", 0.5, "G"), ("b.mp4", "real", None, "H")]
    text = "file,label,rank,source,notes\nx/a.mp4,motion,0.5,G,hi\nb.mp4,3,,H,\n"
    csv = write(tmp_path / "t.csv", text)
    columns = dict(zip(("path", "label", "rank", "source"), zip(*rows, strict=True), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    lines = [dict(zip(("path", "label", "rank", "source"), row, strict=True)) for row in rows]
    jsonl = write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)))
    found = [read_manifest(path, HFV4) for path in (csv, tmp_path / "t.parquet", jsonl)]
    assert found[0].columns().keys() == {"id", "path", "label", "rank", "source", "split"}
    for manifest in found:
        assert labels(manifest) == {"x/a.mp4": 2, "b.mp4": 3}
        assert [video.source for video in manifest.videos] == ["G", "H"]
        assert manifest.videos[0].rank == 0.5
        assert math.isnan(manifest.videos[1].rank)
        assert manifest.videos[0].path == str(tmp_path / "x" / "a.mp4")


def test_a_tables_groups_go_along(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", "path,label,group\na.mp4,motion,prompt 1\nb.mp4,real,\n")
    assert list(read_manifest(place, HFV4).columns()["group"]) == ["prompt 1", ""]


def test_vbench_lines_carry_scores_not_ranks(tmp_path: Path) -> None:
    path = write(tmp_path / "v.jsonl", '["a.mp4", 2, 7.5]\n["b.mp4", 2, 30]\n["c.mp4", 3]\n')
    videos = read_manifest(path, HFV4).videos
    assert [video.score for video in videos][:2] == [7.5, 30]
    assert all(math.isnan(video.rank) for video in videos)
    ranked = with_ranks(videos)
    assert [video.rank for video in ranked][:2] == [1.0, 0.5]


def test_a_bare_folder_and_standard_input(tmp_path: Path) -> None:
    touch(tmp_path, "b/c.MP4", "a.webm", "notes.txt", "new\nline.mp4")
    found = read_manifest(tmp_path)
    assert [video.id for video in found.videos] == ["a.webm", "b/c.MP4", "new\nline.mp4"]
    assert found.scheme is None
    assert {video.label for video in found.videos} == {-1}
    options = ManifestOptions(root=tmp_path)
    listed = read_manifest("-", options, listing=io.StringIO("a.webm\n\nb/c.MP4\n"))
    assert [video.id for video in listed.videos] == ["a.webm", "b/c.MP4"]


def test_all_problems_at_once_with_their_lines(tmp_path: Path) -> None:
    touch(tmp_path / "root", "a.mp4")
    (tmp_path / "root" / "link.mp4").symlink_to("/etc/hostname")
    text = (
        "path,label,rank\n"
        "a.mp4,9,0.5\n"
        "b.mp4,ghost,0.5\n"
        "c.mp4,1,1.5\n"
        "d.mp4,1,\n"
        "../out.mp4,1,0\n"
        "/etc/passwd,1,0\n"
        "e.mp4,1,0\n"
        "./x/../e.mp4,1,0\n"
        "f.mp4,1\n"
        "g.mp4,1,many\n"
        "link.mp4,1,0\n"
        ",1,0\n"
    )
    path = write(tmp_path / "root" / "t.csv", text)
    found = problems(path, ManifestOptions(scheme="hfv4", require_ranks=True))
    expected = {
        2: "label '9' is not in scheme hfv4 (0 appearance, 1 spatial, 2 motion, 3 real)",
        3: "label 'ghost' is not in scheme",
        4: "rank 1.5 is outside [0, 1]",
        5: "no rank, and rank weighting was asked for",
        6: "leaves the root",
        7: "leaves the root",
        9: "'e.mp4' was given before, at t.csv:8",
        10: "2 columns, the header has 3",
        11: "rank 'many' is not a number",
        12: "is a link that leaves the root",
        13: "no file name",
    }
    for line, said in expected.items():
        assert any(text.startswith(f"t.csv:{line}: ") and said in text for text in found), said
    assert {int(text.split(":")[1]) for text in found} == set(expected)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "path,labl\na.mp4,1\n", "did you mean 'label'"),
        ("t.csv", "a.mp4 1\n", "1 columns; an HFV list has file, label"),
        ("t.csv", "", "no videos found"),
        ("t.jsonl", "{\n", "not JSON"),
        ("t.jsonl", "7\n", "give an object"),
        ("t.jsonl", '["\\ud800.mp4"]\n', "t.jsonl:1: no file name"),
        ("t.parquet", "no", "not a Parquet file"),
        ("t.xlsx", "no", "suffix '.xlsx'"),
        ("t.csv", "path,file\na.mp4,b.mp4\n", "given twice"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, said: str) -> None:
    assert any(said in problem for problem in problems(write(tmp_path / name, text)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", f"# {'x' * 300}\na.mp4\n"), ("t.txt", f"{'x' * 300}\n"),
        ("test_4.csv", f"{'x' * 300},real\n"), ("t.csv", f"path\n{'x' * 300}.mp4\n"),
    ],
)  # fmt: skip
def test_a_name_longer_than_any_file_has_is_a_row_like_others(
    tmp_path: Path, name: str, text: str
) -> None:
    assert len(read_manifest(write(tmp_path / name, text), HFV4).videos) == 1


def test_a_link_that_leaves_the_root_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/a.mp4").symlink_to(tmp_path / "gone.mp4")
    path = write(tmp_path / "r/t.csv", "path\na.mp4\n")
    with pytest.raises(BadManifest) as caught:
        read_manifest(path, ManifestOptions(check_files=True))
    assert len(caught.value.problems) == 1


def test_missing_files_are_found_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "gone.mp4\n")
    assert read_manifest(path).videos[0].id == "gone.mp4"
    assert "is not there" in problems(path, ManifestOptions(check_files=True))[0]
    with pytest.raises(BadManifest, match="no such file or folder"):
        read_manifest(tmp_path / "gone.csv")


def test_a_manifest_goes_into_a_store(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "path,label,rank\na.mp4,real,\nb.mp4,motion,0.5\n")
    manifest = read_manifest(path, HFV4)
    assert manifest.scheme is not None
    scheme = manifest.scheme
    store = Store.create(str(tmp_path / "s.zarr"), scheme=scheme.name, classes=scheme.classes)
    assert list(store.add_videos(manifest.columns())) == [0, 1]


def test_ranks() -> None:
    nan = math.nan
    ranks = rank_scores([5, 1, 3, 3, nan, 2], [0, 0, 0, 0, 0, 1])
    assert ranks[:4] == [0.25, 1.0, 0.625, 0.625]
    assert math.isnan(ranks[4])
    assert ranks[5] == 1.0
    assert rank_scores([5, 1], [0, 0], obvious="low") == [1.0, 0.5]
    assert rank_scores([], []) == []
    with pytest.raises(BadSetting, match="have: high, low"):
        rank_scores([1], [0], obvious="most")
    with pytest.raises(BadSetting, match="No video has a score"):
        with_ranks([])
