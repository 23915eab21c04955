"""What goes wrong in a made-up clip: the paper's three anomalies, in nine kinds.

Spatial: part of an object is on the wrong side of the person, who stands in it (through); the
whole object changes sides without moving its foot (occlusion); an arm or leg changes size
(limb-size). Appearance: colours, build or shirt pattern drift. Motion: joints jitter, the person
spins like a top, or jumps from place to place. Nothing is wrong in a clip's first frame.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from extract.synthesis.look import Look, opposite, rebuilt, recoloured, repatterned
from extract.synthesis.pose import JOINT_COUNT, Pose

KINDS: dict[str, tuple[str, ...]] = {
    "appearance": ("colour", "build", "pattern"),
    "spatial": ("through", "occlusion", "limb-size"),
    "motion": ("jitter", "spin", "jump"),
    "real": ("none",),
}
_RAMP = 0.1
_SLOW_RAMP = 0.35
_WEAVE = 0.15
"""Width of one time in front of the person and behind them, in heights."""
_TWITCH = 0.13
"""Of joints, in heights, at full severity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a frame is."""

    number: int
    frames: int
    seconds: float

    @property
    def part(self) -> float:
        """0 at the first frame, 1 at the last."""
        return self.number / max(self.frames - 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault as one clip has it."""

    kind: str
    severity: float
    """0…1, how obvious."""
    onset: float
    """The part of the clip that is over when it begins."""
    other: Look
    """Towards whom appearance drifts."""
    limb: int
    grows: bool
    turn: int
    """Direction of spins and jumps: -1 or 1."""
    phase: float
    seed: int

    def look(self, look: Look, moment: Moment) -> Look:
        change = {"colour": recoloured, "build": rebuilt, "pattern": repatterned}.get(self.kind)
        if change is None:
            return look
        amount = min(1.0, 1.6 * self.severity) * self._begun(moment, _SLOW_RAMP)
        return change(look, self.other, amount)

    def pose(self, pose: Pose, moment: Moment) -> Pose:
        begun = self._begun(moment, _RAMP)
        if self.kind == "limb-size":
            swell = 0.75 + 0.25 * math.cos(2 * math.pi * (0.5 * moment.seconds + self.phase))
            size = 1 + 2.6 * self.severity * swell * begun
            sizes = [1.0] * 4
            sizes[self.limb] = size if self.grows else 1 / size
            return replace(pose, limb_sizes=(sizes[0], sizes[1], sizes[2], sizes[3]))
        if self.kind == "jitter":
            rng = np.random.default_rng((self.seed, moment.number))
            noise = rng.normal(0, _TWITCH * self.severity * begun, (JOINT_COUNT, 2))
            noise[:2] *= 0.4
            return replace(pose, offsets=tuple((float(x), float(y)) for x, y in noise))
        if self.kind == "spin":
            gone = max(0.0, moment.part - self.onset)
            return replace(pose, yaw=pose.yaw + self.turn * 360 * (1 + 2 * self.severity) * gone)
        return pose

    def jump(self, moment: Moment) -> float:
        """How far to the side the person is from where they should be, in heights."""
        if self.kind != "jump" or moment.part < self.onset:
            return 0.0
        step = int((moment.part - self.onset) * 6)
        return 0.0 if step % 2 else self.turn * (0.1 + 0.28 * self.severity)

    def wrong_column(self, column: float, moment: Moment) -> bool:
        """Whether that part of the object is on the wrong side of the person; by its distance
        from the object's middle, in heights of the person."""
        past = moment.part - self.onset
        if self.kind == "through":
            part = 0.3 + 0.25 * self.severity
            return past > 0 and (column / _WEAVE + self.phase) % 1 < part
        if self.kind == "occlusion":
            return past > 0 and (past * 3.2) % 1 < 0.45 + 0.45 * self.severity
        return False

    def beside(self, hidden: int | None) -> "Fault":
        """The same with a limb on the other side, where that side's would not be seen."""
        if hidden is None or self.limb % 2 != hidden:
            return self
        return replace(self, limb=self.limb ^ 1)

    def _begun(self, moment: Moment, ramp: float) -> float:
        part = min(1.0, max(0.0, (moment.part - self.onset) / ramp))
        return 0.5 - 0.5 * math.cos(math.pi * part)


def random_fault(label: str, severity: float, look: Look, rng: np.random.Generator) -> Fault:
    """Of one of the label's kinds, whatever the clip is like otherwise."""
    kinds = KINDS[label]
    return Fault(
        kind=kinds[int(rng.integers(len(kinds)))],
        severity=severity,
        onset=float(rng.uniform(0.04, 0.2)),
        other=opposite(look, rng),
        limb=int(rng.integers(4)),
        grows=bool(rng.random() < 0.7),
        turn=1 if rng.random() < 0.5 else -1,
        phase=float(rng.uniform(0, 1)),
        seed=int(rng.integers(2**32)),
    )
