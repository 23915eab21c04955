"""Flow and depth as pictures in 0…1, as L3DE's experts take them.

Each field of flow is scaled by its own largest vector, so that absolute speed is gone and no
movement at all is one half everywhere; depth is scaled over a whole clip.
Legend: n fields or clips, t times, h w height and width.
"""

from torch import Tensor

_LEAST_RADIUS = 1e-5
_FARTHEST = 10_000.0
_TINY = 1e-8


def flow_picture(flow_n2hw: Tensor) -> Tensor:
    """(n, 2, h, w): u and v around one half."""
    radius_n = flow_n2hw.norm(dim=1).flatten(1).amax(1).clamp_min(_LEAST_RADIUS)
    scaled: Tensor = flow_n2hw / (2 * (radius_n + _LEAST_RADIUS))[:, None, None, None]
    return (scaled + 0.5).clamp(0, 1)


def depth_picture(depth_nthw: Tensor) -> Tensor:
    """(n, t, h, w): from a clip's nearest to its farthest."""
    flat = depth_nthw.flatten(1)
    low, high = (bound[:, None, None, None] for bound in (flat.amin(1), flat.amax(1)))
    return (depth_nthw.clamp_max(_FARTHEST) - low) / (high - low + _TINY)
