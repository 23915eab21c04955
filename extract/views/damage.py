"""What may be done to videos before views are taken, by name: `val+jpeg50`, `val+canonical`.

Perturbations are damage as it happens on the way to a viewer. The canonical encoding is the
opposite of damage: every video is encoded the same way first, so that no codec setting of its
source tells what it is. `perturb.py` carries both out.
"""

import re
from dataclasses import dataclass

from extract.errors import BadProtocol

CANONICAL = "canonical"
RECIPE = {
    "crf": "23", "preset": "medium", "g": "16", "keyint_min": "16", "sc_threshold": "0",
    "flags": "+cgop",
}  # fmt: skip
"""How x264 encodes every video alike, as VidAudit does. Size and rate stay what they were."""

_FORM = re.compile(r"(blurjpeg|blur|jpeg|resize|h264crf|rate|letterbox|screen|mixed)([0-9.]*)")
_RANGES = {
    "blur": (0.1, 20.0),
    "jpeg": (1.0, 100.0),
    "resize": (0.05, 1.0),
    "h264crf": (0.0, 51.0),
    "rate": (1.0, 120.0),
    "blurjpeg": (0.05, 1.0),
}
_WHOLE = ("jpeg", "h264crf")
_WITHOUT_AMOUNT = ("mixed", "letterbox", "screen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """Damage done to the decoded frames before anything else sees them."""

    kind: str
    """blur, jpeg, resize, h264crf, rate, letterbox, screen, mixed or blurjpeg."""
    amount: float = 0.0
    """blur: Gaussian sigma in pixels; jpeg: quality; resize: factor; h264crf: constant rate
    factor; rate: frames a second; blurjpeg: probability; the others have none."""

    def __post_init__(self) -> None:
        if self.kind in _WITHOUT_AMOUNT:
            if self.amount:
                raise BadProtocol(f"Perturbation {self.kind} takes no number, got {self.amount:g}.")
            return
        if self.kind not in _RANGES:
            have = ", ".join((*_RANGES, *_WITHOUT_AMOUNT))
            raise BadProtocol(f"Perturbation {self.kind!r} unknown; have: {have}.")
        low, high = _RANGES[self.kind]
        if not low <= self.amount <= high or (self.kind in _WHOLE and self.amount % 1):
            whole = "a whole number " if self.kind in _WHOLE else ""
            raise BadProtocol(
                f"Perturbation {self.kind}{self.amount:g}: give {whole}from {low:g} to {high:g}."
            )

    @property
    def name(self) -> str:
        return self.kind if self.kind in _WITHOUT_AMOUNT else f"{self.kind}{self.amount:g}"

    @property
    def needs_every_frame(self) -> bool:
        """A video codec's output depends on all frames before."""
        return self.kind == "h264crf"

    @property
    def is_drawn(self) -> bool:
        """Whether each frame's damage is a matter of chance, as in training."""
        return self.kind == "blurjpeg"

    @staticmethod
    def parse(text: str) -> "Perturbation":
        found = _FORM.fullmatch(text)
        if found is None or (found[1] not in _WITHOUT_AMOUNT and not found[2]):
            raise BadProtocol(
                f"Perturbation {text!r} unknown; have: blurSIGMA (blur3), jpegQUALITY (jpeg50), "
                f"resizeFACTOR (resize0.7), h264crfN (h264crf28), rateN (rate12), letterbox, "
                f"screen, mixed, blurjpegSHARE (blurjpeg0.5); and canonical, which goes before "
                f"these."
            )
        try:
            amount = float(found[2] or 0)
        except ValueError as error:
            raise BadProtocol(f"Perturbation {text!r}: {found[2]!r} is not a number.") from error
        return Perturbation(kind=found[1], amount=amount)


def after_the_plus(text: str) -> tuple[bool, str]:
    """Whether videos are encoded alike first, and what is done to them then."""
    first, plus, rest = text.partition("+")
    return (True, rest) if first == CANONICAL and bool(plus) == bool(rest) else (False, text)
