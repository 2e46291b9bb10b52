"""Arrays as small PNG images inside a page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

PLUS, MINUS = (29, 95, 208), (214, 96, 20)     # weights above and below zero; zero is transparent


def png(pixels: Pixels) -> str:
    """Return an image (height, width, 3 or 4) as the address of a PNG inside the page."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, width * channels + 1), np.uint8)      # each row begins with filter 0
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    data = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def photo(codes: npt.NDArray[Any], lo: int, hi: int) -> Pixels:
    """Return codes (C, H, W) of an image as pixels (H, W, 3); three channels are red, green, blue.

    Other numbers of channels are shown by their mean.
    """
    scaled = (codes.astype(np.float64) - lo) * 255 / max(hi - lo, 1)
    if len(codes) != 3:
        scaled = np.repeat(scaled.mean(axis=0, keepdims=True), 3, axis=0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def heat(values: npt.NDArray[Any], largest: float) -> Pixels:
    """Return weights (H, W) as pixels (H, W, 4): colour for the sign, opacity for the size.

    Parameters: largest, the magnitude that is shown in full colour.
    """
    share = np.abs(values.astype(np.float64)) / (largest or 1.0)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where((values < 0)[..., None], MINUS, PLUS)
    pixels[..., 3] = np.rint(255 * np.clip(share, 0, 1))
    return pixels
