"""Training images changed a little each time they are shown: turned, zoomed, shifted, mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from hwgen.errors import HwgenError


@dataclass(frozen=True)
class Augmentation:
    """How far an image may change; 0 is not at all.

    Parameters
    ----------
    turn, zoom, shift : float
        Degrees, part of the size and pixels, each way at most; bilinear, zeros come in at the
        edges.
    crop : int
        Whole pixels of zeros put around the image, from which a part of its size is cut.
    flip : bool
        Left and right change places in one image of two.

    Raises: HwgenError if a number is negative.
    """

    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if min(self.turn, self.zoom, self.shift, self.crop) < 0:
            raise HwgenError(f"Augmentation by numbers from 0 needed, not {self}")


NONE = Augmentation()


def augment(x: torch.Tensor, change: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Return changed images (N, C, H, W), each in its own way; x itself where nothing may change.

    Parameters: random, a generator on the CPU; the same state gives the same changes.
    """
    if change.turn or change.zoom or change.shift:
        x = _affine(x, change, random)
    if change.crop:
        x = _cropped(x, change.crop, random)
    if change.flip:
        mirror = (torch.rand(len(x), generator=random) < 0.5).to(x.device)
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    return x


def _affine(x: torch.Tensor, change: Augmentation, random: torch.Generator) -> torch.Tensor:
    spread = (torch.rand(5, len(x), generator=random) * 2 - 1).to(x.device)
    angle = spread[0] * math.radians(change.turn)
    zoom_x, zoom_y = (1 + spread[k] * change.zoom for k in (1, 2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [
            torch.stack([cos * zoom_x, -sin, spread[3] * 2 * change.shift / x.shape[3]], 1),
            torch.stack([sin, cos * zoom_y, spread[4] * 2 * change.shift / x.shape[2]], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _cropped(x: torch.Tensor, crop: int, random: torch.Generator) -> torch.Tensor:
    count, _, height, width = x.shape
    start = torch.randint(0, 2 * crop + 1, (2, count), generator=random)
    rows = (start[0][:, None] + torch.arange(height)).to(x.device)
    columns = (start[1][:, None] + torch.arange(width)).to(x.device)
    images = torch.arange(count, device=x.device)[:, None, None]
    padded = F.pad(x, (crop, crop, crop, crop))
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
