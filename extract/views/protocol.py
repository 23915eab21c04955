"""Protocols: which looks are taken at a video, exactly. Clips' frames are the released HumanSAM
code's (`sampling.py`); frames by time are other detectors' (`rates.py`).
"""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from extract.errors import BadProtocol
from extract.views.clip_changes import FORM, Clip, ClipChange, changed_clip, parse_changes
from extract.views.damage import CANONICAL, RECIPE, Perturbation, after_the_plus
from extract.views.forgeries import KINDS, forged_run, kind_of_view
from extract.views.rates import RULES, Pace
from extract.views.revisions import REVISIONS
from extract.views.sampling import (
    CLIP_FRAMES,
    adjacent_frames,
    filled_up,
    interleaved_frames,
    spread_frames,
    train_frames,
    validation_frames,
    window_frames,
)
from extract.views.view import CLIP_SIZE, Crop, View, digest, view_seed

TRAIN_AUGMENTATION = "rand-m7-n4-mstd0.5-inc1"

_FORMS = {
    "val": r"val",
    "test": r"test-(?P<segments>\d+)x(?P<crops>\d+)",
    "train": rf"train-(?P<samples>\d+)(?P<changes>{FORM})",
    "pairs": r"pairs-(?P<pairs>\d+)",
    "frames": r"frames-(?P<frames>\d+)@(?P<rate>all|\d+(?:\.\d+)?)(?::(?P<rule>[a-z0-9]+))?",
    "forged": r"forged-(?P<samples>\d+)(?:x(?P<frames>\d+))?",
    "windows": r"windows-(?P<windows>\d+)x(?P<frames>\d+)(?::step(?P<step>[1-9]\d*))?",
}
_OPTIONAL = ("changes", "pairs", "windows", "frames", "rate", "rule", "step")
"""What older protocols' descriptions say nothing of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The plan that yields a video's views. `Protocol.parse(p.name) == p`."""

    kind: str
    """val, test, train, pairs, frames, windows or forged."""
    segments: int = 1
    """test: how many interleaved clips are taken in time."""
    crops: int = 1
    """test: how many crops of each along the long side."""
    samples: int = 1
    """train, forged: how many views."""
    pairs: int = 1
    """pairs: how many pairs of adjacent frames the one view has."""
    windows: int = 1
    """windows: how many runs of consecutive frames, each a view."""
    step: int = 0
    """windows: how many frames after a run the next one begins; 0: they are spread and do not
    overlap."""
    frames: int = CLIP_FRAMES
    """frames, windows, forged: how many frames a view has."""
    rate: float = 0.0
    """frames: how many a second; 0: equally far apart over the whole video."""
    rule: str = ""
    """frames: whose choice of them, see `rates.RULES`."""
    canonical: bool = False
    """Every video is encoded the same way before anything else: see `damage.RECIPE`."""
    perturbation: Perturbation | None = None
    changes: tuple[ClipChange, ...] = ()
    """train: what is done to some clips in time."""

    def __post_init__(self) -> None:
        limits = {
            "segments": 64, "crops": 16, "samples": 256, "pairs": 256, "windows": 512,
            "frames": 256,
        }  # fmt: skip
        for what, limit in limits.items():
            count = getattr(self, what)
            if not 1 <= count <= limit:
                raise BadProtocol(f"{count} {what} in a protocol: give 1 to {limit}.")
        if self.kind == "frames":
            self._check_rate()

    def _check_rate(self) -> None:
        if self.rule not in RULES or (self.rule and not self.rate):
            have = ", ".join(rule for rule in RULES if rule)
            raise BadProtocol(
                f"Protocol {self.name}: after frames-N@R there may be a rule of {have}; without "
                f"one the middle of the video is taken."
            )
        if self.frames < 2 or not (self.rate == 0 or 0.1 <= self.rate <= 240):
            raise BadProtocol(
                f"Protocol {self.name}: give 2 frames or more, and 0.1 to 240 a second or 'all'."
            )

    @property
    def name(self) -> str:
        rate = f"{self.rate:g}" if self.rate else "all"
        base = {
            "val": "val",
            "test": f"test-{self.segments}x{self.crops}",
            "train": f"train-{self.samples}" + "".join(change.name for change in self.changes),
            "pairs": f"pairs-{self.pairs}",
            "frames": f"frames-{self.frames}@{rate}" + (f":{self.rule}" if self.rule else ""),
            "forged": f"forged-{self.samples}" + (f"x{self.frames}" * (self.frames != CLIP_FRAMES)),
            "windows": f"windows-{self.windows}x{self.frames}"
            + (f":step{self.step}" if self.step else ""),
        }[self.kind]
        base += f"+{CANONICAL}" if self.canonical else ""
        return base if self.perturbation is None else f"{base}+{self.perturbation.name}"

    @property
    def is_drawn(self) -> bool:
        """Whether its views follow from a run's seed."""
        return self.kind in ("train", "forged")

    @property
    def view_count(self) -> int:
        return self.segments * self.crops * self.samples * self.windows

    @property
    def view_frames(self) -> int:
        """How many frames a view has."""
        return 2 * self.pairs if self.kind == "pairs" else self.frames

    @staticmethod
    def parse(name: str) -> "Protocol":
        base, plus, damage = name.partition("+")
        kind = next((kind for kind, form in _FORMS.items() if re.fullmatch(form, base)), "")
        found = re.fullmatch(_FORMS.get(kind, ""), base)
        if not kind or found is None or bool(plus) != bool(damage):
            raise BadProtocol(
                f"Protocol {name!r} unknown; have: val, test-SxC (test-4x3), train-V (train-8), "
                f"train-V:dropSHARE:repeatSHARE:blendSHARE, pairs-N (pairs-32), frames-N@R "
                f"(frames-16@8, frames-16@all, frames-16@8:stall), windows-WxN (windows-4x32) "
                f"or windows-WxN:stepS (windows-369x32:step1), forged-V or forged-VxN (forged-16), "
                f"each with +canonical and then +blurSIGMA, +jpegQUALITY, +resizeFACTOR, "
                f"+h264crfN, +rateN, +letterbox, +screen, +mixed or +blurjpegSHARE."
            )
        canonical, damage = after_the_plus(damage)
        said = {key: text for key, text in found.groupdict().items() if text is not None}
        changes, rule, rate = (said.pop(key, "") for key in ("changes", "rule", "rate"))
        return Protocol(
            kind=kind,
            rule=rule,
            rate=_rate(rate),
            canonical=canonical,
            perturbation=Perturbation.parse(damage) if damage else None,
            changes=parse_changes(changes),
            **{key: int(text) for key, text in said.items()},
        )

    @property
    def revisions(self) -> dict[str, int]:
        """Of the parts that make its pixels."""
        parts = ["views", *(change.kind for change in self.changes)]
        if self.kind in ("frames", "windows", "forged"):
            parts.append(self.kind)
        if self.kind == "forged":
            parts.append("blend")
        if self.kind == "train":
            parts.append("augmentation")
        if self.canonical:
            parts.append("canonical")
        if self.perturbation is not None:
            parts.append(self.perturbation.kind)
        return {part: REVISIONS[part] for part in parts}

    def describe(self) -> dict[str, Any]:
        """In full, for a store's attributes: two protocols' pixels are the same if this is."""
        plain = asdict(self)
        more = {key: plain.pop(key) for key in _OPTIONAL}
        plain |= {"changes": more["changes"]} if self.changes else {}
        plain["name"] = self.name
        if self.canonical:
            plain["canonical"] = RECIPE
        else:
            del plain["canonical"]  # nor of this
        plain["revisions"] = self.revisions
        if self.kind == "pairs":
            return {**plain, "pairs": self.pairs, "frames": self.view_frames}
        if self.kind == "frames":
            return {**plain, "frames": self.frames, "rate": self.rate, "rule": self.rule}
        if self.kind == "forged":
            return {**plain, "frames": self.frames, "kinds": list(KINDS)}
        if self.kind == "windows":
            step = {"step": self.step} if self.step else {}
            return {**plain, "frames": self.frames, "windows": self.windows, **step}
        return {
            **plain,
            "frames": CLIP_FRAMES,
            "size": CLIP_SIZE,
            "augmentation": TRAIN_AUGMENTATION if self.kind == "train" else None,
        }

    def views(
        self,
        video_id: str,
        frame_count: int,
        *,
        fps: float = 0.0,
        seed: int = 0,
        size: int = CLIP_SIZE,
    ) -> tuple[View, ...]:
        """All views of a video, in order: chunk, then crop. Frames by time need its `fps`."""
        if frame_count < 1:
            raise BadProtocol(f"A video of {frame_count} frames has no views.")
        plan = self._plan(video_id, frame_count, fps, seed)
        return tuple(
            View(
                index=index,
                frames=filled_up(clip.frames, self.view_frames),
                missing=self.view_frames - len(clip.frames),
                size=size,
                crop=crop,
                augmentation=TRAIN_AUGMENTATION if self.kind == "train" else None,
                blended=clip.blended,
                forgery=kind_of_view(index) if self.kind == "forged" else None,
                others=clip.others,
                canonical=self.canonical,
                perturbation=self.perturbation,
                video=video_id,
                length=frame_count,
                seed=view_seed(seed, video_id, index),
            )
            for index, (clip, crop) in enumerate(plan)
        )

    def _plan(self, video_id: str, count: int, fps: float, seed: int) -> list[tuple[Clip, Crop]]:
        center, whole = Crop(kind="center"), Crop(kind="none")
        if self.kind == "val":
            return [(Clip(frames=validation_frames(count)), center)]
        if self.kind == "test":
            chunks = interleaved_frames(count, self.segments)
            crops = [
                Crop(kind="uniform", position=position, count=self.crops)
                for position in range(self.crops)
            ]
            return [(Clip(frames=frames), crop) for frames in chunks for crop in crops]
        if self.kind == "pairs":
            return [(Clip(frames=adjacent_frames(count, self.pairs)), whole)]
        if self.kind == "frames":
            return [(Clip(frames=self._timed_frames(count, fps)), center)]
        if self.kind == "windows":
            runs = window_frames(count, self.windows, self.frames, self.step)
            empty = ((),) * (self.windows - len(runs))
            return [(Clip(frames=frames), center) for frames in (*runs, *empty)]
        if self.kind == "forged":
            return [
                (self._forged_clip(video_id, count, index, seed), center)
                for index in range(self.samples)
            ]
        return [
            (self._train_clip(video_id, count, index, seed), Crop(kind="random"))
            for index in range(self.samples)
        ]

    def _timed_frames(self, count: int, fps: float) -> tuple[int, ...]:
        if not self.rate:
            return spread_frames(count, self.frames)
        if not 0 < fps < math.inf:
            raise BadProtocol(f"Protocol {self.name} needs to know how many frames a second.")
        pace = Pace(count=count, fps=fps, frames=self.frames, rate=self.rate)
        return tuple(RULES[self.rule](pace))

    def _forged_clip(self, video_id: str, count: int, index: int, seed: int) -> Clip:
        rng = np.random.default_rng(digest(str(view_seed(seed, video_id, index)), "frames"))
        run = forged_run(kind_of_view(index), count, self.frames, rng)
        return Clip(frames=run.frames, others=run.others)

    def _train_clip(self, video_id: str, frame_count: int, index: int, seed: int) -> Clip:
        rng = np.random.default_rng(digest(str(view_seed(seed, video_id, index)), "frames"))
        if not self.changes:
            return Clip(frames=train_frames(frame_count, rng))
        choice = np.random.default_rng(digest(str(view_seed(seed, video_id, index)), "clip"))
        return changed_clip(
            self.changes, CLIP_FRAMES, lambda clip: train_frames(frame_count, rng, clip), choice
        )


def _rate(text: str) -> float:
    """Frames a second; 0 says that they are spread over the whole video."""
    if text in ("", "all"):
        return 0.0
    if float(text) == 0:
        raise BadProtocol("0 frames a second in a protocol: give 0.1 to 240, or 'all'.")
    return float(text)
