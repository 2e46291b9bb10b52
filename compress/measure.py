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
from hwgen.compress.training import integer_forward
from hwgen.network import Network

CPU = torch.device("cpu")
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


@dataclass(frozen=True)
class Score:
    """Parameters: accuracy, a share; lost, points below the float network."""

    accuracy: float
    lost: float


@dataclass(frozen=True, eq=False)
class Scores:
    """Images that candidates are compared on.

    Parameters
    ----------
    x : integer array, (N, C, H, W)
    y : int64 array, (N,)
    float_right : bool array, (N,)
        What the float network puts into the right class.
    held_out : int
        How many of them, the last ones, training leaves out.
    device : torch.device
        Where the golden model's integers are computed.
    """

    x: datasets.Images
    y: npt.NDArray[np.int64]
    float_right: npt.NDArray[np.bool_]
    held_out: int
    device: torch.device = CPU

    @classmethod
    def of(
        cls,
        graph: g.Graph,
        frac: int,
        images: datasets.Dataset,
        device: torch.device = CPU,
    ) -> Scores:
        """Return the last training images, and what the float graph makes of them."""
        x, y = images.train_x[-SCORE_IMAGES:], images.train_y[-SCORE_IMAGES:]
        right = classes_float(graph, frac, x) == y
        return cls(x, y, right, min(images.calibration_size, len(x)), device)

    def measure(self, network: Network) -> Score:
        """Return what a network of integers makes of them.

        The loss is the larger one of that on all images and that on those that training left out:
        of a small set most were learnt, and lose less than new ones.
        """
        right = integer_forward.classes(network, self.x, self.device) == self.y
        parts = (slice(None), slice(-self.held_out, None))
        lost = [float(self.float_right[part].mean() - right[part].mean()) for part in parts]
        return Score(float(right.mean()), 100 * max(lost))


def accuracy_float(
    graph: g.Graph, frac: int, x: datasets.Images, y: npt.NDArray[np.int64]
) -> float:
    """Return the share of images that a float graph puts into the right class.

    Parameters: frac, of the raw codes; x, (N, C, H, W) codes; y, (N,) class numbers.
    """
    return float(np.mean(classes_float(graph, frac, x) == y))


def classes_float(graph: g.Graph, frac: int, x: datasets.Images) -> npt.NDArray[np.int64]:
    """Return the class of each image, (N,): the largest score, the first of equal ones.

    Parameters: frac, of the raw codes; x, (N, C, H, W) codes.
    """
    output, found = graph.output.name, []
    for first in range(0, len(x), 1000):
        codes = torch.from_numpy(np.array(x[first : first + 1000], dtype=np.float64) * 2.0**-frac)
        scores = forward.run(graph, codes.to(torch.float32), keep=[output])[output]
        found.append(scores.flatten(1).argmax(1).numpy())
    return np.concatenate(found)
