"""Terms that are walked together: fewer COMPUTEs, the same integers."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.layers import Tensor
from hwgen.network import Add, Conv2d, Input, Network, Requantise, int64
from hwgen.nfu.compiler.merge import merged
from hwgen.nfu.compiler.program import compile_network
from hwgen.nfu.compiler.tasks import Term
from hwgen.nfu.compiler.views import natural_tiles, stored_view
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.isa import Op
from hwgen.sim import golden
from tests.hwgen.nfu.programs import CONFIG, interpreted
from tests.networks import random_images


def codes(name, source, channels, lo, hi):
    return Requantise(name, source, int64([1] * channels), int64(range(channels)),
                      int64([3] * channels), lo, hi, 4)


def residual(kernel=3, stride=1, sums=False):
    """A block whose shortcut is unsigned, and whose other way is signed codes or plain sums."""
    rng = np.random.default_rng(kernel)

    def conv(name, source, ci, co, k, s=1, frac=0):
        return Conv2d(name, source, rng.integers(-6, 7, (co, ci, k, k)),
                      int64(rng.integers(-99, 99, co)), int64([frac] * co), (s, s), (k // 2,) * 4)

    way = [conv("way", "b", 7, 7, kernel, frac=3 if sums else 0)]
    if not sums:
        way.append(codes("signed", "way", 7, -128, 127))
    return Network((
        Input("x", 2, 7, 7, 0, 255, 4), conv("a", "x", 2, 7, 3, stride), codes("b", "a", 7, 0, 255),
        *way, Add("sum", ("way" if sums else "signed", "b"), (0, 3 if sums else 0)),
        codes("out", "sum", 7, 0, 255)))


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_residual_block(kernel, sums):
    network = residual(kernel, sums=sums)
    program = compile_network(network, CONFIG)
    images = random_images(network, 4, 3)[2:]
    wanted = golden.run(network, images)
    for n, image in enumerate(images):
        for name, values in interpreted(program, network, image).items():
            assert np.array_equal(values, wanted[name][n]), name


def test_signs_are_told_apart():
    """Codes above 127 beside negative ones: a tap of the other sign is marked."""
    network = residual()
    program = compile_network(network, CONFIG)
    wanted = golden.run(network, random_images(network, 4, 3))
    assert wanted["b"].max() > 127
    assert wanted["signed"].min() < 0
    spans = [one["address"] for one in program.instructions
             if one.op is Op.LOAD and one["buffer"] == 2]
    taps = np.frombuffer(program.image, "<u4")
    assert any(taps[address // 4 : address // 4 + 4][n] >> 31 for address in spans
               for n in range(4))


def terms(one, other):
    """Two terms over images of 6 x 6, and their views."""
    views = []
    for term in (one, other):
        channels = 4 if term.weight is None else term.weight.shape[1]
        tensor = Tensor(channels, 6, 6, int64([4] * channels), 0, 255)
        views.append(stored_view(term.source, tensor, natural_tiles(channels, 4), 4))
    return [one, other], views


def conv_term(size, stride=1, padding=1, dilation=1):
    layer = residual().by_name["a"]
    weight = np.ones((4, 4, size, size), np.int64)
    return Term(layer, "p", weight, (size, size), (stride, stride), (padding,) * 4,
                (dilation, dilation))


@pytest.mark.parametrize(("other", "together"), [
    (conv_term(1, padding=0), True), (conv_term(3), True), (conv_term(1, 2, 0), False),
    (conv_term(5, padding=2), True), (conv_term(3, padding=0), False), (conv_term(1), True),
])
def test_which_terms_are_merged(other, together):
    """The smaller kernel lies under the larger one, and walks with it."""
    found, views = merged(*terms(conv_term(3), other))
    assert len(found) == len(views) == (1 if together else 2)
    if together:
        weight = found[0].weight
        assert weight.shape[1] == 8
        assert int(weight.sum()) == 4 * 4 * (9 + other.kernel[0] ** 2)


def test_unmodified_keeps_terms_apart():
    """Counters walk dense kernels alone."""
    config = Config(**{**vars(CONFIG), "code": WeightCode.PRODUCT})
    program = compile_network(residual(sums=True), config)
    assert not all(one["last"] for one in program.instructions if one.op is Op.COMPUTE)
