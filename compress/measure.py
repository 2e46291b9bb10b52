"""Accuracy on the last training images for searches, and the test images behind a door that opens
once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from hwgen import datasets
from hwgen.compress import forward
from hwgen.compress.importers import graph as g
from hwgen.network import Network
from hwgen.sim import golden

SCORE_IMAGES = 5000  # for comparing candidates: the last of the training images


class TestImages:
    """The test images, for one reading: the final figures."""

    __test__ = False  # no test case, whatever its name says

    def __init__(self, images: datasets.Dataset) -> None:
        self._images: datasets.Dataset | None = images

    def read(self) -> tuple[datasets.Images, npt.NDArray[np.int64]]:
        """Return (images, labels). Raises: RuntimeError the second time."""
        if self._images is None:
            raise RuntimeError("The test images can be read once, for the final figures")
        images, self._images = self._images, None
        return images.test_x, images.test_y


def hold_out(images: datasets.Dataset) -> tuple[datasets.Dataset, TestImages]:
    """Return a dataset without test images, and the test images."""
    empty = np.zeros((0, *images.shape), np.int64)
    training = replace(images, test_x=empty, test_y=np.zeros(0, np.int64))
    return training, TestImages(images)


@dataclass(frozen=True, eq=False)
class Scores:
    """Images that candidates are compared on.

    Parameters
    ----------
    x : integer array, (N, C, H, W)
    y : int64 array, (N,)
    float_accuracy : float
        Of the float network, a share.
    """

    x: datasets.Images
    y: npt.NDArray[np.int64]
    float_accuracy: float

    @classmethod
    def of(cls, graph: g.Graph, frac: int, images: datasets.Dataset) -> Scores:
        """Return the last training images, and what the float graph makes of them."""
        x, y = images.train_x[-SCORE_IMAGES:], images.train_y[-SCORE_IMAGES:]
        return cls(x, y, accuracy_float(graph, frac, x, y))

    def accuracy(self, network: Network) -> float:
        """Return the share of images that a network of integers puts into the right class."""
        return golden.accuracy(network, self.x, self.y)

    def lost(self, accuracy: float) -> float:
        """Return the points that an accuracy is below the float network's."""
        return 100 * (self.float_accuracy - accuracy)


def accuracy_float(
    graph: g.Graph, frac: int, x: datasets.Images, y: npt.NDArray[np.int64]
) -> float:
    """Return the share of images that a float graph puts into the right class.

    Parameters: frac, of the raw codes; x, (N, C, H, W) codes; y, (N,) class numbers.
    """
    output, right = graph.output.name, 0
    for first in range(0, len(x), 1000):
        codes = torch.from_numpy(np.array(x[first : first + 1000], dtype=np.float64) * 2.0**-frac)
        scores = forward.run(graph, codes.to(torch.float32), keep=[output])[output]
        right += int((scores.flatten(1).argmax(1).numpy() == y[first : first + 1000]).sum())
    return right / len(x)
