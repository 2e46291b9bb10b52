# amaranth: UnusedElaboratable=no
"""What the whole board of test_top.py does not show: an engine that is slow, results of several
beats, two bytes a beat. The engine is played by the test."""

from __future__ import annotations

import binascii
import struct

import pytest
from amaranth.sim import Simulator

from hwgen.boards.link import Deframer
from hwgen.boards.protocol import Decoder, Frame, Identity, Kind, encode, link_rate
from hwgen.boards.shell import Beats, check_shell, make_shell
from tests.boards.device_model import answer, crc
from tests.boards.test_uart import line

CYCLES = 6
DIGEST = "5a" * 32


def image_frame(sequence: int, image: bytes) -> bytes:
    head = struct.pack("<BBH", 2, sequence, len(image))
    return (b"hg" + head + struct.pack("<I", binascii.crc32(head)) + image
            + struct.pack("<I", binascii.crc32(image)))


def play(text: bytes, *, results: list[list[int]], wait: int) -> tuple[list[int], list[int]]:
    """Bytes that the shell answers, and beats that enter the engine, which begins to give a result
    ``wait`` cycles after an image's last beat."""
    dut = make_shell(image=Beats(2, 3), result=Beats(2, 2), digest=DIGEST,
                     clock_hz=CYCLES * 1_000_000, baud=1_000_000, timeout_bytes=20)
    entered, levels, busy = [], [], [True]

    async def engine(ctx):
        for beats in results:
            while True:
                ctx.set(dut.s_axis_tready, 1)
                _, _, valid, data, last = await ctx.tick().sample(
                    dut.s_axis_tvalid, dut.s_axis_tdata, dut.s_axis_tlast)
                if valid:
                    entered.append(data | last << 16)
                if valid and last:
                    break
            ctx.set(dut.s_axis_tready, 0)
            await ctx.tick().repeat(wait)
            for n, beat in enumerate(beats):
                ctx.set(dut.m_axis_tvalid, 1)
                ctx.set(dut.m_axis_tdata, beat)
                ctx.set(dut.m_axis_tlast, n == len(beats) - 1)
                await ctx.tick().until(dut.m_axis_tready)
            ctx.set(dut.m_axis_tvalid, 0)
        busy[0] = False

    async def host(ctx):
        for level in [1] * 10 + line(text, CYCLES):
            ctx.set(dut.rx, level)
            levels.append(ctx.get(dut.tx))
            await ctx.tick()
        quiet = 0
        while busy[0] or quiet < 12 * CYCLES:
            levels.append(ctx.get(dut.tx))
            quiet = quiet + 1 if levels[-1] else 0
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(engine, background=True)
    simulator.add_testbench(host)
    simulator.run()
    got, place = [], 0
    while 0 in levels[place:]:
        start = levels.index(0, place)
        got.append(sum(levels[int(start + (n + 1.5) * CYCLES)] << n for n in range(8)))
        place = int(start + 9.5 * CYCLES)
    return got, entered


def test_several_beats_and_a_slow_engine():
    """The first image is in the engine, the second waits, the third is refused; then the results
    come, each with its own number."""
    images = [bytes(range(10 * n, 10 * n + 6)) for n in (1, 2, 3)]
    text = b"".join(image_frame(n + 1, image) for n, image in enumerate(images))
    results = [[0x1234, 0x8001], [0xFFFE, 0x0203]]
    got, entered = play(text, results=results, wait=3000)
    busy = answer(0x83, 3, bytes([7]))
    assert bytes(got[: len(busy)]) == busy
    rest = bytes(got[len(busy) :])
    size = 14 + 4 + 5
    for n, beats in enumerate(results):
        one = rest[n * size : (n + 1) * size]
        cycles = one[14:18]
        payload = struct.pack("<HH", *beats) + cycles + b"\x00"
        assert one == answer(0x82, n + 1, payload)
        assert int.from_bytes(cycles, "little") >= 3000 + 2
    assert len(rest) == 2 * size
    words = [struct.unpack("<HHH", image) for image in images[:2]]
    assert entered == [word | (place == 2) << 16 for image in words
                       for place, word in enumerate(image)]


@pytest.mark.parametrize(
    ("image", "message"),
    [(0, "from 1 to 65535 bytes, not 0"), (65536, "from 1 to 65535 bytes, not 65536")],
)
def test_image_wrong(image, message):
    with pytest.raises(ValueError, match=message):
        Deframer(image_bytes=image, timeout=100)


def test_timeout_wrong():
    with pytest.raises(ValueError, match="Timeout must be at least 1 cycle, not 0"):
        Deframer(image_bytes=1, timeout=0)


def test_result_too_long():
    with pytest.raises(ValueError, match="A result must have from 1 to 65530 bytes, not 65534"):
        check_shell(image=Beats(1, 1), result=Beats(2, 32767), clock_hz=6_000_000, baud=1_000_000)


# ---------------------------------------------------------------------------------------------
# The same frames in software


def test_encode():
    """Byte by byte, with the textbook's CRC."""
    head = bytes([2, 9, 3, 0])
    assert encode(Frame(Kind.IMAGE, 9, b"abc")) == b"hg" + head + crc(head) + b"abc" + crc(b"abc")
    head = bytes([1, 255, 0, 0])
    assert encode(Frame(Kind.IDENTIFY, 255)) == b"hg" + head + crc(head)


def test_crc_check_value():
    """The value that catalogues give for CRC-32/ISO-HDLC of 123456789."""
    assert crc(b"123456789") == (0xCBF43926).to_bytes(4, "little")


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_decoder_skips_what_is_damaged(piece):
    good, second = answer(0x82, 4, b"result"), answer(0x83, 5, b"\x02")
    text = b"noise hg hgh" + good[:-1] + b"\x00" + good + good[:8] + second + b"h" + good
    decoder, frames = Decoder(), []
    for start in range(0, len(text), piece):
        frames += decoder.feed(text[start : start + piece])
    whole = Frame(0x82, 4, b"result")
    assert frames == [whole, Frame(0x83, 5, b"\x02"), whole]
    assert decoder.damaged == 1


def test_a_frame_inside_a_damaged_one_is_found():
    inner = answer(0x82, 4, b"result")
    outer = answer(0x82, 3, inner + b"more")
    assert Decoder().feed(outer[:-1] + b"\xff" + bytes(20)) in (
        [Frame(0x82, 4, b"result")], [Frame(0x82, 3, inner + b"more")])
    damaged = outer[:-5] + bytes([outer[-5] ^ 1]) + outer[-4:]
    assert Decoder().feed(damaged) == [Frame(0x82, 4, b"result")]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(256, 0), "from 0 to 255 needed, not 256 and 0"),
        (Frame(1, -1), "from 0 to 255 needed, not 1 and -1"),
        (Frame(2, 0, bytes(65536)), "At most 65535 bytes can be sent, not 65536"),
    ],
)
def test_encode_wrong(frame, message):
    with pytest.raises(ValueError, match=message):
        encode(frame)


def test_identity():
    identity = Identity(1, 1, 64, 21, 48000, DIGEST)
    assert identity.pack() == bytes([1, 1, 64, 0, 21, 0, 0x80, 0xBB, 0, 0]) + b"\x5a" * 32
    assert Identity.unpack(identity.pack()) == identity
    with pytest.raises(ValueError, match="An identity of 42 bytes needed, not 41"):
        Identity.unpack(identity.pack()[:-1])


def test_link_rate():
    """An image of 64 bytes is 78 on the line, a result of 21 is 40: 780 us at 1 Mbaud."""
    assert link_rate(64, 21, 1_000_000) == pytest.approx(1 / 780e-6)
