"""What a made-up person wears and how they are built, and how one look turns into another."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from extract.synthesis.shapes import Colour

_SKINS: tuple[Colour, ...] = ((244, 208, 177), (222, 171, 127), (172, 117, 78), (104, 68, 48))
_HAIRS: tuple[Colour, ...] = ((38, 28, 24), (92, 58, 30), (190, 150, 80), (120, 40, 26))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Constant in a real video."""

    skin: Colour
    hair: Colour
    shirt: Colour
    stripe: Colour
    trousers: Colour
    shoes: Colour
    stripes: int = 4
    hair_length: float = 0.3
    shoulders: float = 0.12
    hips: float = 0.065
    """Half widths, in heights."""
    bulk: float = 1.0
    """Thickness of limbs and chest."""


def random_look(rng: np.random.Generator) -> Look:
    return Look(
        skin=_SKINS[int(rng.integers(len(_SKINS)))],
        hair=_HAIRS[int(rng.integers(len(_HAIRS)))],
        shirt=random_colour(rng, 1.0),
        stripe=random_colour(rng, 1.0),
        trousers=random_colour(rng, 0.6),
        shoes=random_colour(rng, 0.4),
        stripes=int(rng.integers(0, 6)),
        hair_length=float(rng.uniform(0.1, 0.9)),
        shoulders=float(rng.uniform(0.11, 0.135)),
        hips=float(rng.uniform(0.06, 0.075)),
        bulk=float(rng.uniform(0.95, 1.15)),
    )


def opposite(look: Look, rng: np.random.Generator) -> Look:
    """Another person: other colours altogether, hair and build of the other kind."""
    light = _SKINS.index(look.skin) < 2
    others = [hair for hair in _HAIRS if hair != look.hair]
    return Look(
        skin=_SKINS[int(rng.integers(2)) + (2 if light else 0)],
        hair=others[int(rng.integers(len(others)))],
        shirt=_turned(look.shirt, rng),
        stripe=_turned(look.stripe, rng),
        trousers=_turned(look.trousers, rng),
        shoes=look.shoes,
        stripes=look.stripes + 8,
        hair_length=1.6 - look.hair_length,
        shoulders=look.shoulders,
        hips=look.hips,
        bulk=2.1 if rng.random() < 0.6 else 0.4,
    )


def recoloured(look: Look, other: Look, amount: float) -> Look:
    """As far towards the other's colours as the amount says, 0 to 1."""
    return replace(
        look,
        shirt=mixed(look.shirt, other.shirt, amount),
        stripe=mixed(look.stripe, other.stripe, amount),
        trousers=mixed(look.trousers, other.trousers, amount),
        hair=mixed(look.hair, other.hair, amount),
        skin=mixed(look.skin, other.skin, amount),
    )


def rebuilt(look: Look, other: Look, amount: float) -> Look:
    """Towards the other's build: stout or thin, with other hair."""
    bulk = look.bulk + (other.bulk - look.bulk) * amount
    width = (bulk / look.bulk) ** 0.85
    return replace(
        look,
        bulk=bulk,
        shoulders=look.shoulders * width,
        hips=look.hips * width,
        hair_length=look.hair_length + (other.hair_length - look.hair_length) * amount,
    )


def repatterned(look: Look, other: Look, amount: float) -> Look:
    """Towards the other's shirt pattern: more stripes, of another colour."""
    stripes = look.stripes + round((other.stripes - look.stripes) * amount)
    stripe = mixed(look.stripe, other.stripe, min(1.0, 2 * amount))
    return replace(look, stripes=stripes, stripe=stripe)


def random_colour(rng: np.random.Generator, value: float) -> Colour:
    return _rgb(int(rng.integers(180)), int(rng.integers(110, 220)), int(235 * value))


def mixed(a: Colour, b: Colour, amount: float) -> Colour:
    red, green, blue = (round(x + (y - x) * amount) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _turned(colour: Colour, rng: np.random.Generator) -> Colour:
    """A third to two thirds round the colour circle, and lighter or darker."""
    hsv = cv2.cvtColor(np.array([[colour]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0]
    value = int(hsv[2])
    value = value - 90 if value > 150 else value + 80
    return _rgb((int(hsv[0]) + int(rng.integers(60, 120))) % 180, int(hsv[1]), value)


def _rgb(hue: int, saturation: int, value: int) -> Colour:
    hsv = np.array([[[hue, saturation, value]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)
