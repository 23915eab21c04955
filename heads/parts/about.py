"""What a bundle says of itself, in full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """All that a bundle says of itself, as JSON."""

    head: str
    config: Mapping[str, Any]
    scheme: str
    classes: Sequence[str]
    protocol: str
    """That it was trained on; scoring may use another one of the same branches."""
    fingerprints: Mapping[str, str]
    """Array → full fingerprint of the branch that makes it."""
    branches: Mapping[str, str]
    """Branch → NAME=PRESET?options, as `telltale extract --branch` takes it."""
    temperature: float = 1.0
    """Probabilities are sharpened or softened by it; see `calibrate`."""
    conformal: Mapping[str, Any] = field(default_factory=dict)
    """Error rate → class → threshold; see `judging.conformal`. Empty: no calibration."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Which videos temperature and thresholds come from, and how many."""
    operating: Sequence[Mapping[str, Any]] = ()
    """Thresholds for stated shares of false alarms; see `judging.papers`."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """File → sha256."""
