"""The comparison by itself: recordings made by hand, right and with one thing wrong each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.network import ArgMax, Dense, Flatten, Input, Int64Array, Network
from hwgen.sim import golden
from hwgen.sim.compare import Comparison, Difference, compare, merge
from hwgen.sim.design import Design, check_ports
from hwgen.sim.ports import Field, Port, Ports, Tap
from hwgen.sim.recorded import Beats, Recorded

IMAGES = 3
SCORES = Field(2, 6, True, "score_0"), Field(8, 6, True, "score_1"), Field(14, 6, True, "score_2")
RESULT = Field(0, 2, False, "class"), *SCORES


def design() -> Design:
    """Three channels of 1x2 pixels in two folds; flattened, a matrix, the largest."""
    weight = np.arange(18).reshape(3, 6) % 5 - 2
    network = Network(
        (
            Input("image", 3, 1, 2, 0, 3, 0),
            Flatten("flat", "image"),
            Dense("scores", "flat", weight, np.array([0, 1, -1]), np.zeros(3, int)),
            ArgMax("best", "scores"),
        )
    )
    lanes = Field(0, 2, False), Field(2, 2, False)
    taps = (
        Tap("image", "", "image", "v", "r", "p", 4, 2, 2, lanes),
        Tap("flat", "image", "", "", "", "", 0, 1, 0, ()),
        Tap(
            "scores",
            "",
            "scores",
            "v",
            "r",
            "p",
            1,
            1,
            3,
            tuple(Field(6 * n, 6, True) for n in range(3)),
        ),
        Tap("best", "", "best", "v", "r", "p", 1, 1, 4, RESULT),
    )
    pixel = tuple(Field(2 * n, 2, False) for n in range(3))
    ports = Ports(
        network.digest,
        "0",
        "stream",
        "top",
        "clk",
        "rst",
        Port("s_axis", 8, 2, pixel),
        Port("m_axis", 24, 1, RESULT),
        "frame_error",
        2,
        7,
        taps,
    )
    return check_ports(Design(network, ports))


def beats(fields: tuple[Field, ...], rows: Int64Array, width: int) -> Beats:
    """Beats whose fields have these values, made bit by bit."""
    bits = np.zeros((len(rows), width), np.uint8)
    for n, row in enumerate(rows.tolist()):
        for field, value in zip(fields, row, strict=True):
            for bit in range(field.width):
                bits[n, field.offset + bit] = value % (1 << field.width) >> bit & 1
    return Beats(bits, np.zeros(len(rows), bool))


def images() -> Int64Array:
    """Codes that differ everywhere."""
    return np.random.default_rng(3).integers(0, 4, (IMAGES, 3, 1, 2))


def right() -> tuple[Design, dict[str, Int64Array], Recorded]:
    """A design, what the golden model says, and a recording without a fault."""
    one = design()
    codes = golden.run(one.network, images())
    pixels = codes["image"][:, :, 0].transpose(0, 2, 1).reshape(-1, 3)
    folded = np.pad(pixels, ((0, 0), (0, 1))).reshape(-1, 2)
    scores, best = codes["scores"].reshape(IMAGES, 3), codes["best"].reshape(IMAGES, 1)
    taps = one.ports.taps
    result = np.concatenate([best, scores], axis=1)
    recorded = Recorded(
        output=beats(RESULT, result, 24),
        lasts=np.ones(IMAGES, bool),
        cycles=np.array([10, 12, 14]),
        first_cycle=3,
        taken=2 * IMAGES,
        taps={
            "image": beats(taps[0].fields, folded, 4),
            "scores": beats(taps[2].fields, scores, 18),
            "best": beats(RESULT, result, 20),
        },
    )
    return one, codes, recorded


def check(recorded: Recorded, *, flat_out: bool = True) -> Comparison:
    """Compare a recording that may have a fault."""
    one, codes, _ = right()
    return compare(one, codes, recorded, images=IMAGES, flat_out=flat_out)


def flipped(stream: Beats, beat: int, bit: int) -> Beats:
    """The same beats but for one bit."""
    bits = stream.bits.copy()
    bits[beat, bit] ^= 1
    return replace(stream, bits=bits)


def cut(stream: Beats, count: int) -> Beats:
    """The first beats."""
    return Beats(stream.bits[:count], stream.unknown[:count])


def with_tap(recorded: Recorded, name: str, stream: Beats) -> Recorded:
    """The recording with another stream at a tap."""
    return replace(recorded, taps={**recorded.taps, name: stream})


def test_all_right() -> None:
    one, codes, recorded = right()
    result = compare(one, codes, recorded, images=IMAGES)
    assert result.right
    # image and flat: 6 values; scores at their tap, that of best and the output; best at both.
    assert {name: layer.compared for name, layer in result.layers.items()} == {
        "image": 6 * IMAGES,
        "flat": 6 * IMAGES,
        "scores": 9 * IMAGES,
        "best": 2 * IMAGES,
    }
    assert result.classes is not None
    assert result.classes.tolist() == codes["best"].reshape(-1).tolist()
    assert (result.intervals.tolist(), result.latency) == ([2, 2], 7)


def test_wrong_bit_in_fold() -> None:
    """Beat 3 of image 1 is the second fold of pixel 1: lane 0 is channel 2."""
    recorded = right()[2]
    result = check(with_tap(recorded, "image", flipped(recorded.taps["image"], 4 + 3, 1)))
    wanted = int(images()[1, 2, 0, 1])
    assert result.first == Difference("image", 1, 2, 0, 1, wanted, wanted ^ 2)
    assert {name: layer.mismatches for name, layer in result.layers.items()} == {
        "image": 1,
        "flat": 1,
        "scores": 0,
        "best": 0,
    }


def test_empty_lane_is_not_compared() -> None:
    recorded = right()[2]
    assert check(with_tap(recorded, "image", flipped(recorded.taps["image"], 1, 3))).right


def test_wrong_only_at_the_port() -> None:
    recorded = right()[2]
    result = check(replace(recorded, output=flipped(recorded.output, 2, 14)))
    assert result.first is not None
    assert (result.first.layer, result.first.image, result.first.channel, result.first.port) == (
        "scores",
        2,
        2,
        "m_axis",
    )
    assert result.mismatches == 1


def test_unknown_bits() -> None:
    recorded = right()[2]
    stream = recorded.taps["scores"]
    result = check(
        with_tap(recorded, "scores", replace(stream, unknown=np.array([False, True, False])))
    )
    assert result.first is not None
    assert (result.first.image, result.first.got, result.mismatches) == (1, "x", 3)


def test_missing_beats() -> None:
    recorded = right()[2]
    result = check(with_tap(recorded, "image", cut(recorded.taps["image"], 10)))
    assert result.first is not None
    assert (result.first.image, result.first.column, result.first.got) == (2, 1, "nothing")
    assert result.layers["image"].mismatches == 3
    assert "tap image: 12 beats needed, 10 came" in result.problems


def test_nothing_came() -> None:
    none = Beats(np.zeros((0, 0), np.uint8), np.zeros(0, bool))
    recorded = replace(
        right()[2], output=none, lasts=np.zeros(0, bool), cycles=np.zeros(0, np.int64), stuck=True
    )
    result = check(recorded)
    assert result.mismatches == 4 * IMAGES
    assert "It stands still after 6 of 6 input beats and 0 of 3 results" in result.problems


@pytest.mark.parametrize("stream", ["scores", "best", "m_axis"])
def test_surplus_beat(stream: str) -> None:
    recorded = right()[2]
    before = recorded.output if stream == "m_axis" else recorded.taps[stream]
    more = Beats(np.concatenate([before.bits, before.bits[:1]]), np.zeros(IMAGES + 1, bool))
    if stream == "m_axis":
        recorded = replace(
            recorded,
            output=more,
            lasts=np.ones(IMAGES + 1, bool),
            cycles=np.array([10, 12, 14, 16]),
        )
    else:
        recorded = with_tap(recorded, stream, more)
    result = check(recorded)
    assert result.mismatches > 0
    assert any("3 beats needed, 4 came" in problem for problem in result.problems)


def test_last_missing() -> None:
    recorded = replace(right()[2], lasts=np.array([True, False, True]))
    assert check(recorded).problems == ["m_axis: tlast must be 1 in beat 0 of image 1, not 0"]


def test_interval_wrong() -> None:
    recorded = replace(right()[2], cycles=np.array([10, 12, 15]))
    assert check(recorded).problems == ["The interval must be 2 cycles, image 2 came after 3"]
    assert check(recorded, flat_out=False).right


def test_latency_wrong() -> None:
    recorded = replace(right()[2], first_cycle=2)
    assert check(recorded).problems == ["The latency must be 7 cycles, not 8"]


def test_frame_error_and_breaches_are_told() -> None:
    recorded = replace(right()[2], frame_error=True, breaches=("conv1: valid fell",))
    assert check(recorded).problems == [
        "conv1: valid fell",
        "frame_error is set, all frames being whole",
    ]


def test_field_too_narrow() -> None:
    """The recording agrees with the golden model only where the field holds the value."""
    one, codes, recorded = right()
    narrow = replace(one.ports.taps[0], fields=(Field(0, 1, False), Field(2, 2, False)))
    one = Design(one.network, replace(one.ports, taps=(narrow, *one.ports.taps[1:])))
    result = compare(one, codes, recorded, images=IMAGES)
    assert result.problems == ["Layer image, lane 0: 1 unsigned bits do not hold 0..3"]
    assert result.mismatches > 0


def test_tap_missing() -> None:
    one, codes, recorded = right()
    one = Design(one.network, replace(one.ports, taps=one.ports.taps[:2] + one.ports.taps[3:]))
    result = compare(one, codes, recorded, images=IMAGES)
    assert result.problems == ["Layer scores has no tap in ports.json"]


def test_nothing_compared_is_not_right() -> None:
    one, _, recorded = right()
    assert not compare(one, {}, recorded, images=IMAGES).right


def test_classes_without_argmax() -> None:
    """The lowest index wins a tie."""
    one, codes, recorded = right()
    output = replace(one.ports.output, fields=one.ports.output.fields[1:])
    one = Design(one.network, replace(one.ports, output=output))
    bits = recorded.output.bits.copy()
    bits[0, 2:] = 0
    result = compare(
        one, codes, replace(recorded, output=Beats(bits, recorded.output.unknown)), images=IMAGES
    )
    assert result.classes is not None
    assert result.classes.tolist() == [0, *codes["best"].reshape(-1)[1:].tolist()]


def test_merge_adds_up() -> None:
    recorded = right()[2]
    bad = check(with_tap(recorded, "image", flipped(recorded.taps["image"], 0, 0)))
    both = merge(check(recorded), bad)
    assert (both.compared, both.mismatches, both.first) == (
        2 * bad.compared,
        bad.mismatches,
        bad.first,
    )
