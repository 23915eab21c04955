"""Where a bundle is: a folder of the user's own, or one of those that come with the package.

A folder that is there goes before a shipped bundle of its name, so that a calibrated copy takes its
place; what comes with the package is never written to.
"""

import os
from pathlib import Path

EVERYDAY = "everyday"
OWN = "TELLTALE_BUNDLE"
"""The environment variable that names what is used where no bundle is named."""
_HERE = Path(__file__).parent


def shipped_names() -> list[str]:
    return sorted(path.parent.name for path in _HERE.glob("*/bundle.json"))


def bundle_folder(named: str | Path) -> Path:
    """The folder of a bundle that was named."""
    folder = Path(named)
    if not folder.exists() and str(named) in shipped_names():
        return _HERE / folder
    return folder


def default_bundle() -> Path:
    """Where none is named: the user's own, or `everyday` as it comes with the package."""
    return Path(os.environ.get(OWN) or _HERE / EVERYDAY)
