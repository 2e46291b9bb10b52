"""The plan of a streaming engine: every layer as it will be built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, Layer
from hwgen.network import Network
from hwgen.ranges import Range
from hwgen.stream.beat import BeatFormat
from hwgen.stream.chip import ECP5, Chip
from hwgen.stream.dense_code import DenseCode
from hwgen.stream.pick_code import PickCode
from hwgen.stream.widen import MOST_PIXELS

DENSE = ("auto", "graph", "rom", "pick")


@dataclass(frozen=True)
class Options:
    """Choices of the user.

    Parameters
    ----------
    dense : "auto", "graph", "rom" or "pick"
        Form of the dense layers.
    interval : int or None
        Cycles an image may take; None: as many as the layers in front of the dense ones need.
    fifo_slack : int or None
        Beats a queue before a join gets beyond the fewest possible; None: as many as it takes for
        the stream never to be held up.
    pixels : int
        Pixels of the input that come in one cycle, side by side.
    digit : int or None
        Bits a cycle of the layers with windows that may be digit-serial, 0 for all bits at once;
        None: the fewest that keep up.
    chip : Chip
        What the memories and the limits are of.
    strict : bool
        Refuse a network with a layer that cannot keep up, instead of taking its fastest form.
    """

    dense: str = "auto"
    interval: int | None = None
    fifo_slack: int | None = None
    digit: int | None = None
    chip: Chip = ECP5
    strict: bool = False
    pixels: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.pixels <= MOST_PIXELS:
            raise HwgenError(f"pixels: from 1 to {MOST_PIXELS} a cycle needed, not {self.pixels}")
        if self.digit is not None and self.digit < 0:
            raise HwgenError(f"digit: 0 or more bits needed, not {self.digit}")
        if self.dense not in DENSE:
            raise HwgenError(f"dense: auto, graph, rom or pick needed, not {self.dense!r}")


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer as it will be built.

    Parameters
    ----------
    layer : Layer
    form : str
        See hwgen.stream.plan.
    formats : tuple of BeatFormat
        Of what comes from each source.
    format : BeatFormat
        Of the output.
    why : str
        The reason for the form, for people.
    unfold : bool
        The source's folds are gathered to whole pixels first.
    code : DenseCode, PickCode or None
        Of a layer in form rom or pick.
    fifos : tuple of int
        Depth of the queue at each source of a join, or in front of a layer that takes its pixels
        more evenly than they come, 0 for none: the fewest beats that do, until the engine is built
        and its latencies are known.
    digit : int
        Bits a cycle of a layer in serial form; 0 otherwise.
    unpack : BeatFormat or None
        The source, given a few channels at a time before the layer begins.
    """

    layer: Layer
    form: str
    formats: tuple[BeatFormat, ...]
    format: BeatFormat
    why: str
    unfold: bool = False
    code: DenseCode | PickCode | None = None
    fifos: tuple[int, ...] = ()
    digit: int = 0
    unpack: BeatFormat | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """All layers as they will be built, in the network's order."""

    network: Network
    ranges: Mapping[str, Range]
    layers: tuple[LayerPlan, ...]
    options: Options = field(default_factory=Options)

    def __getitem__(self, name: str) -> LayerPlan:
        return next(plan for plan in self.layers if plan.layer.name == name)

    @property
    def formats(self) -> dict[str, BeatFormat]:
        """Format of each layer's output."""
        return {plan.layer.name: plan.format for plan in self.layers}


def stream_order(format: BeatFormat) -> Int64Array:
    """Return which element of the tensor, in C, H, W order, each lane of each beat carries; -1 for
    none.

    Returns: (beats, lanes) int64.
    """
    beat, lane = np.arange(format.beats)[:, None], np.arange(format.lanes)[None, :]
    pixel, fold = beat // format.folds, beat % format.folds
    channel = fold * format.lanes + lane
    index = channel * (format.height * format.width) + pixel
    return np.where(channel < format.channels, index, -1)
