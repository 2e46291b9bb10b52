"""The whole of a board but its pins and clock, with a UART of cocotbext at the other end.

What is sent and expected is made here, from the page docs/host_link.md, not with the code that is
tested: frames with ``binascii``, results with the golden model.
"""

from __future__ import annotations

import binascii
import json
import random
import struct
from dataclasses import dataclass

import numpy as np
import pytest

from hwgen import tools
from hwgen.boards.design import read_design, read_streams
from hwgen.boards.top import Core, core_verilog
from hwgen.sim import golden
from hwgen.sim.build import Simulator, Source, build, run
from hwgen.sim.vectors import random_images
from tests.boards.tiny import tiny_network

BAUD = 1_000_000
PERIOD_NS = 137                 # 7.3 cycles a bit: the bits' edges drift against the clock
TIMEOUT_BYTES = 4
QUIET_NS = 80_000
LENGTH = 18
IMAGES = 20


def frame(kind: int, sequence: int, payload: bytes = b"", length: int | None = None) -> bytes:
    header = struct.pack("<BBH", kind, sequence, len(payload) if length is None else length)
    text = b"hg" + header + struct.pack("<I", binascii.crc32(header))
    return text + payload + struct.pack("<I", binascii.crc32(payload)) if payload else text


def answers(text: bytes) -> list[tuple[int, int, bytes]]:
    """(kind, sequence, payload) of frames one behind the other, each of them whole and right."""
    found = []
    while text:
        kind, sequence, length = struct.unpack("<BBH", text[2:6])
        payload = text[10 : 10 + length]
        whole = frame(kind, sequence, payload)
        assert text.startswith(whole), text.hex()
        found.append((kind, sequence, payload))
        text = text[len(whole) :]
    return found


def flipped(text: bytes, bit: int) -> bytes:
    value = int.from_bytes(text, "little") ^ (1 << bit)
    return value.to_bytes(len(text), "little")


@dataclass(frozen=True)
class Case:
    """Bytes on the line, and the error answers (sequence, code) that are expected, in order."""

    send: bytes
    errors: tuple[tuple[int, int], ...] = ()
    low_ns: int = 0


def cases() -> dict[str, Case]:
    rng = random.Random(5)
    image = bytes(rng.randrange(256) for _ in range(LENGTH))
    good = frame(2, 77, image)
    noise = bytes(rng.choice(b"h\x00\xff\x02\xa5") for _ in range(60)) + b"gg\x00g"
    header, body = 8 * 10, 8 * len(good)
    return {
        "synchronisation flipped": Case(flipped(good, 3)),
        "kind flipped": Case(flipped(good, 16), ((0, 1),)),
        "sequence flipped": Case(flipped(good, 25), ((0, 1),)),
        "length flipped": Case(flipped(good, 45), ((0, 1),)),
        "header's check flipped": Case(flipped(good, header - 1), ((0, 1),)),
        "first pixel flipped": Case(flipped(good, header), ((77, 2),)),
        "last pixel flipped": Case(flipped(good, body - 33), ((77, 2),)),
        "payload's check flipped": Case(flipped(good, body - 1), ((77, 2),)),
        "truncated, silence": Case(good[:-1], ((77, 5),)),
        "truncated, a frame behind": Case(good[:-9] + frame(2, 78, image), ((77, 2),)),
        "a byte too many inside": Case(good[:20] + b"\x55" + good[20:], ((77, 2),)),
        "too long": Case(frame(2, 79, bytes(400)), ((79, 3),)),
        "longest": Case(frame(2, 80, bytes(40), length=65535), ((80, 3),)),
        "one byte short": Case(frame(2, 81, image[:-1]), ((81, 3),)),
        "empty image": Case(frame(2, 82), ((82, 3),)),
        "identify with a payload": Case(frame(1, 83, b"?"), ((83, 3),)),
        "unknown request": Case(frame(9, 84, image), ((84, 4),)),
        "an answer as a request": Case(frame(0x82, 85, image), ((85, 4),)),
        "noise": Case(noise),
        "synchronisation as noise": Case(b"hghg" + noise[:8], ((0, 1),)),
        "half a synchronisation": Case(b"\x00h"),
        "stops in the header": Case(good[:6], ((0, 5),)),
        "stops in the payload": Case(good[:17], ((77, 5),)),
        "glitch": Case(b"", low_ns=300),
        "break": Case(b"", low_ns=25_000),
        "zeros": Case(bytes(30)),
        "ones": Case(b"\xff" * 30),
    }


CASES = cases()


@pytest.fixture(scope="module")
def images():
    return random_images(tiny_network(), IMAGES, seed=3)


def pixels(image: np.ndarray) -> bytes:
    """Channel 0 in the first byte of each beat, channel 1 in the second."""
    return image.transpose(1, 2, 0).astype(np.uint8).tobytes()


@pytest.fixture(scope="module",
                params=["stream", pytest.param("nfu", marks=pytest.mark.slow)])
def came(build_once, tmp_path_factory, images, request):
    """What the board answered to each step, and its ports.json, from one build and one run of each
    engine.
    """
    engine = request.param
    design = request.getfixturevalue("tiny_design" if engine == "stream" else "tiny_nfu")
    simulator = Simulator.ICARUS if tools.find_icarus() else Simulator.VERILATOR
    if simulator is Simulator.VERILATOR:
        tools.verilator_environment()

    def make(folder):
        core = Core(
            design=read_design(design), streams=read_streams(design), baud=BAUD,
            clock_hz=round(1e9 / PERIOD_NS), timeout_bytes=TIMEOUT_BYTES,
        )
        (folder / "board.v").write_text(core_verilog(core))

    folder = build_once(f"board_top_{engine}", make)
    ports = json.loads((design / "ports.json").read_text())
    source = Source(
        (folder / "board.v", design / "top.v"), "board", read=(("board", "tx"),),
        write=("clk", "rst", "rx"),
    )
    built = build(source, simulator, folder / "sim")
    tmp = tmp_path_factory.mktemp("board_top")
    run(built, module="tests.boards.link_bench", folder=tmp, log=tmp / "sim.log",
        plusargs={"job": write_job(tmp, images, QUIET_NS + PERIOD_NS * ports["latency"])})
    found = json.loads((tmp / "came.json").read_text())
    return {name: answers(bytes.fromhex(text)) for name, text in found.items()}, ports


def write_job(tmp, images, quiet_ns):
    steps = [("identify", frame(1, 200), 0)]
    steps += [(f"image {n}", frame(2, n, pixels(image)), 0) for n, image in enumerate(images)]
    together = [frame(2, 100 + n, pixels(image)) for n, image in enumerate(images[:8])]
    steps.append(("without a pause", b"".join(together), 0))
    both = frame(1, 9) + frame(2, 10, pixels(images[0])) + frame(1, 11)
    steps.append(("identify around an image", both, 0))
    for n, (name, case) in enumerate(CASES.items()):
        steps.append((name, case.send, case.low_ns))
        steps.append((f"{name}, next", frame(2, n, pixels(images[n % IMAGES])), 0))
    (tmp / "job.json").write_text(json.dumps({
        "out": str(tmp / "came.json"), "period_ns": PERIOD_NS, "baud": BAUD, "quiet_ns": quiet_ns,
        "steps": [{"name": name, "send": send.hex(), "low_ns": low} for name, send, low in steps],
    }))
    return tmp / "job.json"


def result(image: np.ndarray, ports: dict) -> bytes:
    """Payload of a result, without its trailer: golden values, put where ports.json says."""
    out = golden.run(tiny_network(), image[None], keep={"class", "dense"})
    values = [int(out["class"][0, 0, 0, 0]), *(int(v) for v in out["dense"][0, :, 0, 0])]
    total = 0
    for value, lane in zip(values, ports["output"]["fields"], strict=True):
        total |= (value & (1 << lane["width"]) - 1) << lane["offset"]
    return total.to_bytes(-(-ports["output"]["bits"] // 8), "little")


def right(answer, sequence: int, image: np.ndarray, ports: dict) -> None:
    kind, number, payload = answer
    assert (kind, number) == (0x82, sequence)
    assert payload[:-5] == result(image, ports)
    cycles, status = struct.unpack("<IB", payload[-5:])
    assert (cycles, status) == (ports["latency"], 0)


def test_identity(came):
    found, ports = came
    [(kind, sequence, payload)] = found["identify"]
    assert (kind, sequence) == (0x81, 200)
    engine = {"stream": 1, "nfu": 2}[ports["engine"]]
    assert struct.unpack("<BBHHI32s", payload) == (
        1, engine, LENGTH, ports["output"]["bits"] // 8, round(1e6 / PERIOD_NS),
        bytes.fromhex(tiny_network().digest),
    )


@pytest.mark.parametrize("number", range(IMAGES))
def test_image(came, images, number):
    found, ports = came
    [answer] = found[f"image {number}"]
    right(answer, number, images[number], ports)


def test_images_without_a_pause(came, images):
    found, ports = came
    assert len(found["without a pause"]) == 8
    for n, answer in enumerate(found["without a pause"]):
        right(answer, 100 + n, images[n], ports)


def test_identify_around_an_image(came, images):
    found, ports = came
    first, second, third = found["identify around an image"]
    assert (first[:2], third[:2]) == ((0x81, 9), (0x81, 11))
    right(second, 10, images[0], ports)


@pytest.mark.parametrize("name", CASES)
def test_fault(came, images, name):
    """An error answer (or none, where nothing had begun), and the next image is right."""
    found, ports = came
    errors = [(0x83, sequence, bytes([code])) for sequence, code in CASES[name].errors]
    assert found[name] == errors
    number = list(CASES).index(name)
    [answer] = found[f"{name}, next"]
    right(answer, number, images[number % IMAGES], ports)


def test_results_differ(came):
    """The images are not all of one class, so a result that is stuck would be seen."""
    found, _ = came
    assert len({found[f"image {n}"][0][2] for n in range(IMAGES)}) > IMAGES // 2
