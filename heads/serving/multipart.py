"""A form that is being received: its one file, part by part, never whole in memory."""

from collections.abc import Callable
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from heads.serving.messages import Refusal

FIELD = "file"
SEGMENTS = "segments"
_LONGEST_TEXT = 100
_LONGEST_HEADER = 4096


class FileForm:
    """Feeds `write` with what the field `file` holds; `segments` may stand beside it."""

    def __init__(self, content_type: str, write: Callable[[bytes], object]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise _broken("its content type is not multipart/form-data with a boundary")
        self.name: str | None = None
        """What the sender calls the file; None until there is one."""
        self.segments: str | None = None
        """What the field of that name holds."""
        self._write = write
        self._text: bytes | None = None
        self._field, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(
                boundary, callbacks, max_header_size=_LONGEST_HEADER, max_header_count=8
            )
        except FormParserError as error:
            raise _broken(str(error)) from error

    def feed(self, part: bytes) -> None:
        try:
            self._parser.write(part)
        except FormParserError as error:
            raise _broken(str(error)) from error

    def end(self) -> str:
        """The file's name; refused where the form broke off or had no file."""
        if not self._ended:
            raise _broken("it breaks off")
        if self.name is None:
            raise _broken(f"it has no field {FIELD!r}")
        return self.name

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field == SEGMENTS and self.segments is None:
            self._text = b""
            return
        if field != FIELD:
            raise _broken(f"it may have the fields {FIELD!r} and {SEGMENTS!r}, each once")
        if b"filename" not in options:
            raise _broken(f"its field {FIELD!r} is no file")
        if self.name is not None:
            raise _broken("it has several files; send one at a time")
        self.name = _unescaped(options[b"filename"].decode("utf-8", "replace"))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self._write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _LONGEST_TEXT:
            raise _broken(f"its field {SEGMENTS!r} is too long")

    def _on_part_end(self) -> None:
        if self._text is not None:
            self.segments, self._text = self._text.decode("utf-8", "replace"), None

    def _on_end(self) -> None:
        self._ended = True


def _unescaped(name: str) -> str:
    """Browsers escape three characters of a name, and no others."""
    for code, char in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
        name = name.replace(code, char)
    return name


def _broken(why: str) -> Refusal:
    return Refusal(
        400, f"The form cannot be read: {why}. Send one file: curl -F {FIELD}=@clip.mp4 …"
    )
