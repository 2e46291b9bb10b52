"""The cocotb test bench that watches every layer: inside the simulator, one Python step a cycle.

The job file (JSON) says what to do: {clock, reset, out, seed, stalls, patience, grace, rest,
nets: [{input, output, frame_error, words, frames, reach, taps}]}, several networks in one top being
run side by side; ``rest`` is how many cycles nothing is sent after the reset, ``frames`` holds the
beats of each frame, one an image, and ``reach`` is that of the stalls. What was seen goes to files
beside it, to be compared outside: ``out`` (JSON), and the beats of each stream as lines of bits.
"""

from __future__ import annotations

import json
import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from hwgen.sim.monitors import Driver, Monitor, Pace, Signal, Sink
from hwgen.sim.trace import ENDS, SIGNALS, Trace


class Net:
    """One network of the top: its driver, its sink, and a monitor a stream."""

    def __init__(
        self, dut: Any, job: dict[str, Any], folder: Path, *, stalls: bool, seed: str
    ) -> None:
        source, sink = job["input"], job["output"]

        def pace(what: str, first: float) -> Pace:
            rng = random.Random(f"{seed} {what}") if stalls else None
            return Pace(rng, reach=job["reach"], first=first)

        self.job = job
        self.dut = dut
        self.driver = Driver(
            *(
                getattr(dut, f"{source['prefix']}_{name}")
                for name in ("tvalid", "tready", "tdata", "tlast")
            ),
            words=(folder / job["words"]).read_bytes(),
            size=source["bytes"],
            ends=frozenset(end - 1 for end in accumulate(job["frames"])),
            pace=pace("gaps", 1.0),
        )
        ready = getattr(dut, f"{sink['prefix']}_tready")
        self.output = Monitor(
            sink["prefix"],
            getattr(dut, f"{sink['prefix']}_tvalid"),
            ready,
            getattr(dut, f"{sink['prefix']}_tdata"),
            last=getattr(dut, f"{sink['prefix']}_tlast"),
            cycles=True,
        )
        self.taps = [
            Monitor(
                tap["layer"],
                *(
                    _signal(dut, tap["instance"], tap[name])
                    for name in ("valid", "ready", "payload")
                ),
            )
            for tap in job["taps"]
        ]
        self.trace = Trace({
            f"{end} {name}": getattr(dut, f"{job[end]['prefix']}_{name}")
            for end in ENDS for name in SIGNALS
        })
        self.wanted = len(job["frames"]) * sink["beats"]
        self.sink = Sink(
            self.output.valid,
            ready,
            pace=pace("stalls", 0.0),
            shy_from=self.wanted - sink["beats"],
        )
        self.moved = 0

    @property
    def done(self) -> bool:
        """True when all images went in and all results came out."""
        return self.driver.taken == self.driver.count and len(self.output.beats) >= self.wanted

    def drive(self) -> None:
        """Set the inputs of this cycle."""
        self.driver.drive()
        self.sink.drive()

    def sample(self, cycle: int) -> None:
        """See all streams at this edge."""
        self.trace.sample(cycle)
        moved = self.driver.sample(cycle)
        self.sink.sample()
        # Beats inside, or results beyond those wanted, are no progress: they may never end.
        moved |= self.output.sample(cycle) and len(self.output.beats) <= self.wanted
        for tap in self.taps:
            tap.sample(cycle)
        if moved:
            self.moved = cycle

    def report(self) -> dict[str, Any]:
        """Return what was seen, but for the beats."""
        error = self.job["frame_error"]
        monitors = [self.output, *self.taps]
        return {
            "first_cycle": self.driver.first_cycle,
            "taken": self.driver.taken,
            "done": self.done,
            "frame_error": str(getattr(self.dut, error).value) if error else "0",
            "output_cycles": self.output.cycles,
            "output_lasts": self.output.lasts,
            "breaches": [text for monitor in monitors for text in monitor.breaches],
            "trace": self.trace.windows,
            "breach_count": sum(monitor.breach_count for monitor in monitors),
        }


def _signal(dut: Any, instance: str, name: str) -> Signal:
    handle = dut
    for part in filter(None, instance.split(".")):
        handle = getattr(handle, part)
    signal: Signal = getattr(handle, name)
    return signal


async def _reset(dut: Any, clock: Signal, reset: Signal) -> None:
    reset.value = 1
    for _ in range(4):
        for level in (0, 1):
            clock.value = level
            await Timer(1, "step")
    reset.value = 0


@cocotb.test()  # type: ignore[untyped-decorator]
async def every_layer(dut: Any) -> None:
    """Send all images through all networks and record every beat of every stream."""
    path = Path(cocotb.plusargs["job"])
    job = json.loads(path.read_text())
    clock, reset = getattr(dut, job["clock"]), getattr(dut, job["reset"])
    nets = [
        Net(dut, net, path.parent, stalls=job["stalls"], seed=f"{job['seed']} {n}")
        for n, net in enumerate(job["nets"])
    ]
    await _reset(dut, clock, reset)
    step = Timer(1, "step")
    for _ in range(job["rest"]):
        for level in (0, 1):
            clock.value = level
            await step
    cycle, left = 0, job["grace"]
    images, told = sum(len(net["frames"]) for net in job["nets"]), -1
    while left and cycle - max(net.moved for net in nets) < job["patience"]:
        for net in nets:
            net.drive()
        clock.value = 0
        await step
        for net in nets:
            net.sample(cycle)
        clock.value = 1
        await step
        if all(net.done for net in nets):
            left -= 1
        cycle += 1
        if cycle % 256 == 0:
            done = sum(len(net.output.beats) // net.job["output"]["beats"] for net in nets)
            if done != told:
                print(f"progress {done} {images}", flush=True)
                told = done
    for n, net in enumerate(nets):
        for m, monitor in enumerate([net.output, *net.taps]):
            text = "".join(f"{beat}\n" for beat in monitor.beats)
            (path.parent / f"beats_{n}_{m}.txt").write_text(text, encoding="ascii")
    seen = {"cycles": cycle, "nets": [net.report() for net in nets]}
    Path(path.parent / job["out"]).write_text(json.dumps(seen))
