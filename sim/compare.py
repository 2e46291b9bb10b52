"""Recorded streams against the golden model's codes: how many values, how many differ, and the
first that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.layers import Int64Array
from hwgen.sim.design import Design
from hwgen.sim.ports import Field, Tap
from hwgen.sim.recorded import Beats, Recorded
from hwgen.sim.vectors import fits, unpack

OK, UNKNOWN, MISSING = 0, 1, 2
MOST = 20  # problems that are told one by one
NOTHING = int(np.iinfo(np.int64).min)  # in place of a result that did not come or was unknown


@dataclass(frozen=True)
class Difference:
    """One value that is not the golden model's.

    ``got`` is the value, or ``x`` (the simulator had none) or ``nothing`` (no such beat came).
    ``port`` is the output port if the layer's values are right up to there.
    """

    layer: str
    image: int
    channel: int
    row: int
    column: int
    expected: int
    got: int | str
    port: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``verify.json`` gives it."""
        plain = {
            name: getattr(self, name)
            for name in ("layer", "image", "channel", "row", "column", "expected", "got")
        }
        return {**plain, "port": self.port} if self.port else plain


@dataclass
class Layer:
    """Tally of one layer."""

    compared: int = 0
    mismatches: int = 0


@dataclass
class Comparison:
    """Tally of a run: of each layer, the first difference, and what else is wrong."""

    layers: dict[str, Layer]
    first: Difference | None = None
    problems: list[str] = field(default_factory=list)
    intervals: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    latency: int | None = None
    classes: Int64Array | None = None
    results: Int64Array | None = None  # (images, fields of the output port), or NOTHING

    @property
    def compared(self) -> int:
        """Values compared."""
        return sum(layer.compared for layer in self.layers.values())

    @property
    def mismatches(self) -> int:
        """Values that differ, are missing, or are too many."""
        return sum(layer.mismatches for layer in self.layers.values())

    @property
    def right(self) -> bool:
        """True if every value is equal and nothing else is wrong."""
        return self.mismatches == 0 and not self.problems and self.compared > 0


Codes = Mapping[str, Int64Array]


def compare(
    design: Design,
    golden: Codes,
    recorded: Recorded,
    *,
    images: int,
    first_image: int = 0,
    flat_out: bool = True,
    broken_frames: bool = False,
) -> Comparison:
    """Compare one run with the golden model.

    Parameters
    ----------
    golden : mapping
        Expected values by layer, (N, C, H, W) int64 of at least ``first_image + images`` images;
        layers that it lacks are not compared.
    recorded : Recorded
        Of images ``first_image ..``.
    flat_out : bool
        There were no gaps and no stalls, so interval and latency must be those that ports.json
        states.
    broken_frames : bool
        A frame was too short or too long, so frame_error must be set; it must not be otherwise.

    Returns: the tally. Beats that are missing or too many count as mismatches.
    """
    result = Comparison(
        {layer.name: Layer() for layer in design.network.layers if layer.name in golden}
    )
    part = {name: codes[first_image : first_image + images] for name, codes in golden.items()}
    taps = {tap.layer: tap for tap in design.ports.taps}
    if recorded.taps:
        for name in result.layers:
            tap = taps.get(name)
            while tap is not None and tap.alias:
                tap = taps.get(tap.alias)
            if tap is None:
                result.problems.append(f"Layer {name} has no tap in ports.json")
            else:
                _tap(result, tap, name, part, recorded.taps[tap.layer], first_image)
    _output(result, design, part, recorded, images, first_image)
    _rules(result, design, recorded, images, broken_frames)
    if flat_out:
        _timing(result, design, recorded)
    return result


def _tap(
    result: Comparison, tap: Tap, name: str, golden: Codes, beats: Beats, first_image: int
) -> None:
    """Compare a tap whose lanes are a layer's channels, or that of a layer that shares its stream.
    """
    expected, own = golden[name], golden[tap.layer]
    if tap.layer == name:
        _count(result, name, f"tap {name}", len(beats), len(own) * tap.beats, tap.lanes)
    if tap.fields[0].layer:
        _named(result, tap.fields, golden, beats, first_image, "", tap.pixels)
        return
    lanes = tap.fields[: tap.lanes]
    got, state = _tensor(beats, lanes, len(own), tap.folds, own.shape, tap.pixels)
    _values(
        result,
        name,
        expected,
        got.reshape(expected.shape),
        state.reshape(expected.shape),
        first_image,
        "",
    )
    if tap.layer == name:
        channels = own.shape[1]
        for n, lane in enumerate(lanes):
            carried = np.unique(np.arange(n, channels * tap.pixels, tap.lanes) % channels)
            _fits(result, f"Layer {name}, lane {n}", own[:, carried], lane)


def _named(
    result: Comparison,
    fields: Sequence[Field],
    golden: Codes,
    beats: Beats,
    first_image: int,
    port: str,
    pixels: int = 1,
) -> None:
    """Compare beats whose fields say themselves which channel of which layer they carry."""
    for lane in fields:
        if lane.layer not in golden:
            continue
        channel = slice(lane.channel, lane.channel + 1)
        expected = golden[lane.layer][:, channel, :, lane.pixel :: pixels]
        got, state = _tensor(beats, [lane], len(expected), 1, expected.shape)
        _values(result, lane.layer, expected, got, state, first_image, port, lane, pixels)
        _fits(result, f"{port or 'Tap'}, {lane.name}", expected, lane)


def _fits(result: Comparison, where: str, values: Int64Array, lane: Field) -> None:
    if not fits(values, lane):
        kind = "signed" if lane.signed else "unsigned"
        result.problems.append(
            f"{where}: {lane.width} {kind} bits do not hold {values.min()}..{values.max()}"
        )


def _tensor(
    beats: Beats, lanes: Sequence[Field], images: int, folds: int, shape: tuple[int, ...],
    pixels: int = 1,
) -> tuple[Int64Array, npt.NDArray[np.int64]]:
    """Return beats as an (N, C, H, W) tensor, and beside it whether each value came and was known.
    """
    _, channels, height, width = shape
    wanted = images * height * (width // pixels) * folds
    bits = np.zeros(
        (wanted, max(beats.bits.shape[1], max(f.offset + f.width for f in lanes))), np.uint8
    )
    count = min(wanted, len(beats))
    bits[:count, : beats.bits.shape[1]] = beats.bits[:count]
    state = np.full(wanted, MISSING)
    state[:count] = np.where(beats.unknown[:count], UNKNOWN, OK)
    got = unpack(bits, lanes, folds=folds, channels=channels, height=height, width=width,
                 pixels=pixels)
    fold = np.arange(channels * pixels) // len(lanes)
    states = state.reshape(images, height, width // pixels, folds)[..., fold]
    return got, states.reshape(images, height, width, channels).transpose(0, 3, 1, 2)


def _values(
    result: Comparison,
    name: str,
    expected: Int64Array,
    got: Int64Array,
    state: npt.NDArray[np.int64],
    first_image: int,
    port: str,
    field: Field | None = None,
    pixels: int = 1,
) -> None:
    wrong = (got != expected) | (state != OK)
    layer = result.layers[name]
    layer.compared += expected.size
    layer.mismatches += int(wrong.sum())
    if result.first is None and wrong.any():
        # The earliest in time: image, row, column, then channel.
        image, row, column, lane = (int(n) for n in np.argwhere(wrong.transpose(0, 2, 3, 1))[0])
        at = (image, lane, row, column)
        words: dict[int, int | str] = {OK: int(got[at]), UNKNOWN: "x", MISSING: "nothing"}
        result.first = Difference(
            name,
            first_image + image,
            lane if field is None else field.channel,
            row,
            column if field is None else column * pixels + field.pixel,
            int(expected[at]),
            words[int(state[at])],
            port,
        )


def _output(
    result: Comparison,
    design: Design,
    golden: Codes,
    recorded: Recorded,
    images: int,
    first_image: int,
) -> None:
    port, beats = design.ports.output, recorded.output
    name = next((lane.layer for lane in port.fields if lane.layer in golden), "")
    _count(result, name, port.prefix, len(beats), images * port.beats, len(port.fields))
    _named(result, port.fields, golden, beats, first_image, port.prefix, port.pixels)
    if port.beats == 1:
        votes: dict[int, Int64Array] = {}
        results = []
        for lane in port.fields:
            got, state = _tensor(beats, [lane], images, 1, (images, 1, 1, 1))
            votes[-1 if lane.name == "class" else lane.channel] = np.where(
                state == OK, got, -1
            ).reshape(-1)
            results.append(np.where(state == OK, got, NOTHING).reshape(-1))
        result.classes, result.results = _classes(votes), np.stack(results, axis=1)


def _classes(votes: Mapping[int, Int64Array]) -> Int64Array | None:
    """Class of each image: what the hardware says, or the largest of its scores, the lowest index
    in a tie.
    """
    if not votes or -1 in votes:
        return votes.get(-1)
    classes: Int64Array = np.stack([votes[n] for n in sorted(votes)]).argmax(axis=0)
    return classes


def _count(result: Comparison, name: str, where: str, came: int, wanted: int, lanes: int) -> None:
    """Tell of beats that are missing, which differ anyway, or too many, which count here."""
    if came != wanted:
        result.problems.append(f"{where}: {wanted} beats needed, {came} came")
        if name in result.layers:
            result.layers[name].mismatches += lanes * max(came - wanted, 0)


def _rules(
    result: Comparison, design: Design, recorded: Recorded, images: int, broken_frames: bool
) -> None:
    port = design.ports.output
    result.problems += recorded.breaches
    if recorded.frame_error != broken_frames:
        result.problems.append(
            "frame_error is not set, a frame being broken" if broken_frames
            else "frame_error is set, all frames being whole"
        )
    if recorded.stuck:
        result.problems.append(
            f"It stands still after {recorded.taken} of {images * design.ports.input.beats} "
            f"input beats and {len(recorded.output)} of {images * port.beats} results"
        )
    wanted = np.arange(len(recorded.lasts)) % port.beats == port.beats - 1
    if (wrong := np.flatnonzero(recorded.lasts != wanted)).size:
        beat = int(wrong[0])
        result.problems.append(
            f"{port.prefix}: tlast must be {int(wanted[beat])} in beat {beat % port.beats} of "
            f"image {beat // port.beats}, not {int(recorded.lasts[beat])}"
        )
    del result.problems[MOST:]


def _timing(result: Comparison, design: Design, recorded: Recorded) -> None:
    """Measure cycles between the ends of images, and from the first beat in to the end of the first
    image.
    """
    ports = design.ports
    ends = recorded.cycles[ports.output.beats - 1 :: ports.output.beats]
    if not len(ends):
        return
    result.latency = int(ends[0]) - recorded.first_cycle
    if ports.latency is not None and result.latency != ports.latency:
        result.problems.append(f"The latency must be {ports.latency} cycles, not {result.latency}")
    result.intervals = np.diff(ends)
    if (wrong := np.flatnonzero(result.intervals != ports.interval)).size:
        image = int(wrong[0]) + 1
        result.problems.append(
            f"The interval must be {ports.interval} cycles, image {image} came after "
            f"{result.intervals[image - 1]}"
        )


def merge(first: Comparison, second: Comparison) -> Comparison:
    """Return the tally of two runs of one design, the earlier first."""
    layers = {name: Layer() for name in {**first.layers, **second.layers}}
    for part in (first, second):
        for name, layer in part.layers.items():
            layers[name].compared += layer.compared
            layers[name].mismatches += layer.mismatches
    classes = [part.classes for part in (first, second) if part.classes is not None]
    results = [part.results for part in (first, second) if part.results is not None]
    return Comparison(
        layers,
        first.first or second.first,
        list(dict.fromkeys(first.problems + second.problems)),
        np.concatenate([first.intervals, second.intervals]),
        second.latency if first.latency is None else first.latency,
        np.concatenate(classes) if classes else None,
        np.concatenate(results) if results else None,
    )
