"""The picture of why, and the page beside it: what a stranger has to know stands in both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heads.figures.why import Caption, Why, drawn, middle
from heads.reporting.why import explained_page
from heads.scoring.captions import STAMP, caption
from heads.scoring.explain import Explanation
from heads.scoring.meaning import Meaning
from heads.scoring.timelines import timelines
from tests.test_heads.archives import scorer
from tests.test_heads.test_score_command.test_segments import ROWS

ROW: dict[str, object] = {
    "id": "in/a$b$.mp4#t=20.0,30.0", "error": None, "confidence": 0.9, "forgery": 0.95,
    "verdict": "motion", "set": None, "flagged": None, "spread": 0.12,
}  # fmt: skip


def meaning(*, random: bool = False) -> Meaning:
    bundle = scorer().bundle
    request = f"internvideo2=tiny{'?random=true' if random else ''}"
    about = replace(bundle.about, branches={"internvideo2": request})
    return Meaning.of(replace(bundle, about=about), "mine")


def why() -> Why:
    return Why(
        clip_thwc=np.zeros((8, 16, 16, 3), np.uint8), times=[f"0:{20 + n}" for n in range(8)],
        heat_tyx=np.full((8, 2, 2), 1 / 32, np.float32),
        shares={"depth": np.array([1, -1], np.float32), "bias": np.array([0.5, 0], np.float32)},
        classes=["motion", "real"],
    )  # fmt: skip


def words(figure: object) -> str:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    assert isinstance(figure, Figure)
    found = figure.findobj(Text)
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def test_a_picture_says_what_it_is_of_and_what_it_means() -> None:
    (timeline, _) = timelines(ROWS)
    figure = drawn(why(), caption(ROW, meaning(), timeline))
    said = words(figure)
    assert "in/a$b$.mp4#t=20.0,30.0" in said
    assert "95% generated (motion), says mine" in said
    assert "66.7% of 1:00 counts as generated, first at 0:10" in said
    assert "views differ by 12.0%" in said
    assert f"bundle {scorer().bundle.content[:8]} (fusion)" in said
    assert "MADE-UP PEOPLE; THESE NETWORKS KNOW NOTHING OF REAL ONES" in said
    assert {f"0:{20 + number}" for number in range(8)} <= set(said.split("\n"))
    assert "attention, even = 1" in said
    assert "motion (verdict)" in said
    assert {"+1.50", "-1.00"} <= set(said.split("\n"))  # sums of the shares
    assert STAMP not in said


def test_random_weights_are_stamped_on_picture_and_page() -> None:
    told = caption(ROW, meaning(random=True))
    assert STAMP in words(drawn(why(), told))
    found = Explanation(picture=b"", lines=[], shares=why().shares, preview=b"png")
    page = explained_page(told, found, why().classes)
    assert STAMP in page
    assert "no verdict, these networks have random weights" in page


def test_the_page_has_the_numbers_and_no_hole() -> None:
    told = replace(caption(ROW, meaning()), title="<script>.mp4")
    found = Explanation(picture=b"", lines=[], shares=why().shares, preview=b"png")
    page = explained_page(told, found, why().classes)
    assert "<script>.mp4" not in page
    assert "data:image/png;base64,cG5n" in page
    assert ">+1.500</td>" in page
    assert 'alt="frames, attention and shares: 95% generated' in page


@pytest.mark.parametrize("longest", [5, 20])
def test_names_are_shortened_in_their_middle(longest: int) -> None:
    assert middle("short", longest) == "short"
    name = "a" * 30 + "z" * 30
    assert (middle(name, 20)[0], middle(name, 20)[-1], "…" in middle(name, 20)) == ("a", "z", True)
    assert len(middle(name, 20)) <= 20


def test_long_words_are_wrapped() -> None:
    told = Caption(title="v", lines=["a verdict", "word " * 100])
    assert max(map(len, words(drawn(why(), told)).split("\n"))) < 170


def test_the_picture_of_a_long_video_is_of_its_worst_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from heads.commands.segmented import _explained
    from heads.scoring.output import Output
    from heads.scoring.rows import schema

    written = []

    class Picture:
        def check(self, row: dict[str, object]) -> None:
            written.append(row["id"])

        def write(self, *_: object) -> list[str]:
            return ["done"]

    output = Output(tmp_path / "s.parquet", {})
    names = schema(("motion", "real")).names
    rows = [{name: row.get(name) for name in names} for row in ROWS[:5]]
    with output.claimed():
        output.begin()
        block = pa.Table.from_pylist(rows, schema=schema(("motion", "real")))
        output.finish(iter([block]), len(rows), "inputs")
    assert _explained(output, meaning(), Picture()) == ["done"]  # type: ignore[arg-type]
    assert written == ["a.mp4#t=20.0,30.0"]
