"""Other benchmarks' files, as far as their descriptions say what they look like."""

import json
from collections import Counter
from pathlib import Path

import pytest

from extract.errors import BadManifest, BadSetting
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from heads.commands.main import main
from tests.test_extract.test_manifest import touch, write


def found(place: Path, layout: str | None = None, root: Path | None = None) -> Manifest:
    return read_manifest(place, ManifestOptions(layout=layout, root=root))


def rows(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    assert manifest.scheme is not None
    classes = manifest.scheme.classes
    return [(v.id, classes[v.label], v.source, v.split) for v in manifest.videos]


def frames(folder: str, video: str) -> dict[str, object]:
    names = [f"{folder}/frames/{video}/{number:03d}.png" for number in (0, 9)]
    return {"label": "x", "frames": names}


def test_deepfakebench_names_frames_and_we_read_the_video(tmp_path: Path) -> None:
    real, fake = "FaceForensics++/original_sequences/youtube/c23", "FaceForensics++/manip/DF/c23"
    document = {
        "FaceForensics++": {
            "FF-real": {"train": {"c23": {"000": frames(real, "000")}}},
            "FF-DF": {
                "train": {"c23": {"000_003": frames(fake, "000_003")}},
                "test": {"c23": {"071_054": frames(rf"D:\data\{fake}", "071_054")}},
            },
        }
    }
    path = write(tmp_path / "FaceForensics++.json", json.dumps(document))
    touch(tmp_path, "FaceForensics++/manip/DF/c23/videos/000_003.avi")
    manifest = found(path)
    assert rows(manifest) == [
        (f"{real}/videos/000.mp4", "real", "FF-real", "train"),
        (f"{fake}/videos/000_003.avi", "forgery", "FF-DF", "train"),
        (f"{fake}/videos/071_054.mp4", "forgery", "FF-DF", "test"),
    ]
    assert "FF-DF: 1 of 720 videos in train" in manifest.notes
    assert "split test has no real videos" in manifest.notes


def test_a_deepfakebench_video_in_two_splits_is_kept_in_the_later_one(tmp_path: Path) -> None:
    video = {"id0": frames("Celeb-DF-v1/Celeb-real", "id0")}
    document = {"Celeb-DF-v1": {"CelebDFv1_real": {"test": video, "train": video}}}
    manifest = found(write(tmp_path / "c.json", json.dumps(document)))
    assert [row[3] for row in rows(manifest)] == ["test"]
    assert "1 entries name a video that another split has too" in manifest.notes[0]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("[1]", "not a JSON of DeepfakeBench"),
        ('{"D": {"L": {"holdout": {}}}}', "split 'holdout' is none of train, val, test"),
        ('{"D": {"L": {"train": {"c23": {}, "c40": {}}}}}', "it has c23, c40; choose by --layout"),
    ],
)
def test_other_json_is_refused_with_a_reason(tmp_path: Path, document: str, problem: str) -> None:
    with pytest.raises(BadManifest, match=problem):
        found(write(tmp_path / "d.json", document))


def test_genvideo_labels_and_paths_have_to_agree(tmp_path: Path) -> None:
    header = "content_path,image_path,type_id,label,frame_len,frame_seq\n"
    text = header + 'fake/Sora/a,x,1,1,2,"[1, 2]"\nreal/MSRVTT/b,x,0,0,2,"[1, 2]"\n'
    manifest = found(write(tmp_path / "val_ood.csv", text))
    assert rows(manifest) == [
        ("fake/Sora/a.mp4", "forgery", "Sora", "test"),
        ("real/MSRVTT/b.mp4", "real", "MSRVTT", "test"),
    ]
    assert "sora: 1 of 56 published videos in test" in manifest.notes
    assert "gen2: 0 of 1,380 published videos in test" in manifest.notes
    wrong = write(tmp_path / "train.csv", header + "fake/Sora/a,x,1,0,2,[]\na/b,x,1,1,2,[]\n")
    with pytest.raises(BadManifest) as caught:
        found(wrong)
    assert "train.csv:2: 'fake/Sora/a' is labelled 0" in str(caught.value)
    assert "train.csv:3: give content_path real/… or fake/…" in str(caught.value)


def test_genvidbench_lists_take_labels_from_folders(tmp_path: Path) -> None:
    write(tmp_path / "Pair1_labels.txt", "Pair1/Pika/a b.mp4 1\nPair1/Vript/c.mp4 0\n")
    write(tmp_path / "Pair2_labels.txt", "Pair2/SVD/d.mp4 1\n")
    manifest = found(tmp_path, "genvidbench")
    assert rows(manifest) == [
        ("Pair1/Pika/a b.mp4", "forgery", "pika", "train"),
        ("Pair1/Vript/c.mp4", "real", "vript", "train"),
        ("Pair2/SVD/d.mp4", "forgery", "svd", "test"),
    ]
    assert "no videos of ms, t2vz, vc2 (train)" in manifest.notes
    assert "split test has no real videos" in manifest.notes
    write(tmp_path / "Pair2_labels.txt", "Pair2/SVD/d.mp4 0\nelsewhere/e.mp4 1\n")
    with pytest.raises(BadManifest) as caught:
        found(tmp_path, "genvidbench")
    assert "label 0 stands beside real and generated folders" in str(caught.value)
    assert "no folder of 'elsewhere/e.mp4' is one of ms" in str(caught.value)


def test_genvidbench_folders_need_no_list(tmp_path: Path) -> None:
    touch(tmp_path, "vc2/a.mp4", "HD-VG-130M/b.mp4")
    assert [row[1:] for row in rows(found(tmp_path, "genvidbench"))] == [
        ("real", "hdvg130m", "test"), ("forgery", "vc2", "train"),
    ]  # fmt: skip


def test_synthforensics_versions_never_mix_and_its_reals_are_elsewhere(tmp_path: Path) -> None:
    for version in ("raw", "canonical", "crf40"):
        touch(tmp_path, f"T2V/videos/{version}/wan/000.mp4", f"I2V/videos/{version}/wan/000.mp4")
    manifest = found(tmp_path)
    assert Counter(row[2] for row in rows(manifest)) == {"T2V-wan": 1, "I2V-wan": 1}
    assert all("/canonical/" in row[0] for row in rows(manifest))
    assert "2 of 15 generators" in manifest.notes[0]
    assert "which are not part of it" in manifest.notes[0]
    assert "this list has no real videos" in manifest.notes
    assert "/crf40/" in rows(found(tmp_path, "synthforensics:crf40"))[0][0]
    with pytest.raises(BadSetting, match="Version 'crf41' unknown; have: raw, canonical"):
        found(tmp_path, "synthforensics:crf41")


def test_aigvdbench_is_a_folder_a_source(tmp_path: Path) -> None:
    touch(tmp_path, "Real/test/a.mp4", "Sora/test/b.mp4", "fake/Wan2.1/train/c.mp4", "d.mp4")
    with pytest.raises(BadManifest, match=r"d\.mp4: not in a folder of a source"):
        found(tmp_path, "aigvdbench")
    (tmp_path / "d.mp4").unlink()
    manifest = found(tmp_path, "aigvdbench")
    assert [row[1:] for row in rows(manifest)] == [
        ("real", "Real", "test"), ("forgery", "Sora", "test"), ("forgery", "Wan2.1", "train"),
    ]  # fmt: skip
    assert "2 of 31 generators" in manifest.notes


def test_the_command_says_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "T2V/videos/canonical/wan/000.mp4")
    assert main(["manifest", "check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "not here: this list has no real videos" in said
    assert "1 videos, 0 with a rank, scheme hfv2" in said
    assert main(["manifest", "check", str(tmp_path), "--layout", "nothing"]) == 1
    assert "have: deepfakebench" in capsys.readouterr().err


def clips_table(folder: Path, *lines: str) -> Path:
    header = "file,label,generator,person,source_repo,pair,split"
    return write(folder / "clips.csv", "\n".join([header, *lines, ""])).parent


def test_a_folder_with_clips_csv_is_known_by_it(tmp_path: Path) -> None:
    place = clips_table(
        tmp_path,
        "real/a.mp4,real,,yes,one/page,p1,train",
        "generated/b.mp4,generated,Sora,yes,one/page,p1,train",
        "generated/c.mp4,generated,Sora,no,two/page,,test",
    )
    assert rows(found(place)) == [
        ("real/a.mp4", "real", "one/page", "train"),
        ("generated/b.mp4", "forgery", "Sora", "train"),
        ("generated/c.mp4", "forgery", "Sora", "test"),
    ]


def test_clips_of_one_place_or_one_pair_are_one_group(tmp_path: Path) -> None:
    place = clips_table(
        tmp_path,
        "a.mp4,real,,yes,one,p1,train",
        "b.mp4,generated,Sora,yes,two,p1,train",
        "c.mp4,generated,Sora,yes,two,p2,train",
        "d.mp4,real,,yes,three,p2,train",
        "e.mp4,real,,yes,four,,train",
    )
    groups = [video.group for video in found(place).videos]
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]


def test_a_label_of_clips_csv_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"clips\.csv:2: label 'fake'; give real or generated"):
        found(clips_table(tmp_path, "a.mp4,fake,,yes,one,,train"))


def test_clips_csv_without_a_column_says_which(tmp_path: Path) -> None:
    write(tmp_path / "clips.csv", "file,label\na.mp4,real\n")
    with pytest.raises(BadManifest, match="no column generator, source_repo, pair, split"):
        found(tmp_path)
