"""Pictures and masks for the fixtures: soft colours and soft blobs, small as PNG and different everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Rows of pixels."""
    return torch.from_numpy(np.array(image.convert("RGB")))


def soft(width: int, height: int, generator: torch.Generator) -> torch.Tensor:
    """Colours of 0 to 1 that flow into each other, with an edge here and there."""
    patches = torch.rand((1, 3, 4, 4), generator=generator)
    flow = torch.nn.functional.interpolate(patches, size=(height, width), mode="bilinear", align_corners=True)
    edges = torch.rand((1, 3, 3, 2), generator=generator)
    return 0.7 * flow + 0.3 * torch.nn.functional.interpolate(edges, size=(height, width), mode="nearest")


def blob(width: int, height: int, generator: torch.Generator) -> torch.Tensor:
    """A white blob with a grey edge, black around; nearer to one corner than to the others."""
    x, y, a, b = (0.3 + 0.3 * torch.rand(4, generator=generator)).tolist()
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    distance = ((rows - y) / (0.5 * b)) ** 2 + ((columns - x) / (0.5 * a)) ** 2
    return ((1.4 - distance) / 0.8).clamp(0, 1)


def write(sizes: dict[str, tuple[int, int]], folder: Path, seed: int) -> None:
    """`NAME.png` and `NAME-mask.png` of each size."""
    generator = torch.Generator().manual_seed(seed)
    for name, (width, height) in sizes.items():
        picture = (soft(width, height, generator)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
        Image.fromarray(picture.numpy()).save(folder / f"{name}.png", optimize=True)
        mask = (blob(width, height, generator) * 255).round().to(torch.uint8)
        Image.fromarray(mask.numpy()).save(folder / f"{name}-mask.png", optimize=True)
