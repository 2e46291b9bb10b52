# amaranth: UnusedElaboratable=no
from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from hwgen.boards import bitstream
from hwgen.boards.bitstream import make_bitstream
from hwgen.boards.board import find_board
from hwgen.boards.targets import find_target
from hwgen.errors import HwgenError
from hwgen.tools import nextpnr
from tests.boards.designs import DIGEST, echo
from tests.boards.tiny import write_tiny_nfu

KEYS = {"digest", "board", "lut", "bram", "fmax_mhz", "clock_mhz", "images_per_second", "seconds",
        "sha256", "tools"}


def need(family: str) -> None:
    """Skip, by its name, where nextpnr for a family is missing."""
    try:
        nextpnr(family)
    except HwgenError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def built(build_once):
    """The smallest design for the iCEBreaker, placed once."""
    need("ice40")
    return build_once("icebreaker", lambda folder: make_bitstream(
        echo(folder), board="icebreaker", clock_mhz=17))


def test_report(built):
    report = json.loads((built / "bitstream.json").read_text())
    assert report.keys() >= KEYS
    assert (report["digest"], report["board"]) == (DIGEST, "icebreaker")
    assert report["clock_mhz"] == 16.875                   # 12 MHz * 45 / 32
    assert report["fmax_mhz"] >= report["clock_mhz"]
    assert report["images_per_second"] == 16_875_000 // 5
    assert report["link_images_per_second"] == 1_000_000 // (10 * (10 + 6 + 4))
    assert 0 < report["lut_engine"] < report["lut"] < 2000
    assert (report["dsp"], report["placed"]["SB_IO"]["used"] >= 2) == (0, True)


def test_bitstream(built):
    report = json.loads((built / "bitstream.json").read_text())
    path = built / "bitstream-icebreaker" / "icebreaker.bin"
    assert str(path) == report["file"]
    text = path.read_bytes()
    assert hashlib.sha256(text).hexdigest() == report["sha256"]
    assert text[:8].hex() == "ff0000ff7eaa997e"            # begins as iCE40 bitstreams do
    assert report["load"].endswith(str(path))
    assert not list(built.glob("*.partial"))


@pytest.mark.slow
def test_same_bytes(built, tmp_path):
    again = make_bitstream(echo(tmp_path), board="icebreaker", clock_mhz=17)
    assert again["sha256"] == json.loads((built / "bitstream.json").read_text())["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "board", ["icebreaker", "hx8k-evn", "tang-nano-9k", "ulx3s-12f", "orangecrab-25f", "ecpix5"]
)
def test_placed_twice(tmp_path, board):
    need(find_target(find_board(board).target).nextpnr)
    # With seed 1 the second placement on the Gowin chip is a sixth slower than the first.
    seed = 2 if board == "tang-nano-9k" else 1
    report = make_bitstream(echo(tmp_path), board=board, seed=seed)
    first = json.loads((tmp_path / f"bitstream-{board}" / "first" / "report.json").read_text())
    reached = min(clock["achieved"] for clock in first["fmax"].values())
    assert 0.75 * reached < report["clock_mhz"] <= 0.9 * reached
    assert report["fmax_mhz"] >= report["clock_mhz"]
    assert len((tmp_path / f"bitstream-{board}").glob(f"{board}.*").__next__().read_bytes()) > 9999


def test_project(tmp_path):
    """No tool of the vendor is wanted; the design's Verilog is in it as it is."""
    report = make_bitstream(echo(tmp_path), board="arty-a7")
    folder = tmp_path / "bitstream-arty-a7"
    assert report["sha256"] is report["fmax_mhz"] is report["lut"] is None
    assert 0 < report["lut_engine"] < 100
    assert report["clock_mhz"] == 50
    assert (folder / "engine.v").read_text() == (tmp_path / "top.v").read_text()
    assert "add_files \"engine.v\"" in (folder / "board.tcl").read_text()
    assert report["file"] == str(folder / "build_board.sh")
    assert report["load"].endswith(str(folder / "board.bit"))


class Fake:
    """Stands for the tools: what they would say of a design."""

    def __init__(self, monkeypatch, *fmax: float, lut: int = 100) -> None:
        self.fmax, self.clocks = list(fmax), []
        counts = {"lut": lut, "ff": 1, "carry": 0, "bram": 0, "dsp": 0}
        monkeypatch.setattr(bitstream, "map_design", lambda *arguments: counts)

        def place(job, step, folder):
            folder.mkdir()
            (folder / "board.bin").write_bytes(b"bits")
            self.clocks.append(float(step.output_hz) / 1e6)
            return {**counts, "fmax_mhz": self.fmax.pop(0), "placed": {}, "pack": []}

        monkeypatch.setattr(bitstream, "_place", place)


def test_no_place_found(tmp_path, monkeypatch):
    """What the placer says in the end, with the sizes that matter."""
    need("ice40")
    really = bitstream._run

    def run(command, folder):
        if command[0].startswith("nextpnr"):
            raise HwgenError("nextpnr failed: ERROR: Unable to find legal placement for cell 'a'")
        really(command, folder)

    monkeypatch.setattr(bitstream, "_run", run)
    with pytest.raises(HwgenError, match=r"icebreaker: the placer found no place for all of \d+ "
                       r"LUTs and \d+ flip-flops among 5280 and 5280: a smaller engine needed"):
        make_bitstream(echo(tmp_path), board="icebreaker", clock_mhz=17)


def test_clock_is_chosen(tmp_path, monkeypatch):
    fake = Fake(monkeypatch, 41.7, 38.0)
    said = []
    report = make_bitstream(echo(tmp_path), board="icebreaker",
                            progress=lambda *text: said.append(text))
    assert fake.clocks == [30.0, 37.5]                     # 90 % of 41.7 is 37.53
    assert (report["clock_mhz"], report["fmax_mhz"]) == (37.5, 38.0)
    assert [text for text, _, _ in said] == [
        "synthesis of the engine", "placement at 30.0 MHz", "placement at 37.5 MHz", "bitstream", ""
    ]


def test_clock_is_missed(tmp_path, monkeypatch):
    Fake(monkeypatch, 41.7, 37.4)
    with pytest.raises(HwgenError, match=r"37.50 MHz needed, the placed design reaches 37.40 MHz:"):
        make_bitstream(echo(tmp_path), board="icebreaker")
    assert not (tmp_path / "bitstream.json").exists()
    assert not (tmp_path / "bitstream-icebreaker").exists()


def test_too_slow_for_the_pll(tmp_path, monkeypatch):
    Fake(monkeypatch, 15.0)
    with pytest.raises(HwgenError, match="The PLL makes 16.125 MHz or more of .*, at most 13.5"):
        make_bitstream(echo(tmp_path), board="icebreaker")


@pytest.mark.parametrize(
    ("board", "lut", "there"), [("icebreaker", 5281, 5280), ("ulx3s-12f", 12001, 12000)]
)
def test_does_not_fit(tmp_path, monkeypatch, board, lut, there):
    Fake(monkeypatch, lut=lut)
    message = f"alone needs {lut} LUTs, {board} has {there}: hwgen rtl --fit {board} plans for it"
    with pytest.raises(HwgenError, match=message):
        make_bitstream(echo(tmp_path), board=board)


def test_no_plan_for_a_chip_of_unknown_room(tmp_path, monkeypatch):
    """--fit takes no Arty, so the refusal does not name it."""
    Fake(monkeypatch, lut=20801)
    with pytest.raises(HwgenError, match=r"alone needs 20801 LUTs, arty-a7 has 20800$"):
        make_bitstream(echo(tmp_path), board="arty-a7")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"board": "ulx4s"}, "Board must be one of ulx3s"),
        ({"clock_mhz": 0}, "Clock must be above 0 and up to 1000 MHz, not 0"),
        ({"clock_mhz": 15}, "The PLL makes 16.125 MHz or more of 12 MHz, at most 15.00 MHz needed"),
        ({"baud": 300}, "Baud must be from 9600 to 12000000, not 300"),
        ({"baud": 6_000_000}, "icebreaker: A bit must take from 6 to 800 cycles, not 5.0"),
        ({"seed": -1}, "Seed must be from 0 to 2147483647, not -1"),
    ],
)
def test_options_wrong(tmp_path, options, message):
    with pytest.raises(HwgenError, match=message):
        make_bitstream(echo(tmp_path), **{"board": "icebreaker", **options})


def test_another_engine(tmp_path):
    folder = echo(tmp_path)
    text = (folder / "ports.json").read_text().replace('"stream"', '"cpu"')
    (folder / "ports.json").write_text(text)
    with pytest.raises(HwgenError, match=r"an engine of stream, nfu needed, not cpu"):
        make_bitstream(folder, board="icebreaker")


def test_nfu_that_waits_for_a_host(tmp_path):
    folder = write_tiny_nfu(tmp_path / "host", streamed=False)
    with pytest.raises(HwgenError, match="hwgen rtl --engine nfu --ports stream makes it"):
        make_bitstream(folder, board="ulx3s")


def test_nfu_too_large(monkeypatch, tiny_nfu, tmp_path):
    """The LUTs needed and there; no plan of another engine is named."""
    folder = shutil.copytree(tiny_nfu, tmp_path / "nfu")
    Fake(monkeypatch, lut=8641)
    with pytest.raises(HwgenError, match=r"alone needs 8641 LUTs, tang-nano-9k has 8640$"):
        make_bitstream(folder, board="tang-nano-9k")


def test_image_too_large(tmp_path):
    folder = echo(tmp_path)
    ports = json.loads((folder / "ports.json").read_text())
    ports["input"]["beats"] = 65536
    (folder / "ports.json").write_text(json.dumps(ports))
    with pytest.raises(HwgenError, match="An image must have from 1 to 65535 bytes, not 65536"):
        make_bitstream(folder, board="icebreaker")
