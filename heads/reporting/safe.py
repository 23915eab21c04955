"""Text from files, as a page may have it."""

import html
import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)


def shown(value: object) -> str:
    """As a reader should see it: marks that hide or turn text round are spelled out."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", str(value))


def text(value: object) -> str:
    """Safe inside elements and quoted attributes."""
    return html.escape(shown(value), quote=True)
