"""The constant matrix of a convolution."""

from __future__ import annotations

import numpy as np

from hwgen.layers import Conv2d, Int64Array


def conv_matrix(layer: Conv2d, channels: int) -> Int64Array:
    """Return the matrix of a convolution, (inputs, outputs): y = x @ matrix + bias.

    Rows are in the order (kernel row, kernel column, channel); zeros where a group does not read.
    """
    co, ci, kh, kw = layer.weight.shape
    matrix = np.zeros((kh, kw, layer.groups, ci, co), np.int64)
    for group in range(layer.groups):
        rows = slice(group * (co // layer.groups), (group + 1) * (co // layer.groups))
        matrix[:, :, group, :, rows] = layer.weight[rows].transpose(2, 3, 1, 0)
    return matrix.reshape(kh * kw * channels, co)
