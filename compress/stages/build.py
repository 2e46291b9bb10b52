"""All steps together: what is done to each layer, to a network of integers.

A step of a layer is computed once for each treatment, so that a search may ask for thousands of
networks that differ in a layer each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from hwgen.compress import quantised
from hwgen.compress.calibrate import Format, Statistics
from hwgen.compress.choices.linear_features import LinearFeaturesChoice
from hwgen.compress.choices.plan import NONE, Plan
from hwgen.compress.choices.treatment import State, Treatment
from hwgen.compress.importers import graph as g
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes
from hwgen.compress.methods.checks import BoolArray, FloatArray
from hwgen.compress.methods.dyadic import Result
from hwgen.compress.stages import coding, rewrite, support
from hwgen.compress.stages.support import Support
from hwgen.errors import HwgenError
from hwgen.network import Network

Linear = g.Conv | g.Dense
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A float network and what calibration saw of it.

    Parameters
    ----------
    graph : Graph
        Simplified.
    input_codes : Format
        Of the raw image.
    statistics : Statistics
    covariances : mapping of name to float64 array, (groups, N, N)
        Of what each layer's weights meet; layers may be missing.
    """

    graph: g.Graph
    input_codes: Format
    statistics: Statistics
    covariances: Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Built:
    """A network of integers, and what it was made from.

    Parameters
    ----------
    network : Network
    graph : Graph
        Float, with exact weights, in the layers that the network has.
    statistics : Statistics
        Of that graph.
    supports : mapping of name to Support
        The weights before coding.
    results : mapping of name to Result
        Integer weights.
    treatments : mapping of name to Treatment
        Of each of the graph's layers with weights.
    """

    network: Network
    graph: g.Graph
    statistics: Statistics
    supports: Mapping[str, Support]
    results: Mapping[str, Result]
    treatments: Mapping[str, Treatment]


class Stages:
    """The steps of a plan for one network.

    Parameters
    ----------
    calibrated : Calibrated
    plan : Plan
        Its options; how much of each method a layer gets is in the State.
    options : LowerOptions
    seed : int
        Of supports that are drawn.

    Raises: HwgenError, one line, if the plan names layers that the network does not have.
    """

    def __init__(
        self, calibrated: Calibrated, plan: Plan, *, options: LowerOptions, seed: int = 0
    ) -> None:
        self.calibrated, self.plan, self.options, self.seed = calibrated, plan, options, seed
        self.names = tuple(node.name for node in linear_nodes(calibrated.graph))
        self._first = next(
            (n.name for n in calibrated.graph.nodes if isinstance(n, g.Conv)), None
        )
        self._made: dict[Any, Any] = {}
        self._check_names()

    # --- what a plan says of each layer

    def start(self) -> State:
        """Return what the plan does where nothing is searched."""
        plan = self.plan.fixed()
        linear, lowered, sparse = plan.linear_features, plan.lower_kernel, plan.periodic
        ternary = plan.ternary_layers(self.names)
        treatments = []
        for name in self.names:
            treatments.append(
                (
                    name,
                    Treatment(
                        linear.basis if linear and self.allows(linear, name) else None,
                        lowered.taps if lowered and self.allows(lowered, name) else None,
                        lowered.loss if lowered and self.allows(lowered, name) else None,
                        sparse.variant if sparse and self.allows(sparse, name) else None,
                        plan.ternary if plan.ternary and name in ternary else plan.dyadic,
                    ),
                )
            )
        return State(tuple(treatments), (plan.ternary.prune or 0.0) if plan.ternary else 0.0)

    def allows(self, choice: Any, name: str) -> bool:
        """Return whether a method may touch a layer, by the names that its choice gives."""
        return not choice.layers or name in choice.layers

    def _check_names(self) -> None:
        plan = self.plan
        for choice in (plan.linear_features, plan.lower_kernel, plan.periodic, plan.ternary):
            if choice is None or choice.layers == NONE:
                continue
            for name in choice.layers:
                if name not in self.names:
                    method = choice.text().partition(":")[0]
                    raise HwgenError(
                        f"--method {method}: layers of {', '.join(self.names)} needed, "
                        f"not {name!r}"
                    )

    # --- the steps

    def build(self, state: State, *, digits: int, metadata: Mapping[str, Any]) -> Built:
        """Return the network of integers for a state.

        Parameters: digits, of scales where the plan leaves them open; metadata, for the network.
        """
        splits = self._splits(state)
        graph = rewrite.with_splits(self.calibrated.graph, splits)
        statistics = rewrite.with_split_statistics(self.calibrated.statistics, splits)
        nodes = linear_nodes(graph)
        chosen = dict(state.treatments)
        treatments = {node.name: chosen[_base(node, splits)] for node in nodes}
        supports = {
            node.name: self._support(node, treatments[node.name], splits) for node in nodes
        }
        if state.prune:
            supports = self._memo(
                ("prune", state.prune, *((name, id(own)) for name, own in supports.items())),
                lambda: support.prune(supports, state.prune),
            )
        covariances = {node.name: self._covariance(node, splits) for node in nodes}
        results = self._spent(graph, nodes, supports, treatments, covariances, digits)
        results |= {
            node.name: self._coded(
                node,
                supports[node.name],
                treatments[node.name],
                last=node is graph.output,
                digits=digits,
                pruned=state.prune > 0,
                covariance=covariances[node.name],
            )
            for node in nodes
            if node.name not in results
        }
        network = lower(
            graph,
            results,
            statistics,
            input_codes=self.calibrated.input_codes,
            options=self.options,
            metadata=metadata,
        )
        return Built(network, graph, statistics, supports, results, treatments)

    def projection(
        self, built: Built, *, digits: int, pruned: bool
    ) -> Callable[[Mapping[str, FloatArray]], dict[str, Result]]:
        """Return what makes integers of other float weights with the same masks and coders.

        A mapping of node name to float64 weights goes in, one of Results comes out: what ``lower``
        takes. Weights outside a layer's mask are as zero. No inputs are looked at, so it is the
        same function of the weights alone in training and in the end.
        """
        nodes = {node.name: node for node in linear_nodes(built.graph)}

        def project(latent: Mapping[str, FloatArray]) -> dict[str, Result]:
            found = {}
            for name, node in nodes.items():
                mask = built.supports[name].mask
                weight = latent[name] if mask is None else np.where(mask, latent[name], 0.0)
                found[name] = coding.encode(
                    replace(node, weight=weight),
                    weight,
                    mask,
                    built.treatments[name].coder,
                    last=node.name == built.graph.output.name,
                    digits=digits,
                    pruned=pruned,
                )
            return found

        return project

    def masks(self, built: Built) -> dict[str, BoolArray]:
        """Return where each layer's weights may be other than zero, all layers."""
        return {
            name: np.ones(own.weight.shape, bool) if own.mask is None else own.mask
            for name, own in built.supports.items()
        }

    # --- one layer's steps, each made once

    def _memo(self, key: Any, make: Callable[[], Made]) -> Made:
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def _splits(self, state: State) -> dict[str, rewrite.Split]:
        choice, graph = self.plan.linear_features, self.calibrated.graph
        if choice is None:
            return {}
        found = {}
        for name, treatment in state.treatments:
            node = graph.by_name[name]
            share = treatment.basis
            if share is None or not isinstance(node, g.Conv) or not rewrite.can_split(node):
                continue
            found[name] = self._split(node, share, choice)
        return found

    def _split(self, node: g.Conv, share: float, choice: LinearFeaturesChoice) -> rewrite.Split:
        return self._memo(
            ("split", node.name, share),
            lambda: rewrite.split(
                self.calibrated.graph,
                node,
                share,
                choice,
                mean=self.calibrated.statistics.means[node.sources[0]],
                covariance=self.calibrated.covariances.get(node.name),
            ),
        )

    def _covariance(
        self, node: Linear, splits: Mapping[str, rewrite.Split]
    ) -> FloatArray | None:
        """Of a layer's inputs, in whichever graph it is."""
        if node.name in splits:
            return splits[node.name].covariance
        return self.calibrated.covariances.get(_base(node, splits))

    def _support(
        self, node: Linear, treatment: Treatment, splits: Mapping[str, rewrite.Split]
    ) -> Support:
        plan = self.plan
        number = self.names.index(_base(node, splits))

        def make() -> Support:
            made = support.restrict(
                node,
                treatment,
                lower=plan.lower_kernel,
                sparse=plan.periodic,
                covariance=self._covariance(node, splits),
                first=_base(node, splits) == self._first,
                random=np.random.default_rng([self.seed, number]),
            )
            if node.name not in splits:
                return made
            own = splits[node.name]
            note = {"basis": len(own.kept), "terms": own.terms, "left": own.left}
            return replace(made, notes={**made.notes, "linear_features": note})

        key = (treatment.basis, treatment.taps, treatment.loss, treatment.variant)
        return self._memo(("support", node.name, key), make)

    def _spent(
        self,
        graph: g.Graph,
        nodes: Sequence[Linear],
        supports: Mapping[str, Support],
        treatments: Mapping[str, Treatment],
        covariances: Mapping[str, FloatArray | None],
        digits: int,
    ) -> dict[str, Result]:
        """Of the layers that share a budget of digits or adders; none without one."""
        coder = self.plan.dyadic
        if self.plan.kept or not coder.extra.spends:
            return {}
        sharing = {node.name: node for node in nodes if treatments[node.name].coder == coder}
        key = ("spent", digits, *((name, id(supports[name])) for name in sharing))
        return dict(
            self._memo(
                key,
                lambda: coding.spend(
                    sharing, supports, coder, covariances, last=graph.output.name, digits=digits
                ),
            )
        )

    def _coded(
        self,
        node: Linear,
        own: Support,
        treatment: Treatment,
        *,
        last: bool,
        digits: int,
        pruned: bool,
        covariance: FloatArray | None,
    ) -> Result:
        own_integers = quantised.exact(node, common=last) if self.plan.kept else None
        if own_integers is not None:
            return own_integers
        # Supports are kept for as long as this object, so their identity is a key.
        return self._memo(
            ("coded", node.name, id(own), treatment.coder, digits),
            lambda: coding.encode(
                node,
                own.weight,
                own.mask,
                treatment.coder,
                last=last,
                digits=digits,
                pruned=pruned,
                covariance=covariance,
            ),
        )


def _base(node: Linear, splits: Mapping[str, rewrite.Split]) -> str:
    """The layer of the imported graph that a node comes from."""
    return next((old for old, found in splits.items() if found.basis.name == node.name), node.name)
