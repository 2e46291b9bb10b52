"""Runs one stream component in Amaranth's simulator: a driver, a monitor, and the stream rule
checked.

Driver and monitor are separate processes, each with gaps of its own. A seed of None runs flat out;
any other draws gaps on both sides and holds the first result back until it is offered, so that a
component whose ``valid`` waits for ``ready`` stands still. While nothing is offered the payload is
noise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth import Cat, Module, ResetInserter, Shape, Signal
from amaranth.lib import data
from amaranth.sim import Simulator

Beat = tuple[int, ...]
SEEDS = (None, 0, 1)
PATIENCE = 4  # cycles that the first result is left standing, with gaps
AFTER = 12  # cycles watched after the last result, for one too many


class StreamFault(AssertionError):
    """A stream broke its rule, gave too much, or stood still."""


@dataclass
class Port:
    """One stream: handshake and payload as values, and the shape of each of its fields, lowest
    first."""

    valid: Any
    ready: Any
    payload: Any
    shapes: list[Shape]

    def pack(self, beat: Sequence[int]) -> int:
        """Return the fields side by side, the first lowest."""
        assert len(beat) == len(self.shapes), (beat, self.shapes)
        word, offset = 0, 0
        for value, shape in zip(beat, self.shapes, strict=True):
            least = -(1 << shape.width - 1) if shape.signed else 0
            assert least <= value < least + (1 << shape.width), (value, shape)
            word |= (value & (1 << shape.width) - 1) << offset
            offset += shape.width
        return word

    def unpack(self, word: int) -> Beat:
        """Return the fields of a word, each with its sign."""
        beat = []
        for shape in self.shapes:
            value = word & (1 << shape.width) - 1
            beat.append(
                value - (1 << shape.width) if shape.signed and value >> shape.width - 1 else value
            )
            word >>= shape.width
        return tuple(beat)


def port(stream: Any) -> Port:
    """Return a stream interface as a port."""
    payload = stream.payload
    layout = payload.shape()
    if isinstance(layout, data.Layout):
        fields = sorted((place for _, place in layout), key=lambda place: place.offset)
        return Port(
            stream.valid, stream.ready, payload.as_value(), [Shape.cast(f.shape) for f in fields]
        )
    return Port(stream.valid, stream.ready, payload, [Shape.cast(layout)])


def axis_in(dut: Any, shapes: Sequence[Shape], prefix: str = "") -> Port:
    """Return an AXI4-Stream input as a port whose last field is tlast."""
    return _axis(dut, shapes, prefix)


def axis_out(dut: Any, shapes: Sequence[Shape], prefix: str = "") -> Port:
    """Return an AXI4-Stream output as a port whose last fields are the filling, if any, and
    tlast."""
    return _axis(dut, shapes, prefix)


def _axis(dut: Any, shapes: Sequence[Shape], prefix: str) -> Port:
    tdata, tvalid, tready, tlast = (
        getattr(dut, f"{prefix}t{name}") for name in ("data", "valid", "ready", "last")
    )
    fill = len(tdata) - sum(shape.width for shape in shapes)
    return Port(tvalid, tready, Cat(tdata, tlast), [*shapes, *[Shape(fill)] * (fill > 0), Shape(1)])


@dataclass
class Times:
    """Cycles: when each input beat was taken, each output beat first offered, and taken."""

    taken: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)


@dataclass
class Source:
    """Beats to send into a port; None in their place is a cycle of reset. Then: when each was
    taken."""

    port: Port
    beats: Sequence[Sequence[int] | None]
    taken: list[int] = field(default_factory=list)


@dataclass
class Sink:
    """How many beats must come out of a port. Then: those that came, and when; anew after a
    reset."""

    port: Port
    count: int
    found: list[Beat] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)


def run(
    dut: Any,
    beats: Sequence[Sequence[int] | None],
    count: int,
    *,
    seed: int | None = None,
    i: Port | None = None,
    o: Port | None = None,
    **options: Any,
) -> tuple[list[Beat], Times]:
    """Send beats through a component with one input and one output stream.

    Parameters: dut; beats, the fields of each, or None for a cycle of reset; count, how many beats
    must come out; seed, of the gaps, None for none; i and o, ports if they are not ``dut.i`` and
    ``dut.o``; options as for ``exchange``. Returns: the beats that came, and when. Raises:
    StreamFault.
    """
    source, sink = Source(i or port(dut.i), beats), Sink(o or port(dut.o), count)
    exchange(dut, [source], [sink], seed=seed, **options)
    return sink.found, Times(source.taken, sink.offered, sink.given)


def exchange(
    dut: Any,
    sources: Sequence[Source],
    sinks: Sequence[Sink],
    *,
    seed: int | None = None,
    limit: int | None = None,
    watch: Sequence[Port] = (),
    pace: float = 0.6,
    rest: int = 0,
) -> list[list[Beat]]:
    """Run until every source has given and every sink has taken its beats, and ``AFTER`` cycles
    more.

    Parameters: limit, cycles after which a beat that has not gone or come is a fault; watch, inner
    streams whose beats are recorded; pace, share of cycles without a gap; rest,
    cycles before the first beat.
    Returns: the beats that passed each watched port. Raises: StreamFault.
    """
    if limit is None:
        limit = 500 + 40 * (
            sum(len(one.beats) for one in sources) + sum(one.count for one in sinks)
        )
    top, reset = Module(), Signal(name="reset")
    top.submodules.dut = ResetInserter(reset)(dut)
    top.d.sync += Signal(name="kept").eq(1)  # a clock, even if the component has none
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    seen: list[list[Beat]] = [[] for _ in watch]
    for n, source in enumerate(sources):
        simulator.add_testbench(_driver(source, reset, seed, n, pace, limit, rest))
    for n, sink in enumerate(sinks):
        simulator.add_testbench(_monitor(sink, reset, seed, n, pace, limit))
    for inner, beats in zip(watch, seen, strict=True):
        simulator.add_testbench(_watcher(inner, reset, beats), background=True)
    simulator.run()
    return seen


def _driver(
    source: Source, reset: Signal, seed: int | None, n: int, pace: float, limit: int, rest: int
) -> Any:
    chance = random.Random(f"driver {seed} {n}")
    link, width = source.port, sum(shape.width for shape in source.port.shapes)

    async def drive(ctx):
        cycle = 0

        async def idle(resetting=0):
            nonlocal cycle
            ctx.set(link.valid, 0)
            ctx.set(link.payload, chance.getrandbits(width) if width else 0)
            ctx.set(reset, resetting)
            await ctx.tick()
            ctx.set(reset, 0)
            cycle += 1

        for _ in range(rest):
            await idle()
        for beat in source.beats:
            while seed is not None and chance.random() > pace:
                await idle()
            if beat is None:
                await idle(resetting=1)
                continue
            ctx.set(link.payload, link.pack(beat))
            ctx.set(link.valid, 1)
            ready = False
            while not ready:
                _, _, ready = await ctx.tick().sample(link.ready)
                if cycle > limit:
                    raise StreamFault(f"Beat {len(source.taken)} not taken in {limit} cycles")
                cycle += 1
            source.taken.append(cycle - 1)
        await idle()

    return drive


def _monitor(sink: Sink, reset: Signal, seed: int | None, n: int, pace: float, limit: int) -> Any:
    chance = random.Random(f"monitor {seed} {n}")
    link = sink.port

    def waits(ctx, ready):
        """Whether ``valid`` depends on ``ready`` in this very cycle."""
        ctx.set(link.ready, not ready)
        before = ctx.get(link.valid)
        ctx.set(link.ready, ready)
        return before != ctx.get(link.valid)

    async def watch(ctx):
        held, standing, after = None, 0, 0
        cycle = -1
        while after < AFTER:
            cycle += 1
            ready = seed is None or chance.random() < pace
            if seed is not None and not sink.found and standing < PATIENCE:
                ready = False
            if waits(ctx, ready):
                raise StreamFault(f"Cycle {cycle}: valid waits for ready")
            _, _, valid, word, cleared = await ctx.tick().sample(link.valid, link.payload, reset)
            if held is not None and not valid:
                raise StreamFault(f"Cycle {cycle}: valid went away before the beat was taken")
            if held is not None and word != held:
                raise StreamFault(
                    f"Cycle {cycle}: payload changed from {held:#x} to {word:#x} before it was "
                    "taken"
                )
            if valid and held is None:
                sink.offered.append(cycle)
            standing += bool(valid)
            held = word if valid and not ready else None
            if valid and ready:
                sink.found.append(link.unpack(word))
                sink.given.append(cycle)
            if cleared:
                held, standing = None, 0
                for record in (sink.found, sink.offered, sink.given):
                    record.clear()
            if len(sink.found) >= sink.count:
                after += 1
            if cycle > limit:
                raise StreamFault(f"{len(sink.found)} beats in {limit} cycles, not {sink.count}")
        if len(sink.found) != sink.count:
            raise StreamFault(f"{len(sink.found)} beats, not {sink.count}")

    return watch


def _watcher(link: Port, reset: Signal, beats: list[Beat]) -> Any:
    async def watch(ctx):
        samples = ctx.tick().sample(link.valid, link.ready, link.payload, reset)
        async for _, _, valid, ready, word, cleared in samples:
            if cleared:
                beats.clear()
            elif valid and ready:
                beats.append(link.unpack(word))

    return watch
