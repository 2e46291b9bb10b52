"""Images through a board, and what the golden model says of the same images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import datasets, netfile
from hwgen.boards.board import MODULES
from hwgen.boards.design import Axis, Design, Lane, Streams, read_design, read_streams
from hwgen.boards.host import PATIENCE, WINDOW, Link, close_quietly, open_line
from hwgen.boards.protocol import (
    BAUD,
    ENGINES,
    TRAILER_BYTES,
    VERSION,
    Identity,
    link_rate,
)
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_json
from hwgen.layers import Int64Array
from hwgen.network import Network
from hwgen.progress import Progress, silent
from hwgen.sim import golden
from hwgen.sim.vectors import check_images

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm")
BATCH = 256


def run_board(
    directory: Path,
    *,
    board: str,
    port: str,
    data: str,
    images: int | None = None,
    check: bool = False,
    baud: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Send images to a board and write ``run.json`` into the design's folder.

    Parameters
    ----------
    directory : Path
        The design that the board was loaded with.
    board, port : str
        Name of the board; its serial port, or a URL of pyserial.
    data : str
        A picture, or a DATA argument, of which the test images are taken.
    images : int, optional
        How many of DATA, from the first on; all by default.
    check : bool
        Compare every value of every answer with the golden model's.
    baud : int, optional
        By default what bitstream.json says, or 1,000,000.

    Returns: what run.json holds: digest, board, port, images, checked, mismatches (values that
    differ; None if not checked), first_difference {image, value, expected, got} or None, accuracy
    (where there are labels), cycles {least, most}, seconds, images_per_second (of the cable and
    the board together), link_images_per_second, resent, faults, clock_mhz, labels, classes (of
    each image, where the network has them), scores (of the first image).
    Raises: HwgenError if an input is wrong, the port cannot be opened, or the board does not
    answer or holds another network.
    """
    directory = Path(directory)
    if board not in MODULES:
        raise HwgenError(f"Board must be one of {', '.join(MODULES)}, not {board!r}")
    design, streams = read_design(directory), read_streams(directory)
    network = netfile.load(directory / "net.npz")
    if network.digest != design.digest:
        raise HwgenError(
            f"{directory / 'net.npz'}: digest {design.digest[:12]} of top.v needed, not "
            f"{network.digest[:12]}"
        )
    codes, labels = read_images(data, network, images)
    speed = _baud(directory, board, design) if baud is None else baud
    rate = link_rate(_bytes(streams.image), _bytes(streams.result), speed)
    line = open_line(port, speed)
    try:
        link = Link(line, port, patience=max(PATIENCE, 4 * WINDOW / rate))
        identity = link.identify()
        _check_identity(identity, design, streams, f"{board} on {port}", directory)
        start = time.monotonic()
        results = link.classify(
            pack(codes, streams.image),
            window=WINDOW if _keeps_up(streams) else 1,
            on_result=lambda done, total: progress("images", done, total),
        )
        seconds = time.monotonic() - start
    finally:
        close_quietly(line)
    values, cycles = unpack(results, streams.result, port)
    report = _report(network, streams.result.lanes, codes, labels, values, check)
    report = {
        "digest": design.digest, "board": board, "port": port, **report,
        "cycles": {"least": int(cycles.min()), "most": int(cycles.max())},
        "seconds": round(seconds, 3), "images_per_second": round(len(codes) / seconds, 1),
        "link_images_per_second": round(rate),
        "resent": link.resent, "faults": link.faults, "clock_mhz": identity.clock_khz / 1000,
    }
    write_json(directory / "run.json", report)
    return report


def read_images(
    data: str, network: Network, count: int | None
) -> tuple[Int64Array, npt.NDArray[np.int64] | None]:
    """Return the codes (N, C, H, W) of a picture or of DATA's test images, and labels if known.

    Raises: HwgenError if there are none, or they are not codes of the network's input.
    """
    if Path(data).suffix.lower() in PICTURES and ":" not in data:
        return check_images(network, _picture(Path(data), network)[None], data), None
    if ":" not in data and data != "digits":
        raise HwgenError(
            f"A picture ({', '.join(PICTURES)}) or DATA such as mnist:DIR is needed, not {data!r}"
        )
    loaded = datasets.load(data)
    return check_images(network, loaded.test_x[:count], data), loaded.test_y[:count]


def _picture(path: Path, network: Network) -> npt.NDArray[np.generic]:
    """A picture as (C, H, W) pixels, made grey or coloured as the network wants them."""
    from PIL import Image

    layer = network.input
    modes = {1: "L", 3: "RGB"}
    if layer.channels not in modes:
        raise HwgenError(f"{path}: a picture has 1 or 3 channels, the network {layer.channels}")
    if not path.is_file():
        raise HwgenError(f"{path}: a picture is needed, there is none")
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert(modes[layer.channels]))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise HwgenError(f"{path}: a whole picture needed ({error})") from error
    if pixels.shape[:2] != (layer.height, layer.width):
        raise HwgenError(
            f"{path}: {layer.width}x{layer.height} pixels needed, not "
            f"{pixels.shape[1]}x{pixels.shape[0]}"
        )
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _baud(directory: Path, board: str, design: Design) -> int:
    """What the bitstream in the folder was made for."""
    path = directory / "bitstream.json"
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict) or found.get("digest") != design.digest:
        return BAUD
    baud = found.get("baud")
    return baud if isinstance(baud, int) and found.get("board") == board else BAUD


def _check_identity(
    identity: Identity, design: Design, streams: Streams, where: str, directory: Path
) -> None:
    engine = ENGINES[streams.engine]
    if identity.version != VERSION or identity.engine != engine:
        raise HwgenError(
            f"{where}: protocol {VERSION} and engine {engine} needed, not "
            f"{identity.version} and {identity.engine}"
        )
    if identity.digest != design.digest:
        raise HwgenError(
            f"{where}: network {design.digest[:12]} of {directory} needed, the board holds "
            f"{identity.digest[:12]}: load the bitstream of `hwgen bitstream {directory}`"
        )
    sizes = [_bytes(streams.image), _bytes(streams.result)]
    if [identity.image_bytes, identity.result_bytes] != sizes:
        raise HwgenError(
            f"{where}: images and results of {sizes} bytes needed, the board has "
            f"{[identity.image_bytes, identity.result_bytes]}"
        )


def _keeps_up(streams: Streams) -> bool:
    """Results are not longer than images, so that they never queue up in the board."""
    return _bytes(streams.result) + TRAILER_BYTES <= _bytes(streams.image)


def _bytes(axis: Axis) -> int:
    return axis.bytes * axis.beats


def pack(codes: Int64Array, axis: Axis) -> list[bytes]:
    """Return the payload of each image, (N, C, H, W): its beats in raster order, least significant
    byte first."""
    count, channels = codes.shape[:2]
    pixels = codes.reshape(count, channels, -1)
    bits = np.zeros((count, pixels.shape[2], 8 * axis.bytes), np.uint8)
    for n, lane in enumerate(axis.lanes):
        for bit in range(lane.width):
            bits[:, :, lane.offset + bit] = pixels[:, n] >> bit & 1
    rows = np.packbits(bits.reshape(count, -1), axis=1, bitorder="little")
    return [row.tobytes() for row in rows]


def unpack(results: Sequence[bytes], axis: Axis, where: str) -> tuple[Int64Array, Int64Array]:
    """Return the values (N, beats, lanes) and the cycles (N,) of results.

    Raises: HwgenError if one has a wrong length or says that the engine lost count of its pixels.
    """
    size = axis.bytes * axis.beats
    values = np.zeros((len(results), axis.beats, len(axis.lanes)), np.int64)
    cycles = np.zeros(len(results), np.int64)
    for n, result in enumerate(results):
        if len(result) != size + TRAILER_BYTES:
            raise HwgenError(
                f"{where}: a result of {size + TRAILER_BYTES} bytes needed, not {len(result)}"
            )
        if result[-1]:
            raise HwgenError(f"{where}: image {n}: the engine lost count of its pixels")
        cycles[n] = int.from_bytes(result[size : size + 4], "little")
        for beat in range(axis.beats):
            word = int.from_bytes(result[beat * axis.bytes : (beat + 1) * axis.bytes], "little")
            values[n, beat] = [_value(word, lane) for lane in axis.lanes]
    return values, cycles


def _value(word: int, lane: Lane) -> int:
    value = word >> lane.offset & (1 << lane.width) - 1
    return value - (1 << lane.width) if lane.signed and value >> lane.width - 1 else value


def expected(network: Network, codes: Int64Array, lanes: Sequence[Lane]) -> Int64Array:
    """Return what the golden model says of images: (N, beats, lanes)."""
    output, scores = network.output.name, network.scores.name
    parts = []
    for start in range(0, len(codes), BATCH):
        found = golden.run(network, codes[start : start + BATCH], keep={output, scores})
        columns = [
            found[output][:, 0] if lane.name == "class"
            else found[scores][:, int(lane.name.removeprefix("score_"))]
            for lane in lanes
        ]
        parts.append(np.stack(columns, axis=-1).reshape(len(columns[0]), -1, len(lanes)))
    return np.concatenate(parts)


def _report(
    network: Network, lanes: Sequence[Lane], codes: Int64Array,
    labels: npt.NDArray[np.int64] | None, values: Int64Array, check: bool,
) -> dict[str, Any]:
    names = [lane.name for lane in lanes]
    classes = values[:, 0, names.index("class")] if "class" in names else None
    single = values.shape[1] == 1
    report: dict[str, Any] = {
        "images": len(codes), "checked": check, "mismatches": None, "first_difference": None,
        "accuracy": None,
        "classes": classes.tolist() if classes is not None and single else None,
        "labels": None if labels is None else labels.tolist(),
        "scores": [int(v) for name, v in zip(names, values[0, 0], strict=True) if name != "class"],
    }
    if classes is not None and labels is not None and single:
        report["accuracy"] = float(np.mean(classes == labels))
    if check:
        wanted = expected(network, codes, lanes)
        wrong = np.argwhere(wanted != values)
        report["mismatches"] = len(wrong)
        if len(wrong):
            image, beat, lane = wrong[0].tolist()
            report["first_difference"] = {
                "image": image, "beat": beat, "value": names[lane],
                "expected": int(wanted[image, beat, lane]), "got": int(values[image, beat, lane]),
            }
    return report
