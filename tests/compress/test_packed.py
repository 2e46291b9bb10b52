"""Coded weights come back as they were; sizes against entropy, Shannon's bound, and arithmetic."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import zlib

import numpy as np
import pytest

from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.methods.entropy_code import (
    Coder,
    canonical,
    code_lengths,
    decode,
    encode,
    entropy,
)
from hwgen.compress.methods.packed import PackedLayer, float_bytes, pack, unpack
from hwgen.compress.methods.ternary import Options, fit, prune
from hwgen.errors import HwgenError


def sparse(size, zeros, seed=0):
    random = np.random.default_rng(seed)
    return np.where(random.random(size) < zeros, 0, random.choice([-1, 1], size))


@pytest.mark.parametrize("coder", Coder)
@pytest.mark.parametrize("zeros", [0, 0.1, 0.5, 0.9, 0.99, 1])
@pytest.mark.parametrize("size", [1, 2, 7, 300, 5000])
def test_codes_come_back(coder, zeros, size):
    codes = sparse(size, zeros, seed=size)
    np.testing.assert_array_equal(decode(encode(codes, coder), size, coder), codes)


@pytest.mark.parametrize("coder", Coder)
@pytest.mark.parametrize(
    "codes",
    [[1], [-1], [0], [], [0] * 1000, [1] * 1000, [-1] * 999 + [0], [0] * 500 + [1],
     [1] + [0] * 500, [0, 1] * 300, [-1, 0, 0, 1] * 100 + [0] * 126, [0] * 127 + [-1]],
    ids=str,
)
def test_edges_come_back(coder, codes):
    codes = np.array(codes, np.int64)
    np.testing.assert_array_equal(decode(encode(codes, coder), len(codes), coder), codes)


def test_arithmetic_carries():
    """Many short sequences: runs of pending bits, both ends of the interval."""
    for seed in range(300):
        codes = sparse(40, seed / 300, seed)
        data = encode(codes, Coder.ARITHMETIC)
        np.testing.assert_array_equal(decode(data, 40, Coder.ARITHMETIC), codes)


@pytest.mark.parametrize("zeros", [0.5, 0.9, 0.93, 0.95, 0.99])
def test_sizes_are_near_the_entropy(zeros):
    codes = sparse(40_000, zeros)
    ideal = entropy(codes)
    probabilities = np.array([zeros, (1 - zeros) / 2, (1 - zeros) / 2])
    shannon = -(probabilities * np.log2(probabilities)).sum() * codes.size
    assert ideal == pytest.approx(shannon, rel=0.05)
    arithmetic = 8 * len(encode(codes, Coder.ARITHMETIC))
    assert ideal <= arithmetic <= ideal + 40
    assert ideal <= 8 * len(encode(codes, Coder.HUFFMAN)) <= 1.08 * ideal + 600


def test_published_ratios_of_an_ideal_coder():
    for zeros, ratio in ((0.90, 56), (0.93, 73), (0.934, 77), (0.95, 95)):
        count = 100_000
        codes = np.zeros(count, np.int64)
        nonzero = round(count * (1 - zeros))
        codes[:nonzero] = np.where(np.arange(nonzero) % 2, 1, -1)
        assert 32 * count / entropy(codes) == pytest.approx(ratio, abs=0.6)


def textbook_huffman(counts):
    """Total bits of Huffman's tree: the sum of all merged weights."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = sum(heap) if len(heap) == 1 else 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@pytest.mark.parametrize("seed", range(20))
def test_code_lengths_are_the_best(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 1000, random.integers(1, 40))
    lengths = code_lengths(counts)
    assert int((lengths * counts).sum()) == textbook_huffman(counts.tolist())
    assert np.array_equal(lengths > 0, counts > 0)


def test_code_lengths_are_limited():
    fibonacci = [1, 1]
    while len(fibonacci) < 24:
        fibonacci.append(sum(fibonacci[-2:]))
    counts = np.array(fibonacci)
    for longest in (5, 6, 10, 15):
        lengths = code_lengths(counts, longest)
        assert lengths.max() == longest
        assert (2.0**-lengths).sum() == 1
    assert int((code_lengths(counts, 23) * counts).sum()) == textbook_huffman(fibonacci)
    with pytest.raises(HwgenError, match="At most 4 symbols needed, not 24"):
        code_lengths(counts, 2)


def test_limited_lengths_are_the_best_of_all():
    """All complete sets of lengths up to 3 of 5 symbols, by exhaustion."""
    counts = np.array([50, 20, 3, 2, 1])
    best = min(
        int((np.array(lengths) * counts).sum())
        for lengths in itertools.product((1, 2, 3), repeat=5)
        if sum(2.0**-length for length in lengths) <= 1
    )
    assert int((code_lengths(counts, 3) * counts).sum()) == best


def test_canonical_codes():
    assert canonical(np.array([2, 1, 3, 3, 0])).tolist() == [0b10, 0b0, 0b110, 0b111, 0]
    with pytest.raises(HwgenError, match="prefix code"):
        canonical(np.array([1, 1, 1]))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "end too early"), (b"\x20", "end too early"), (b"\x00\x00", "run above 0"),
     (b"\x20\x00\xff\xff\xff", "no code begins"), (b"\x22\x22\x22", "prefix code|too early")],
)
def test_damaged_huffman(data, message):
    with pytest.raises(HwgenError, match=message):
        decode(data, 100, Coder.HUFFMAN)


def test_codes_wrong():
    for coder in Coder:
        with pytest.raises(HwgenError, match="-1, 0 and 1 needed, not -2"):
            encode(np.array([0, 1, -2]), coder)


# ---------------------------------------------------------------------------------------------
# Whole networks


def network(seed=0):
    """A small one: ternary by layer, by filter, by kernel, and one of 8-bit codes."""
    random = np.random.default_rng(seed)
    layers = []
    for shape, scale in (((6, 1, 5, 5), Scale.LAYER), ((16, 6, 5, 5), Scale.FILTER),
                         ((5, 4, 3, 3), Scale.KERNEL)):
        weights = random.laplace(size=shape)
        found = fit(weights, Options(scale, 2), prune([weights], 0.8)[0])
        layers.append(PackedLayer(found.codes, found.sigma, random.integers(-99, 99, shape[0]),
                                  2.0**-9))
    layers.append(PackedLayer(random.integers(-128, 128, (10, 84)), np.array([2.0**-7])))
    return layers


@pytest.mark.parametrize("coder", [None, *Coder])
def test_layers_come_back(coder):
    layers = network()
    for layer, back in zip(layers, unpack(pack(layers, coder)), strict=True):
        for name in ("codes", "scale", "bias"):
            np.testing.assert_array_equal(getattr(layer, name), getattr(back, name))
        assert layer.bias_scale == back.bias_scale
        np.testing.assert_array_equal(layer.values(), back.values())


def test_the_shorter_coder_is_taken():
    layers = network()
    assert len(pack(layers)) <= min(len(pack(layers, coder)) for coder in Coder)


def test_float_size():
    layers = [PackedLayer(np.zeros((6, 1, 5, 5), int), np.ones(1), np.zeros(6, int))]
    assert float_bytes(layers) == 4 * 156


def test_everything_is_counted():
    """What is around the coded weights, byte by byte."""
    codes = sparse(5000, 0.9).reshape(50, 100)
    plain = PackedLayer(codes, np.array([0.75]))
    coded = len(encode(codes, Coder.ARITHMETIC))
    # format, layers; dimensions, 50, 100, coding, 2 for the length; scale: 1 dimension of 1,
    # mantissa, exponent; no bias, its scale in 2; checksum 4
    assert len(pack([plain], Coder.ARITHMETIC)) == 2 + 6 + coded + 4 + 3 + 4
    biases = PackedLayer(codes, np.array([0.75]), np.full(50, -4), 2.0**-8)
    assert len(pack([biases], Coder.ARITHMETIC)) == 2 + 6 + coded + 4 + 3 + 4 + 1 + -(-50 * 3 // 8)
    filters = PackedLayer(codes, np.full(50, 0.75))
    assert len(pack([filters], Coder.ARITHMETIC)) == 2 + 6 + coded + 2 + 2 * 50 + 3 + 4


def test_size_of_lenet5_shapes():
    """LeNet-5's 61,470 weights and 236 biases at 92 % zeros: more than 57 times below floats."""
    layers = []
    for shape in ((6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)):
        weights = np.random.default_rng(shape[0]).laplace(size=shape)
        found = fit(weights, Options(Scale.LAYER, 2), prune([weights], 0.92)[0])
        bias = np.random.default_rng(0).integers(-128, 128, shape[0])
        layers.append(PackedLayer(found.codes, found.sigma, bias, 2.0**-8))
    assert sum(layer.codes.size for layer in layers) == 61_470
    data = pack(layers)
    assert [back.codes.tolist() for back in unpack(data)] == [x.codes.tolist() for x in layers]
    assert float_bytes(layers) / len(data) >= 57


@pytest.mark.parametrize("value", [1.0, 0.75, 2.0**-1074, 2.0**1000, 5 * 2.0**-40])
def test_scales_come_back(value):
    (back,) = unpack(pack([PackedLayer(np.array([1, -1]), np.array([value]))]))
    assert back.scale.tolist() == [value]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 0.1])
def test_scales_wrong(value):
    with pytest.raises(HwgenError, match=r"above 0|m \* 2\*\*e"):
        PackedLayer(np.array([1]), np.array([value]))


def test_codes_of_extreme_width():
    codes = np.array([[-(1 << 31), (1 << 31) - 1]])
    (back,) = unpack(pack([PackedLayer(codes, np.ones(1))]))
    np.testing.assert_array_equal(back.codes, codes)
    with pytest.raises(HwgenError, match="at most 32 bits needed, not 33"):
        PackedLayer(np.array([1 << 31]), np.ones(1))


def test_every_flipped_byte_is_refused():
    data = pack(network()[:1])
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 0x41
        with pytest.raises(HwgenError, match="damaged"):
            unpack(bytes(wrong))
    for end in (0, 3, len(data) // 2, len(data) - 1):
        with pytest.raises(HwgenError, match="damaged"):
            unpack(data[:end])


def test_hostile_data_give_one_error():
    """Right checksums over wrong bytes: no crash, no large allocation."""
    random = np.random.default_rng(0)
    good = pack(network()[:2])[:-4]
    for _ in range(300):
        wrong = bytearray(good)
        for place in random.integers(0, min(len(wrong), 60), 3):
            wrong[place] = random.integers(0, 256)
        with contextlib.suppress(HwgenError):
            unpack(bytes(wrong) + zlib.crc32(wrong).to_bytes(4, "big"))


def test_no_more_than_announced():
    longer = pack(network()[:1])[:-4] + b"\x00"
    with pytest.raises(HwgenError, match="needed, there are"):
        unpack(longer + zlib.crc32(longer).to_bytes(4, "big"))
