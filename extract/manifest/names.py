"""File names as texts that every store and every table can hold, and back.

A name is bytes. Those that are not valid UTF-8 become `\\xff` each; a backslash that would read as
such an escape becomes `\\x5c`, so that no two names have one text. Other names stay as they are.
"""

import os
import re

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def escaped(name: str) -> str:
    """`name` as Python gives it, where bytes that are no text are lone surrogates."""
    if name.isascii() and "\\" not in name:
        return name
    return (
        _LOOKS_ESCAPED.sub(r"\\x5c", name)
        .encode("utf-8", "surrogateescape")
        .decode("utf-8", "backslashreplace")
    )


def unescaped(text: str) -> str:
    """The name again, as the file system takes it."""
    if "\\x" not in text:
        return text
    parts = _ESCAPE.split(text)
    found = parts[0].encode()
    for code, rest in zip(parts[1::2], parts[2::2], strict=True):
        found += bytes([int(code, 16)]) + rest.encode()
    return os.fsdecode(found)


def is_name(text: str) -> bool:
    """Whether a file can be called so: by anything but zero bytes and, as JSON may have them,
    surrogates that stand for no byte."""
    if not text or "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
