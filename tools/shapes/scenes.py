"""What the small model draws: scenes of one object on a flat ground.

A scene is a few small integers (`Scene`): size, colour, shape, place, ground and a jitter seed. This file knows how
such a scene looks in pixels and nothing else: no text, no networks. The judge reads pictures back with the same
tables (`PALETTE`, `PLACES`, `SIZES`, `SHAPES`), and `words.json` is written from them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

CANVAS = 128
SUPERSAMPLE = 4  # polygons are filled at 4x and averaged down: that is the anti-aliasing

# Far apart in RGB, so that the nearest entry is the right one even when a picture is a little off.
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "orange": (245, 135, 20),
    "yellow": (250, 225, 50),
    "green": (30, 150, 60),
    "blue": (35, 80, 215),
    "purple": (135, 45, 175),
    "pink": (250, 150, 195),
    "white": (245, 245, 245),
    "gray": (130, 130, 130),
    "black": (18, 18, 18),
}

# Half of the longer side of the object's bounding box, in pixels of the 128-pixel canvas.
SIZES: dict[str, float] = {"small": 17.0, "medium": 24.0, "large": 32.0}

# Centre of the object's bounding box (x, y), in pixels.
_NEAR, _MID, _FAR = 37.0, 64.0, 91.0
PLACES: dict[str, tuple[float, float]] = {
    "center": (_MID, _MID),
    "top": (_MID, _NEAR),
    "bottom": (_MID, _FAR),
    "left": (_NEAR, _MID),
    "right": (_FAR, _MID),
    "top left": (_NEAR, _NEAR),
    "top right": (_FAR, _NEAR),
    "bottom left": (_NEAR, _FAR),
    "bottom right": (_FAR, _FAR),
}

PLACE_JITTER = 2.5  # pixels, each way
SIZE_JITTER = 0.05  # relative
COLOUR_JITTER = 6  # of 255, each channel


def _ring(n: int, radii: list[float], start: float) -> list[tuple[float, float]]:
    """`n` points around the origin, cycling through `radii`, the first at angle `start` (radians, y downwards)."""
    out = []
    for i in range(n):
        angle = start + 2 * math.pi * i / n
        r = radii[i % len(radii)]
        out.append((r * math.cos(angle), r * math.sin(angle)))
    return out


def _unit(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Move and scale (both axes alike) so that the bounding box is centred and its longer half-side is 1."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    cx, cy = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    half = max(max(xs) - min(xs), max(ys) - min(ys)) / 2
    return [(round((x - cx) / half, 3) + 0.0, round((y - cy) / half, 3) + 0.0) for x, y in points]  # + 0.0: no minus zero


_T = 0.36  # half the thickness of the cross's arms
_UP = -math.pi / 2
# Outlines in unit coordinates: x to the right, y down, bounding box centred on the origin.
SHAPES: dict[str, list[tuple[float, float]]] = {
    "circle": _unit(_ring(32, [1.0], _UP)),
    "square": [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
    "triangle": _unit(_ring(3, [1.0], _UP)),
    "diamond": [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)],
    "star": _unit(_ring(10, [1.0, 0.42], _UP)),
    "cross": [
        (-_T, -1.0), (_T, -1.0), (_T, -_T), (1.0, -_T), (1.0, _T), (_T, _T),
        (_T, 1.0), (-_T, 1.0), (-_T, _T), (-1.0, _T), (-1.0, -_T), (-_T, -_T),
    ],
}  # fmt: skip

SIZE_NAMES, COLOUR_NAMES = list(SIZES), list(PALETTE)
SHAPE_NAMES, PLACE_NAMES = list(SHAPES), list(PLACES)


class Scene(NamedTuple):
    """Indices into `SIZE_NAMES`, `COLOUR_NAMES`, `SHAPE_NAMES`, `PLACE_NAMES` and, for the ground, `COLOUR_NAMES`."""

    size: int
    colour: int
    shape: int
    place: int
    ground: int

    def words(self) -> dict[str, str]:
        return {
            "size": SIZE_NAMES[self.size],
            "colour": COLOUR_NAMES[self.colour],
            "shape": SHAPE_NAMES[self.shape],
            "place": PLACE_NAMES[self.place],
            "ground": COLOUR_NAMES[self.ground],
        }


def random_scene(rng: np.random.Generator) -> Scene:
    """Every attribute uniform; the ground is never the object's colour."""
    colour = int(rng.integers(len(COLOUR_NAMES)))
    ground = int(rng.integers(len(COLOUR_NAMES) - 1))
    return Scene(
        size=int(rng.integers(len(SIZE_NAMES))),
        colour=colour,
        shape=int(rng.integers(len(SHAPE_NAMES))),
        place=int(rng.integers(len(PLACE_NAMES))),
        ground=ground + (ground >= colour),
    )


def draw(scene: Scene, rng: np.random.Generator | None = None) -> np.ndarray:
    """The scene as uint8 RGB of shape (128, 128, 3); with `rng`, jittered in place, size and colour."""
    cx, cy = PLACES[PLACE_NAMES[scene.place]]
    half = SIZES[SIZE_NAMES[scene.size]]
    ink = np.array(PALETTE[COLOUR_NAMES[scene.colour]], dtype=np.float32)
    ground = np.array(PALETTE[COLOUR_NAMES[scene.ground]], dtype=np.float32)
    if rng is not None:
        cx, cy = np.array([cx, cy]) + rng.uniform(-PLACE_JITTER, PLACE_JITTER, 2)
        half *= 1 + rng.uniform(-SIZE_JITTER, SIZE_JITTER)
        ink, ground = (c + rng.uniform(-COLOUR_JITTER, COLOUR_JITTER, 3) for c in (ink, ground))
    s = SUPERSAMPLE
    mask = Image.new("L", (CANVAS * s, CANVAS * s), 0)
    outline = [((cx + x * half) * s - 0.5, (cy + y * half) * s - 0.5) for x, y in SHAPES[SHAPE_NAMES[scene.shape]]]
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    alpha = np.asarray(mask.reduce(s), dtype=np.float32)[..., None] / 255
    return np.clip(ground + (ink - ground) * alpha + 0.5, 0, 255).astype(np.uint8)
