"""The generated engine against the golden model over many windows: every named set of dyadic
levels.

Ref: F. Cintra et al., Low-complexity approximate convolutional neural networks, 2018: the sets are
the levels of approximation compared there. One network a geometry holds a branch for each set, side
by side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgen import netfile
from hwgen.compress.methods import dyadic
from hwgen.network import Concat, Conv2d, Input, Layer, Network, Requantise
from hwgen.sim import golden
from hwgen.sim.verify import verify
from hwgen.stream.emit import write_design

SETS = ("T3", "P5", "P7", "P9", "Q4", "Q8", "Q16")
GEOMETRIES = [(k, s) for k in (1, 3, 5, 11) for s in (1, 2, 4)]
FILTERS = 2
OUTPUTS = 100_000  # of each set, at the least


def branches(kernel: int, stride: int, *, side: int = 32) -> Network:
    """A convolution and a Requantise for each set, on one image, side by side in one output."""
    rng = np.random.default_rng(1000 * kernel + stride)
    layers: list[Layer] = [Input("image", 2, side, side, -128, 127, 7)]
    for name in SETS:
        weights = rng.laplace(size=(FILTERS, 2, kernel, kernel))
        result = dyadic.approximate(weights, dyadic.Options(dyadic.Levels.parse(name)))
        zeros = np.zeros(FILTERS, np.int64)
        layers.append(
            Conv2d(
                f"conv_{name}",
                "image",
                result.codes,
                rng.integers(-99, 99, FILTERS),
                zeros + result.bits,
                (stride, stride),
            )
        )
        reach = int(np.abs(result.codes).sum(axis=(1, 2, 3)).max()) * 128
        shift = max(reach.bit_length() - 11, 0)  # codes that reach both ends of the clip
        layers.append(
            Requantise(
                f"code_{name}", f"conv_{name}", zeros + 1, zeros, zeros + shift, -128, 127, 4
            )
        )
    layers.append(Concat("output", tuple(f"code_{name}" for name in SETS)))
    return Network(tuple(layers), {"kernel": kernel, "stride": stride})


def images_needed(network: Network) -> int:
    """Images whose outputs are at least OUTPUTS for each set."""
    output = network.tensors["output"]
    return -(-OUTPUTS // (FILTERS * output.height * output.width))


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
def test_engine_equals_golden(tmp_path: Path, kernel: int, stride: int) -> None:
    network = branches(kernel, stride)
    netfile.save(network, tmp_path / "net.npz")
    write_design(tmp_path / "net.npz", tmp_path / "design")
    count = images_needed(network)
    # Without data the images are the extreme ones, then seeded random ones.
    result = verify(tmp_path / "design", images=count, layers="last", seed=kernel + stride)
    assert result["mismatches"] == 0
    assert result["values_compared"] >= OUTPUTS * len(SETS)


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
def test_golden_equals_float(kernel: int, stride: int) -> None:
    """The integers mean what the dyadic weights mean: float64 sums, rounded as stated."""
    network = branches(kernel, stride)
    rng = np.random.default_rng(7)
    images = rng.integers(-128, 128, (2, 2, 32, 32))
    images[0] = np.where(rng.integers(0, 2, images[0].shape), 127, -128)
    codes = golden.run(network, images)
    windows = np.lib.stride_tricks.sliding_window_view(images, (kernel, kernel), (2, 3))
    windows = windows[:, :, ::stride, ::stride].astype(float) * 2.0**-7
    clipped = 0
    for name in SETS:
        conv, code = network.by_name[f"conv_{name}"], network.by_name[f"code_{name}"]
        assert isinstance(conv, Conv2d)
        assert isinstance(code, Requantise)
        scale = 2.0 ** -float(conv.frac_w[0])
        real = np.einsum("nirckl,oikl->norc", windows, conv.weight * scale)
        real += (conv.bias * scale * 2.0**-7)[:, None, None]
        steps = real / (scale * 2.0**-7 * 2.0 ** int(code.shift[0]))
        expected = np.clip(np.floor(steps + (0.5 if code.shift[0] else 0)), -128, 127)
        assert np.array_equal(codes[f"code_{name}"], expected.astype(np.int64))
        clipped += int((np.abs(expected) >= 127).sum())
    assert clipped  # some codes reach the ends
