"""Names of files as texts, and back."""

import os

from hypothesis import given
from hypothesis import strategies as st

from extract.manifest.names import escaped, unescaped


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_every_name_comes_back_and_is_text(name: bytes) -> None:
    text = escaped(os.fsdecode(name))
    assert text.encode()
    assert os.fsencode(unescaped(text)) == name


@given(st.binary(min_size=1, max_size=6), st.binary(min_size=1, max_size=6))
def test_no_two_names_have_one_text(one: bytes, two: bytes) -> None:
    same = escaped(os.fsdecode(one)) == escaped(os.fsdecode(two))
    assert same == (one == two)


def test_names_of_people_stay_as_they_are() -> None:
    for name in ("ünïcödé-视频.mp4", "new\nline.mp4", "C:\\x.mp4", "a\u2028b"):
        assert escaped(name) == name
    assert escaped(os.fsdecode(b"bad\xff.mp4")) == "bad\\xff.mp4"
    assert escaped("bad\\xff.mp4") == "bad\\x5cxff.mp4"
