"""Made-up feature tables with a known truth, as a store would give them."""

from dataclasses import replace

import numpy as np

from features_store.table import Table

CLASSES = ("appearance", "spatial", "motion", "real")
WIDTH, ATTN, DEPTH, TOKENS = 24, 16, 12, 9
KEYS = (
    "internvideo2/cls", "internvideo2/avg", "internvideo2/attn", "internvideo2/tokens",
    "depthpro/depth",
)  # fmt: skip


def table(  # noqa: PLR0913
    videos: int = 80,
    views: int = 2,
    *,
    seed: int = 0,
    video_signal: float = 1.5,
    depth_signal: float = 0.0,
    classes: tuple[str, ...] = CLASSES,
    world: int = 99,
) -> Table:
    """Each class has a direction of its own in cls, avg, attn (and depth); the rest is noise.

    `world` decides the directions, `seed` the videos."""
    random, directions = np.random.default_rng(seed), np.random.default_rng(world)
    labels = np.arange(videos, dtype=np.int16) % len(classes)
    arrays = {}
    for key, size in zip(KEYS[:3], (WIDTH, WIDTH, ATTN), strict=True):
        centres = directions.normal(size=(len(classes), size)) * video_signal / 3
        noise = random.normal(size=(videos, views, size))
        arrays[key] = (centres[labels][:, None] + noise).astype(np.float16)
    centres = directions.normal(size=(len(classes), WIDTH)) * video_signal
    tokens = random.normal(size=(videos, views, TOKENS, WIDTH)) + centres[labels][:, None, None]
    arrays[KEYS[3]] = tokens.astype(np.float16)
    centres = directions.normal(size=(len(classes), DEPTH)) * depth_signal
    depth = random.normal(size=(videos, views, 2, DEPTH)) + centres[labels][:, None, None]
    arrays[KEYS[4]] = depth.astype(np.float16)
    strings = np.dtypes.StringDType()
    return Table(
        protocol="val",
        classes=classes,
        rows=np.arange(videos),
        ids=np.array([f"{seed}/{i}.mp4" for i in range(videos)], strings),
        labels=labels,
        ranks=random.uniform(size=videos),
        sources=np.array(
            [("kappa", "lambda")[i // len(classes) % 2] for i in range(videos)], strings
        ),
        splits=np.array(["train"] * videos, strings),
        arrays=arrays,
        fingerprints={key: f"{KEYS.index(key):064x}" for key in KEYS},
    )


def only(found: Table, keys: tuple[str, ...]) -> Table:
    """The same with fewer arrays."""
    return replace(
        found,
        arrays={key: found.arrays[key] for key in keys},
        fingerprints={key: found.fingerprints[key] for key in keys},
    )
