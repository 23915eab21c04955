"""Made-up tables that also have what branches on single frames give, and grids of pictures."""

from dataclasses import replace

import numpy as np

from features_store.table import Table
from heads.measuring.metrics import REAL
from tests.test_heads.tables import CLASSES, WIDTH, table

FRAMES, PATCHES, SIDE = 8, 9, 12
PERSONS, PARTS = 2, 3


def frame_table(
    videos: int = 80,
    *,
    seed: int = 0,
    classes: tuple[str, ...] = CLASSES,
    views: int = 2,
) -> Table:
    """Classes have directions of their own in every frame's tokens and in grids; frames of `real`
    videos follow each other less evenly, and in half of the directions."""
    found = table(videos, views, seed=seed, classes=classes)
    random, directions = np.random.default_rng((seed, 1)), np.random.default_rng(98)
    labels = found.labels
    real = (labels == classes.index(REAL))[:, None, None]
    centres = directions.normal(size=(len(classes), WIDTH))[labels][:, None, None]
    steps = random.normal(size=(videos, views, FRAMES, WIDTH))
    steps *= np.where(real[..., None] & (np.arange(WIDTH) % 2 == 0), 0.1, 1)
    lengths = np.where(real, random.uniform(0, 3, (videos, views, FRAMES)), 1.0)
    cls = centres + (steps * lengths[..., None]).cumsum(2)
    noise = random.normal(size=(videos, views, FRAMES, PATCHES, WIDTH))
    tokens = 1.5 * centres[..., None, :] + noise
    level = np.linspace(60, 190, len(classes))[labels][:, None, None, None, None, None]
    arrays = {
        "image/cls": cls.astype(np.float32),
        "image/tokens": tokens.astype(np.float16),
        "image/present": np.ones((videos, views, FRAMES), np.uint8),
        "image/steps": np.abs(np.diff(lengths)).astype(np.float32) + 1,
        "image/angles": random.uniform(60, 120, (videos, views, FRAMES - 2)).astype(np.float32),
        "image/roughness": (random.uniform(0.2, 0.4, (videos, views, PATCHES))).astype(np.float32),
        "image/incoherence": np.where(real, 1, 2).astype(np.float32)
        * np.ones((videos, views, 1), np.float32),
    }
    of_persons = (videos, views, FRAMES, PERSONS, PARTS)
    vectors = centres[:, :, :, None, None] + 3 * random.normal(size=(*of_persons, WIDTH))
    arrays |= {
        "anatomy/vectors": vectors.astype(np.float16),
        "anatomy/person": np.broadcast_to(np.arange(PERSONS)[:, None], of_persons).astype(np.int32),
    }
    for key, channels in (("motion/grid", 2), ("spatial/grid", 1)):
        shape = (videos, views, FRAMES, channels, SIDE, SIDE)
        arrays[key] = (level + random.uniform(-40, 40, shape)).astype(np.uint8)
    fingerprints = {key: f"{100 + index:064x}" for index, key in enumerate(arrays)}
    return replace(
        found,
        arrays={**found.arrays, **arrays},
        fingerprints={**found.fingerprints, **fingerprints},
    )
