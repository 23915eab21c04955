"""Label schemes: the class names in index order.

The paper and the released code number the classes differently, so a scheme is always named and
never guessed from the numbers. What a class looks like is none of this module's business.
"""

import difflib
from dataclasses import dataclass

from extract.errors import BadSetting

UNLABELLED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScheme:
    """Class names in index order, under a name."""

    name: str
    classes: tuple[str, ...]

    def index(self, text: str) -> int:
        """A label given as an index or as a class name. ValueError says what is allowed."""
        cleaned = text.strip().lower()
        if cleaned in self.classes:
            return self.classes.index(cleaned)
        try:
            number = float(cleaned)
        except ValueError:
            number = -1.0
        if number in range(len(self.classes)):
            return int(number)
        allowed = ", ".join(f"{index} {name}" for index, name in enumerate(self.classes))
        raise ValueError(f"label {text!r} is not in scheme {self.name} ({allowed})")


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        LabelScheme(name="hfv4", classes=("appearance", "spatial", "motion", "real")),
        LabelScheme(name="hfv4-paper", classes=("spatial", "appearance", "motion", "real")),
        LabelScheme(name="hfv2", classes=("forgery", "real")),
        LabelScheme(name="hfv2-real-first", classes=("real", "forgery")),
    )
}


def label_scheme(name: str) -> LabelScheme:
    if name not in SCHEMES:
        near = difflib.get_close_matches(name, SCHEMES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadSetting(f"Label scheme {name!r} unknown; have: {', '.join(SCHEMES)}.{hint}")
    return SCHEMES[name]
