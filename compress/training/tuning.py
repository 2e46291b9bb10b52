"""Fine-tuning after the approximation: what training needs to know of the stages, and back.

``qat`` trains; it is imported when it is asked for. It gets the float graph, the masks, and
``project``, which makes integers of float weights as the stages do; what comes back goes through
``project`` and ``lower``, so that the network of integers is the one that was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwgen import datasets
from hwgen.compress.choices.treatment import State
from hwgen.compress.importers import graph as g
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import corrected_bias, linear_nodes
from hwgen.compress.stages.build import Built, Stages
from hwgen.compress.stages.support import Support
from hwgen.compress.training import qat
from hwgen.compress.training.augment import NONE, Augmentation
from hwgen.errors import HwgenError
from hwgen.progress import Progress

RATE = 1e-3  # with FEW layers; no batch norms are left that would settle a deeper network
FEW = 5
BATCH = 128
DISTIL = 0.5  # of the loss: the float network's scores say more of an image than its label


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune.

    Parameters
    ----------
    epochs : int
        Passes over the training images; 0 is none.
    device : str
        "auto", "cpu" or "cuda".
    seed : int
    augmentation : Augmentation
        Of the images that are learnt.
    """

    epochs: int = 0
    device: str = "auto"
    seed: int = 0
    augmentation: Augmentation = NONE

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise HwgenError(f"--finetune: a number of epochs from 0 needed, not {self.epochs}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise HwgenError(f"--device: auto, cpu or cuda needed, not {self.device!r}")


def finetune(
    stages: Stages,
    state: State,
    tuning: Tuning,
    images: datasets.Dataset,
    *,
    digits: int,
    metadata: Mapping[str, Any],
    progress: Progress,
) -> Built:
    """Return the network of a state after fine-tuning.

    Parameters
    ----------
    stages, state, digits, metadata
        As for ``Stages.build``.
    tuning : Tuning
        With at least one epoch.
    images : Dataset
        Without test images.
    progress : callable
    """
    built = stages.build(state, digits=digits, metadata=metadata)
    project = stages.projection(built, digits=digits, pruned=state.prune > 0)
    # Biases are trained too: what the integer weights change on average is in them from the start.
    options = replace(stages.options, correct_bias=False)
    graph, statistics = qat.finetune(
        _start(built),
        built.statistics,
        input_codes=stages.calibrated.input_codes,
        options=options,
        project=project,
        masks=stages.masks(built),
        images=images,
        training=qat.Training(
            tuning.epochs,
            RATE * min(1.0, FEW / len(linear_nodes(built.graph))),
            BATCH,
            tuning.seed,
            tuning.device,
            augmentation=tuning.augmentation,
            distil=DISTIL,
        ),
        teacher=stages.calibrated.graph,
        progress=progress,
    )
    latent = {node.name: node.weight for node in linear_nodes(graph)}
    results = project(latent)
    supports = {name: _trained(own, latent[name]) for name, own in built.supports.items()}
    network = lower(
        graph,
        results,
        statistics,
        input_codes=stages.calibrated.input_codes,
        options=options,
        metadata=metadata,
    )
    return replace(
        built,
        network=network,
        graph=graph,
        statistics=statistics,
        supports=supports,
        results=results,
    )


def _start(built: Built) -> g.Graph:
    """Return the graph with the weights as they were coded, by their inputs too, and the biases
    that go with them.
    """
    graph = built.graph
    for node in linear_nodes(built.graph):
        mean, coded = built.statistics.means[node.sources[0]], built.results[node.name].values()
        bias = corrected_bias(node, coded, mean)
        graph = graph.with_node(replace(node, weight=g.floats(coded), bias=g.floats(bias)))
    return graph


def _trained(own: Support, latent: g.FloatArray) -> Support:
    weight = latent if own.mask is None else np.where(own.mask, latent, 0.0)
    return replace(own, weight=weight, notes={**own.notes, "finetuned": True})
