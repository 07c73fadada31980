"""Reads a picture back: which colour, shape, place, size and ground do the pixels show?

Looks at pixels only, with nothing learned, and is meant to be ported line by line (crates/engine has it in Rust):

1. ground = median of the frame of `FRAME` pixels, per channel
2. candidates = pixels farther than `FAR` (Euclid, RGB) from the ground; none, or fewer than `FEW`: no object
3. ink = median of the farther half of the candidates; object = pixels nearer to the ink than to the ground
4. keep the largest 4-connected piece of the object; its bounding box gives place (nearest centre of the nine) and size
   (nearest half-side to half of the longer side)
5. colours = nearest of the palette; shape = the outline that, scaled to the piece's area (both axes alike), laid
   centroid on centroid and filled, has the best overlap (intersection over union) with the piece; below `ALIKE` it is
   no known shape. Area and centroid, because a bounding box hangs on the last pixel of a star's tip
"""

from __future__ import annotations

import numpy as np

import scenes

FRAME, FAR, FEW, ALIKE = 2, 30.0, 60, 0.65


def area_and_centroid(outline: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Of a polygon, by the shoelace formula: area (positive), and x and y of the centroid."""
    area = x = y = 0.0
    for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1]):
        cross = x0 * y1 - x1 * y0
        area, x, y = area + cross / 2, x + (x0 + x1) * cross / 6, y + (y0 + y1) * cross / 6
    return abs(area), x / area, y / area


def laid_over(outline: list[tuple[float, float]], piece: np.ndarray) -> np.ndarray:
    """Pixels whose centre lies in `outline` when it has the area and the centroid of `piece`."""
    area, gx, gy = area_and_centroid(outline)
    rows, columns = np.nonzero(piece)
    scale, cx, cy = (len(rows) / area) ** 0.5, columns.mean() + 0.5, rows.mean() + 0.5
    points = [(cx + (x - gx) * scale, cy + (y - gy) * scale) for x, y in outline]
    py, px = np.mgrid[0 : piece.shape[0], 0 : piece.shape[1]] + 0.5
    odd = np.zeros(piece.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
        if y0 != y1:  # even-odd rule: count the edges to the left of the pixel
            odd ^= ((y0 > py) != (y1 > py)) & (px > x0 + (py - y0) / (y1 - y0) * (x1 - x0))
    return odd


def largest_piece(mask: np.ndarray) -> np.ndarray:
    best, todo = np.zeros_like(mask), mask.copy()
    height, width = mask.shape
    for start in zip(*np.nonzero(mask)):
        if not todo[start]:
            continue
        piece, stack = [], [start]
        todo[start] = False
        while stack:
            y, x = stack.pop()
            piece.append((y, x))
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and todo[v, u]:
                    todo[v, u] = False
                    stack.append((v, u))
        if len(piece) > best.sum():
            best = np.zeros_like(mask)
            best[tuple(np.array(piece).T)] = True
    return best


def nearest_colour(rgb: np.ndarray) -> str:
    return min(scenes.PALETTE, key=lambda name: float(((rgb - np.array(scenes.PALETTE[name])) ** 2).sum()))


def read(picture: np.ndarray) -> dict[str, str | float | None]:
    """`picture`: uint8 (128, 128, 3). What was seen; None for what could not be told."""
    p = picture.astype(np.float64)
    f = FRAME
    frame = np.concatenate([p[:f].reshape(-1, 3), p[-f:].reshape(-1, 3), p[f:-f, :f].reshape(-1, 3), p[f:-f, -f:].reshape(-1, 3)])
    ground = np.median(frame, axis=0)
    seen: dict[str, str | float | None] = dict.fromkeys(("size", "colour", "shape", "place"))
    seen |= {"ground": nearest_colour(ground), "overlap": 0.0}
    far = np.sqrt(((p - ground) ** 2).sum(-1))
    candidates = far > FAR
    if candidates.sum() < FEW:
        return seen
    ink = np.median(p[candidates & (far >= np.median(far[candidates]))], axis=0)
    piece = largest_piece(((p - ink) ** 2).sum(-1) < ((p - ground) ** 2).sum(-1))
    rows, columns = np.nonzero(piece.any(1))[0], np.nonzero(piece.any(0))[0]
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, max(box[2] - box[0], box[3] - box[1]) / 2
    overlap = {}
    for name, outline in scenes.SHAPES.items():
        filled = laid_over(outline, piece)
        overlap[name] = float((filled & piece).sum() / max(1, (filled | piece).sum()))
    shape = max(overlap, key=overlap.__getitem__)
    return seen | {
        "colour": nearest_colour(ink),
        "place": min(scenes.PLACES, key=lambda n: (scenes.PLACES[n][0] - x) ** 2 + (scenes.PLACES[n][1] - y) ** 2),
        "size": min(scenes.SIZES, key=lambda n: abs(scenes.SIZES[n] - half)),
        "shape": shape if overlap[shape] >= ALIKE else None,
        "overlap": overlap[shape],
    }
