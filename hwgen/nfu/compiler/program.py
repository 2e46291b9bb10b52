"""A whole network compiled: instructions, packed weights, the memory map.

    0              program            64 bytes an instruction
    ...            constants          taps, weights, finishing parameters, tables
    ...            the input          once for each way in which it is read
    ...            results            of every task

Every region begins at a multiple of 64 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import ArgMax, Concat, Conv2d, Dense, Flatten, Input, Int64Array, Layer
from hwgen.network import Network
from hwgen.nfu.compiler import tiling
from hwgen.nfu.compiler.arrange import Arranged, arrange
from hwgen.nfu.compiler.jobs import JobMaker
from hwgen.nfu.compiler.memory import aligned, share_memory
from hwgen.nfu.compiler.merge import merged
from hwgen.nfu.compiler.pairs import Paired, all_paired, unpaired_places
from hwgen.nfu.compiler.pieces import Blob, Piece, Shape
from hwgen.nfu.compiler.plan import Plan, joined_jobs, refine
from hwgen.nfu.compiler.schedule import Scheduler
from hwgen.nfu.compiler.tasks import Task, Term, tasks_of
from hwgen.nfu.compiler.views import (
    Fold,
    Region,
    View,
    flattened,
    folded_view,
    joined,
    natural_tiles,
    stored_view,
)
from hwgen.nfu.config import Config
from hwgen.nfu.isa import INSTRUCTION_BYTES, Instruction
from hwgen.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class TaskReport:
    """What became of one task: the layer it stores, its shape, tiles of filters, steps of a pixel
    over all tiles, cycles of the array, products of the layer, first instruction and one behind the
    last.
    """

    layer: str
    shape: Shape
    tiles: int
    steps: int
    work: int
    products: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled network.

    Parameters
    ----------
    config : Config
    digest : str
        Of the network.
    instructions : tuple of Instruction
        With their addresses.
    image : bytes
        Memory from address 0: program and constants.
    weights : bytes
        Lines of SB that are there from the start; none if they are among the constants.
    inputs, results : tuple of Region
        Where images go, and where each layer's integers are afterwards.
    size : int
        Bytes of memory in all.
    tasks : tuple of TaskReport
    constants : mapping of buffer name to bytes
    """

    config: Config
    digest: str
    instructions: tuple[Instruction, ...]
    image: bytes
    inputs: tuple[Region, ...]
    results: tuple[Region, ...]
    size: int
    tasks: tuple[TaskReport, ...]
    constants: dict[str, int]
    weights: bytes = b""

    def pack_input(self, image: Int64Array) -> list[tuple[int, bytes]]:
        """Return (address, bytes) of an image, (C, H, W) codes, for each input region."""
        flat = np.append(image.reshape(-1), 0)
        mask = (1 << self.config.act_bits) - 1
        kind = "<u1" if self.config.act_bits == 8 else "<u2"
        return [(region.address, (flat[region.gather] & mask).astype(kind).tobytes())
                for region in self.inputs]

    def unpack(self, region: Region, raw: bytes) -> tuple[Int64Array, Int64Array]:
        """Return what a result region holds: flat places of the layer's tensor, and their values.

        Codes come without their sign's meaning: as unsigned numbers of act_bits.
        """
        bits = self.config.act_bits
        stored = np.frombuffer(raw, "<u1" if bits == 8 else "<u2").astype(np.int64)
        stored = stored.reshape(region.tiles, region.height, region.width, self.config.tn)
        if region.kind == "class":
            return np.arange(region.height * region.width), (
                stored[0, :, :, 0] + (stored[0, :, :, 1] << bits)).reshape(-1)
        pieces = stored.reshape(-1, region.pieces, *stored.shape[1:])
        weight = np.int64(1) << bits * np.arange(region.pieces)
        total = (pieces * weight[:, None, None, None]).sum(axis=1)
        here = region.gather >= 0
        return region.gather[here], total[here]

    def values(self, region: Region, raw: bytes, lo: int) -> tuple[Int64Array, Int64Array]:
        """Return places and integers of a result; lo, least value of codes, tells signed ones."""
        places, found = self.unpack(region, raw)
        bits = self.config.act_bits * region.pieces
        if region.kind == "raw" or lo < 0:
            found = np.where(found >> bits - 1, found - (np.int64(1) << bits), found)
        return places, found


def compile_network(network: Network, config: Config, *, fold: bool = True, sort: bool = True,
                    pair: bool = True, progress: Progress = silent) -> Program:
    """Compile a network for an NFU.

    Parameters
    ----------
    fold : bool
        Spread the taps of a first layer of few channels over the lanes; the image is then stored
        window by window.
    sort : bool
        Sort filters by their kernels' supports.
    pair : bool
        Keep tensors of few channels as pairs of columns; not for multipliers.

    Raises: HwgenError naming the layer and the reason if the network cannot run.
    """
    rounds: list[Mapping[str, Paired]] = []
    changed = network
    if pair and not config.multipliers:
        changed, rounds = all_paired(network, config.tn)
    edged = frozenset(name for names in rounds for name, how in names.items() if how.phase)
    program = _Compiler(changed, config, fold, sort, progress, edged, network).run()
    if config.streamed and len(program.inputs) > 1:       # pixels come once, by one window
        return compile_network(network, config, fold=False, sort=sort, pair=pair,
                               progress=progress)
    for region in program.results:
        for names in reversed(rounds):
            if region.layer in names:
                region.gather = unpaired_places(region.gather, names[region.layer])
    return replace(program, digest=network.digest)


def arranged_first(network: Network, config: Config, *, fold: bool = True,
                   sort: bool = True) -> Arranged:
    """Return the first task of a network with its filters in tiles, no further compiled."""
    compiler = _Compiler(network, config, fold, sort, silent)
    return compiler.arranged(tasks_of(network)[0])


class _Compiler:
    def __init__(self, network: Network, config: Config, fold: bool, sort: bool,
                 progress: Progress, edged: frozenset[str] = frozenset(),
                 original: Network | None = None) -> None:
        self.edged = edged
        self.original = original or network
        self.network, self.config, self.progress = network, config, progress
        self.fold, self.sort = fold, sort
        self.tasks: dict[str, Task] = {}
        self.views: dict[str, View] = {}
        self.inputs: dict[object, View] = {}
        self.results: list[Region] = []
        self.scheduler = Scheduler(config)

    def run(self) -> Program:
        """Compile."""
        self._codes_fit()
        self.tasks = {task.title: task for task in tasks_of(self.network)}
        plans: list[Plan] = []
        for n, layer in enumerate(self.network.layers):
            self.progress("compiling", n, len(self.network.layers))
            if layer.name in self.tasks:
                plans.append(self._task(self.tasks[layer.name]))
            elif isinstance(layer, Flatten):
                self.views[layer.name] = flattened(self._view(layer.source))
            elif isinstance(layer, Concat):
                self.views[layer.name] = joined([self._view(name) for name in layer.sources])
        refine(plans, self.config)
        self.scheduler = Scheduler(self.config)
        jobs, begins = joined_jobs(plans)
        starts = self.scheduler.add(jobs, begins)
        self.scheduler.end()
        stops = [*starts[1:], len(self.scheduler.code)]
        return self._program([self._report(*one) for one in zip(plans, starts, stops, strict=True)],
                             plans, self.scheduler.weights(jobs))

    def _codes_fit(self) -> None:
        bits = self.config.act_bits
        for layer in self.network.layers:
            tensor = self.network.tensors[layer.name]
            if tensor.lo is None or tensor.hi is None or isinstance(layer, ArgMax):
                continue
            least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if tensor.lo < 0 else (
                0, (1 << bits) - 1)
            if tensor.lo < least or tensor.hi > most:
                raise layer.error("lo, hi", f"codes of {bits} bits", f"{tensor.lo}..{tensor.hi}")

    # --- one task -------------------------------------------------------------------------------

    def _view(self, name: str) -> View:
        """Return the view of a layer's codes; the Input in its natural order, made when needed."""
        layer = self.network.by_name[name]
        if isinstance(layer, Input) and name not in self.views:
            tensor = self.network.tensors[name]
            view = stored_view(name, tensor, natural_tiles(tensor.channels, self.config.tn),
                               self.config.tn)
            self.views[name] = view
            self.inputs["natural"] = view
        return self.views[name]

    def arranged(self, task: Task, reader: Int64Array | None = None) -> Arranged:
        """Return a task with its filters in tiles. Parameters: reader, as of ``arrange``."""
        terms, views = [], []
        for term in task.terms:
            folded = self._folded(task, term)
            terms.append(folded[0] if folded else term)
            views.append(folded[1] if folded else self._view(term.source))
        if not self.config.multipliers:
            terms, views = merged(terms, views)
        task = replace(task, terms=tuple(terms))
        return arrange(task, views, self.config, sort=self.sort, halves=task.stored in self.edged,
                       reader=reader)

    def _reader(self, task: Task) -> Int64Array | None:
        """Return the order of the channels of a later task that adds the result of this one as it
        is to convolutions of what is already there; None if there is no such task.
        """
        for other in self.tasks.values():
            rest = tuple(term for term in other.terms if term.source != task.stored)
            added = [term for term in other.terms if term.source == task.stored]
            if (len(added) == 1 and added[0].weight is None and added[0].kernel == (1, 1)
                    and any(term.weight is not None for term in rest)
                    and all(term.source in self.views for term in rest)):
                order = np.concatenate(self.arranged(replace(other, terms=rest)).tiles)
                return order[order >= 0]
        return None

    def _task(self, task: Task) -> Plan:
        arranged = self.arranged(task, self._reader(task))
        maker = JobMaker(arranged, *self._regions(arranged.task, arranged))
        plan = Plan(maker, tiling.best_shapes(maker, self.scheduler),
                    self._products(task))
        self.scheduler.add(plan.jobs)
        return plan

    def _report(self, plan: Plan, start: int, stop: int) -> TaskReport:
        arranged = plan.maker.arranged
        steps = sum(len(part) for tile in arranged.steps for part in tile)
        return TaskReport(arranged.task.title, plan.shape, len(arranged.tiles), steps,
                          sum(job.work for job in plan.jobs), plan.products, start, stop)

    def _products(self, task: Task) -> int:
        """Products of weights that are not zero, for one image (pools and additions have none)."""
        total = 0
        for term in task.terms:
            layer = self.original.by_name[term.layer.name]
            if isinstance(layer, (Conv2d, Dense)):
                tensor = self.original.tensors[layer.name]
                total += int(np.count_nonzero(layer.weight)) * tensor.height * tensor.width
        return total

    def _regions(self, task: Task, arranged: Arranged
                 ) -> tuple[Region | None, Region | None, Region | None]:
        """Return the regions of a task's codes, accumulators and classes."""
        network, config = self.network, self.config
        if task.finish is not None:
            view = stored_view(task.stored, network.tensors[task.stored], arranged.tiles, config.tn)
            view = replace(view, edged=task.stored in self.edged)
            self.views[task.stored] = view
            return self._result(view.parts[0].region), None, None
        raw = classes = None
        if task.keep:
            pieces = -(-config.acc_bits // config.act_bits)
            view = stored_view(task.name, task.tensor, arranged.tiles, config.tn, "raw", pieces)
            raw = self._result(view.parts[0].region)
        if task.argmax is not None:
            height, width = task.tensor.height, task.tensor.width
            gather = np.full((1, height, width, config.tn), -1, np.int64)
            gather[0, :, :, 0] = np.arange(height * width).reshape(height, width)
            classes = self._result(Region(task.argmax.name, "class", 1, height, width, gather))
        return None, raw, classes

    def _result(self, region: Region) -> Region:
        self.results.append(region)
        return region

    def _folded(self, task: Task, term: Term) -> tuple[Term, View] | None:
        """Return a first layer's term as one of 1x1 kernels over folded taps, if that is less."""
        layer: Layer = self.network.by_name[term.source]
        if not (self.fold and isinstance(layer, Input) and isinstance(term.layer, Conv2d)
                and term.weight is not None and term.groups == 1):
            return None
        tn = self.config.tn
        taps = [tap for tap in term.taps if term.weight[:, :, tap[0], tap[1]].any()]
        if not taps or -(-len(taps) * layer.channels // tn) >= (
                len(taps) * -(-layer.channels // tn)):
            return None
        key = Fold(term.kernel, tuple(taps), term.stride, term.padding, term.dilation)
        if key not in self.inputs:
            self.inputs[key] = folded_view(
                layer.name, self.network.tensors[layer.name], task.tensor.height,
                task.tensor.width, tn, key)
        weight = np.concatenate([term.weight[:, :, r, s] for r, s in taps], axis=1)
        return Term(term.layer, term.source, weight[:, :, None, None]), self.inputs[key]

    # --- memory ---------------------------------------------------------------------------------

    def _program(self, reports: list[TaskReport], plans: list[Plan], weights: bytes) -> Program:
        code, config = self.scheduler.code, self.config
        blobs = {id(blob): blob for _, blob in code if isinstance(blob, Blob)}
        end = aligned(len(code) * INSTRUCTION_BYTES)
        places: dict[int, int] = {}
        chunks: list[tuple[int, bytes]] = []
        constants: dict[str, int] = {"program": len(code) * INSTRUCTION_BYTES}
        for buffer in sorted({blob.buffer for blob in blobs.values()}):
            for key, blob in blobs.items():
                if blob.buffer is buffer:
                    places[key] = end
                    chunks.append((end, blob.data))
                    end = aligned(end + len(blob.data))
                    name = buffer.name.lower()
                    constants[name] = constants.get(name, 0) + len(blob.data)
        image_end = end
        inputs = [view.parts[0].region for view in self.inputs.values()]
        if weights:
            constants["sb"] = len(weights)
        if config.streamed:
            end = share_memory([*inputs, *self.results], plans, self._read_out(), end, config)
        else:
            for region in [*inputs, *self.results]:
                region.address = end
                end = aligned(end + region.words * config.word_bytes)
        if end >= 1 << 31:
            raise HwgenError(f"A network that needs less than 2**31 bytes needed, not {end}")
        finished = tuple(self._addressed(one, source, places) for one, source in code)
        image = bytearray(image_end)
        for n, instruction in enumerate(finished):
            image[n * INSTRUCTION_BYTES : (n + 1) * INSTRUCTION_BYTES] = instruction.encode()
        for start, data in chunks:
            image[start : start + len(data)] = data
        return Program(config, self.network.digest, finished, bytes(image), tuple(inputs),
                       tuple(self.results), end, tuple(reports), constants, weights)

    def _read_out(self) -> list[Region]:
        """Return the regions in which the network's result is."""
        names = {self.network.output.name, self.network.scores.name}
        for name in list(names):
            while isinstance(layer := self.network.by_name[name], Flatten):
                name = layer.source
                names.add(name)
        return [region for region in self.results if region.layer in names]

    def _addressed(self, one: Instruction, source: Piece | Blob | None,
                   places: dict[int, int]) -> Instruction:
        if source is None:
            return one
        if isinstance(source, Blob):
            address = places[id(source)]
        else:
            first = (source.tile * source.height + source.row) * source.width + source.column
            address = source.region.address + first * self.config.word_bytes
        return Instruction(one.op, {**one.values, "address": address})
