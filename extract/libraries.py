"""Which versions of which libraries make the pixels and the numbers: for provenance.

They are no part of a fingerprint: a new version is no other network, and where it does change
numbers, what was recorded says so.
"""

from typing import Any

import av
import cv2
import numpy as np
import PIL
import torch


def library_versions() -> dict[str, Any]:
    """As JSON. PyAV brings FFmpeg's libraries along, each with a version of its own."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "pyav": av.__version__,
        "ffmpeg": {
            name: ".".join(map(str, parts)) for name, parts in sorted(av.library_versions.items())
        },
    }
