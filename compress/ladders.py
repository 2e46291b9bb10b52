"""The steps that a search may take: for each layer and each method a ladder, a little more done at
each rung.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from hwgen.compress.choices.ternary import TernaryChoice
from hwgen.compress.choices.treatment import Coder, State, Treatment
from hwgen.compress.importers import graph as g
from hwgen.compress.methods.periodic import BLOCKS, Supports, Variant, stays_dense
from hwgen.compress.stages import rewrite
from hwgen.compress.stages.build import Stages

BASES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)
TAPS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.36, 0.3, 0.25, 0.2, 0.16, 0.12, 0.08, 0.04)
VARIANTS = ("PSD4_P16", "PSD2_P8", "PSD2_P16", "PSD1_P8", "PSD1_P16", "PS1_P9")
SETS = ("Q16", "Q8", "Q4", "P9", "P7", "P5", "T3")
PRUNE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


class Axis(Enum):
    """What a step changes; the value names it in progress and errors."""

    BASIS = "linear-features"
    TAPS = "lower-kernel"
    VARIANT = "periodic"
    CODER = "dyadic or ternary"
    PRUNE = "prune"


@dataclass(frozen=True)
class Move:
    """A ladder: of one layer, or (prune, no layer) of the whole network."""

    axis: Axis
    layer: str | None


class Ladders:
    """All ladders of a plan: those of the methods whose amount it leaves open.

    Parameters
    ----------
    stages : Stages
        Whose plan it is.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages, self._plan = stages, stages.plan
        self._graph = stages.calibrated.graph
        self._ternary = self._plan.ternary_layers(stages.names)
        first = [node.name for node in self._graph.nodes if isinstance(node, g.Conv)]
        self._first = first[0] if first else None

    def start(self) -> State:
        """Return the foot of all ladders; what the plan fixes is done already."""
        state, plan = self._stages.start(), self._plan
        lower, ternary = plan.lower_kernel, plan.ternary
        for name, old in state.treatments:
            new = old
            if plan.linear_features and plan.linear_features.basis is None:
                new = replace(new, basis=None)
            if lower and lower.taps is None and lower.loss is None:
                new = replace(new, loss=None)
            if plan.periodic and plan.periodic.variant is None:
                new = replace(new, variant=None)
            if ternary is None or not ternary.layers or name not in ternary.layers:
                new = replace(new, coder=self._dyadic[0])
            state = state.with_(name, new)
        return state

    def moves(self) -> tuple[Move, ...]:
        """Return all ladders that have a rung."""
        every = [Move(axis, name) for name in self._stages.names for axis in Axis]
        every = [move for move in every if move.axis is not Axis.PRUNE]
        start = self.start()
        every.append(Move(Axis.PRUNE, None))
        return tuple(move for move in every if next(self.rungs(start, move), None) is not None)

    def rungs(self, state: State, move: Move) -> Iterator[State]:
        """Yield the states further up a ladder, the nearest first."""
        if move.layer is None:
            ternary = self._plan.ternary
            for share in PRUNE if ternary is not None and ternary.prune is None else ():
                if share > state.prune:
                    yield replace(state, prune=share)
            return
        node = self._graph.by_name[move.layer]
        old = state.of(move.layer)
        steps = {
            Axis.BASIS: self._basis,
            Axis.TAPS: self._taps,
            Axis.VARIANT: self._variant,
            Axis.CODER: self._coder,
        }
        for new in steps[move.axis](node, old):
            yield state.with_(move.layer, new)

    def between(self, state: State, beyond: State, move: Move) -> State | None:
        """Return the state half-way up to one that was too far; None where there are no halves."""
        if move.layer is None:
            return replace(state, prune=(state.prune + beyond.prune) / 2)
        old, far = state.of(move.layer), beyond.of(move.layer)
        if move.axis is Axis.BASIS and far.basis is not None:
            share = ((old.basis or 1.0) + far.basis) / 2
            return state.with_(move.layer, replace(old, basis=share))
        if move.axis is Axis.TAPS and far.taps is not None:
            share = ((old.taps or 1.0) + far.taps) / 2
            return state.with_(move.layer, replace(old, taps=share))
        return None

    def _basis(self, node: g.Node, old: Treatment) -> Iterator[Treatment]:
        choice = self._plan.linear_features
        if choice is None or choice.basis is not None or not rewrite.can_split(node):
            return
        if self._stages.allows(choice, node.name):
            for share in BASES:
                if share < (old.basis or 1.0):
                    yield replace(old, basis=share)

    def _taps(self, node: g.Node, old: Treatment) -> Iterator[Treatment]:
        choice = self._plan.lower_kernel
        if choice is None or choice.taps is not None or choice.loss is not None:
            return
        if not isinstance(node, g.Conv) or not choice.sides_for(*node.weight.shape[2:]):
            return
        if self._stages.allows(choice, node.name):
            for share in TAPS:
                if share < (old.taps or 1.0):
                    yield replace(old, taps=share)

    def _variant(self, node: g.Node, old: Treatment) -> Iterator[Treatment]:
        choice = self._plan.periodic
        if choice is None or choice.variant is not None or not isinstance(node, g.Conv):
            return
        kh, kw = node.weight.shape[2:]
        if stays_dense(first=node.name == self._first, kh=kh, kw=kw):
            return
        if not self._stages.allows(choice, node.name):
            return
        places = kh * kw
        most = old.variant.mean_taps(places) if old.variant else places
        for name in VARIANTS:
            variant = Variant.parse(name)
            high, wide = BLOCKS[variant.taps]
            fits = choice.supports is Supports.ENERGY or (high <= kh and wide <= kw)
            if fits and variant.taps <= places and variant.mean_taps(places) < most:
                yield replace(old, variant=variant)

    @property
    def _dyadic(self) -> list[Coder]:
        """From the finest to the coarsest set."""
        choice = self._plan.dyadic
        if not self._plan.dyadic_named:
            return [self._plan.fixed().dyadic]
        if choice.set_name is not None or choice.extra.spends:
            return [choice]
        return [replace(choice, set_name=name) for name in SETS]

    def _coder(self, node: g.Node, old: Treatment) -> Iterator[Treatment]:
        ladder = self._dyadic
        ternary = self._plan.fixed().ternary
        if isinstance(old.coder, TernaryChoice):
            return
        if ternary is not None and not ternary.layers and node.name in self._ternary:
            ladder = [*ladder, ternary]
        place = ladder.index(old.coder) if old.coder in ladder else 0
        for coder in ladder[place + 1 :]:
            yield replace(old, coder=coder)
